"""Manifests that somebody made to break the reader."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest

from agent.errors import ManifestFormatInvalid
from agent.formats.manifest import ManifestParser

HEAD = b'<DriveManifest Version="2014-11-01"><Drive><DriveId>S1</DriveId>'
TAIL = b"</Drive></DriveManifest>"
LAUGHS = (
    b'<!DOCTYPE DriveManifest [<!ENTITY a "lol">'
    + b"".join(b'<!ENTITY %c "%s">' % (c, (b"&%c;" % (c - 1)) * 10) for c in range(ord("b"), ord("k")))
    + b"]>"
    + HEAD.replace(b"S1", b"&j;")
    + TAIL
)


def refuse(pieces: list[bytes]) -> str:
    parser = ManifestParser()

    def run() -> None:
        for piece in pieces:
            parser.feed(piece)
        parser.close()

    with pytest.raises(ManifestFormatInvalid) as caught:
        run()
    message = caught.value.detail
    assert len(message) < 500
    assert message.isprintable()
    with pytest.raises(ManifestFormatInvalid):
        parser.feed(b"<more/>")
    return message


@pytest.mark.parametrize(
    ("pieces", "says"),
    [
        ([LAUGHS], "document type declaration"),
        ([b'<!DOCTYPE DriveManifest SYSTEM "file:///etc/passwd">', HEAD, TAIL], "document type declaration"),
        (
            [b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>', HEAD, TAIL],
            "document type declaration",
        ),
        ([HEAD.replace(b"S1", b"&e;"), TAIL], "not well-formed"),
        ([HEAD, b"<a>" * 1000] * 1000, "nested more than 32"),
        ([HEAD, b'<BlobList Id="', *[b"y" * 100_000] * 200], "not well-formed"),
        ([HEAD, b"<ClientCreator>", *[b"y" * 10_000] * 20], "longer than 65536"),
        ([HEAD, b"<!--", *[b"y" * 100_000] * 200], "not well-formed"),
        ([HEAD], "not well-formed"),
        ([b""], "not well-formed"),
        ([HEAD, b"\x00", TAIL], "not well-formed"),
        ([HEAD, b"<ClientCreator>\xff\xfe</ClientCreator>", TAIL], "not well-formed"),
        ([b"\xff\xfe", HEAD, TAIL], "not well-formed"),
        ([b'<?xml version="1.0" encoding="no-such"?>', HEAD, TAIL], "not well-formed"),
        ([HEAD, TAIL, HEAD, TAIL], "not well-formed"),
        ([b"MZ\x90\x00" * 1000], "not well-formed"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else None,
)
def test_a_hostile_manifest_is_refused_on_one_short_line(pieces: list[bytes], says: str) -> None:
    assert says in refuse(pieces)


@pytest.mark.parametrize("element", ["ContainerSas", "StorageAccountKey"])
def test_a_slip_within_a_credential_does_not_show_it(element: str) -> None:
    text = f"<{element}>photos?sv=1&sigSECRET;&sig=SECRET</{element}>".encode()
    assert "SECRET" not in refuse([HEAD, text, TAIL])


def test_the_line_of_a_syntax_error_is_told() -> None:
    assert "line 3" in refuse([HEAD, b"\n\n<BlobList></Blob>", TAIL])


def many_blobs(count: int) -> Iterator[bytes]:
    yield HEAD + b"<BlobList>"
    one = (
        b"<Blob><BlobPath>c/some-name</BlobPath><FilePath>\\f</FilePath><Length>18</Length><BlockList>"
        b'<Block Offset="0" Length="18" Hash="00F1FFBE073E6DCBA64F63CA1D17D95C"/></BlockList></Blob>\n'
    )
    for _ in range(count // 1000):
        yield one * 1000
    yield b"</BlobList>" + TAIL


def test_memory_does_not_grow_with_the_number_of_blobs() -> None:
    parser = ManifestParser()
    seen = 0
    peaks = []
    tracemalloc.start()
    try:
        for piece in many_blobs(40_000):
            seen += len(parser.feed(piece))
            peaks.append(tracemalloc.get_traced_memory()[1])
        parser.close()
    finally:
        tracemalloc.stop()
    assert seen == 40_000
    assert peaks[-1] - peaks[2] < 500_000
    assert peaks[-1] < 8_000_000
