"""Manifests written and redacted."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from agent.errors import ManifestFormatInvalid
from agent.formats.manifest import (
    Chunk,
    CredentialKind,
    HashedPath,
    ManifestBlob,
    ManifestHeader,
    ManifestParser,
)
from agent.formats.manifest_writer import ManifestWriter, redact
from agent.model.codes import BlobType, Disposition
from agent.model.identity import SerialNumber
from agent.model.secrets import Secret

DATA = Path(__file__).parents[1] / "data"
SAMPLES = sorted((DATA / "manifest").glob("*.xml"))
SCHEMA = etree.XMLSchema(etree.parse(DATA / "xsd/drive-manifest.xsd"))


def read(data: bytes) -> tuple[ManifestHeader, list[ManifestBlob]]:
    parser = ManifestParser()
    blobs = [*parser.feed(data), *parser.close()]
    assert parser.header is not None
    return parser.header, blobs


def write(header: ManifestHeader, blobs: list[ManifestBlob], *, with_credential: bool = False) -> bytes:
    out = io.BytesIO()
    writer = ManifestWriter(out, header, with_credential=with_credential)
    for blob in blobs:
        writer.blob(blob)
    writer.close()
    writer.close()
    return out.getvalue()


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_sample_survives_reading_and_writing(path: Path) -> None:
    header, blobs = read(path.read_bytes())
    again = write(header, blobs, with_credential=True)
    SCHEMA.assertValid(etree.fromstring(again))
    assert read(again) == (header, blobs)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_redaction_drops_the_credential_and_nothing_else(path: Path) -> None:
    out = io.BytesIO()
    data = path.read_bytes()
    redact([data[at : at + 100] for at in range(0, len(data), 100)], out)
    SCHEMA.assertValid(etree.fromstring(out.getvalue()))
    header, blobs = read(data)
    kept, kept_blobs = read(out.getvalue())
    assert kept_blobs == blobs
    assert kept == ManifestHeader(header.version, header.drive_id, None, None, header.client_creator)
    assert not any(kind.encode() in out.getvalue() for kind in CredentialKind)
    if header.credential is not None:
        assert header.credential.reveal().encode() not in out.getvalue()


def test_redaction_drops_what_it_does_not_understand() -> None:
    text = (
        '<DriveManifest Version="2014-11-01"><!-- s3cret --><Drive><DriveId>S1</DriveId>'
        "<AccountKey>s3cret</AccountKey><BlobList/></Drive></DriveManifest>"
    )
    out = io.BytesIO()
    redact([text.encode()], out)
    assert b"s3cret" not in out.getvalue()
    assert read(out.getvalue())[0].drive_id == SerialNumber.parse("S1")


def test_redaction_of_a_broken_manifest_is_refused() -> None:
    with pytest.raises(ManifestFormatInvalid):
        redact([b"<DriveManifest>"], io.BytesIO())


def test_a_text_that_xml_cannot_carry_is_refused_and_a_credential_not_shown() -> None:
    header = ManifestHeader(
        "2014-11-01", SerialNumber.parse("S1"), CredentialKind.ACCOUNT_KEY, Secret("SECRET\x01")
    )
    with pytest.raises(ManifestFormatInvalid) as caught:
        write(header, [], with_credential=True)
    assert "SECRET" not in caught.value.detail


texts = st.text("aZ9 .%&<>'\"é漢😀_()[]\u00a0\u2028", max_size=20)
hashed = st.builds(
    lambda name, md5: HashedPath("\\f" + name, md5), texts, st.binary(min_size=16, max_size=16)
)
dispositions = st.sampled_from(Disposition)


@st.composite
def block_blobs(draw: st.DrawFn) -> ManifestBlob:
    lengths = draw(st.lists(st.integers(1, 4 << 20), max_size=5))
    use_ids = draw(st.booleans())
    chunks = []
    at = 0
    for number, length in enumerate(lengths):
        md5 = hashlib.md5(bytes([number])).digest()
        chunks.append(Chunk(at, length, base64.b64encode(md5).decode() if use_ids else None, md5))
        at += length
    return _blob(draw, at, BlobType.BLOCK, tuple(chunks))


@st.composite
def page_blobs(draw: st.DrawFn) -> ManifestBlob:
    chunks = []
    at = 0
    for hole, pages in draw(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 8192)), max_size=5)):
        at += hole * 512
        chunks.append(Chunk(at, pages * 512, None, draw(st.binary(min_size=16, max_size=16))))
        at += pages * 512
    return _blob(draw, at, BlobType.PAGE, tuple(chunks))


def _blob(draw: st.DrawFn, length: int, type: BlobType, chunks: tuple[Chunk, ...]) -> ManifestBlob:
    return ManifestBlob(
        list_index=0,
        blob_path="con/b" + draw(texts),
        file_path="\\f" + draw(texts),
        client_data=draw(st.none() | texts),
        snapshot=draw(st.none() | st.just("2024-02-03T04:05:06.0070000Z")),
        length=length,
        disposition=draw(dispositions),
        type=type,
        chunks=chunks,
        metadata=draw(st.none() | hashed),
        properties=draw(st.none() | hashed),
        list_metadata=None,
        list_properties=None,
    )


@given(st.lists(block_blobs() | page_blobs(), max_size=4))
def test_what_was_written_is_read_back_equal(blobs: list[ManifestBlob]) -> None:
    header = ManifestHeader("2014-11-01", SerialNumber.parse("S1"), client_creator="us")
    data = write(header, blobs)
    SCHEMA.assertValid(etree.fromstring(data))
    assert read(data) == (header, blobs)
