"""What answers of the service say of a blob, and what is no such answer."""

from __future__ import annotations

import pytest

from agent.blobs.azure_answers import properties_in, uncommitted_in
from agent.blobs.wire.answer import Answer, parse_head
from agent.errors import BlobRequestFailed
from agent.model.blobs import AccessTier, BlobName
from agent.model.codes import BlobType

NAME = BlobName.parse("box/a")
HEAD = (
    b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "0x8D"\r\nx-ms-blob-type: BlockBlob\r\n'
    b"Content-MD5: AAAAAAAAAAAAAAAAAAAAAA==\r\nX-Ms-Meta-MixedCase: 100%25%C3%BC\r\nx-ms-access-tier: Cool"
)


def answer(head: bytes = HEAD, body: bytes = b"") -> Answer:
    parsed = parse_head(head)
    return Answer(parsed.status, parsed.headers, body, parsed.is_last)


def blocks(inner: str, outer: str = "<UncommittedBlocks>{}</UncommittedBlocks>") -> Answer:
    text = '<?xml version="1.0" encoding="utf-8"?><BlockList>' + outer.format(inner) + "</BlockList>"
    return answer(body=text.encode())


def test_the_headers_tell_size_version_kind_and_attributes() -> None:
    found = properties_in(NAME, answer())
    assert (found.size_bytes, found.etag, found.type) == (5, '"0x8D"', BlobType.BLOCK)
    assert found.attributes.metadata == {"MixedCase": "100%ü"}
    assert found.attributes.content_md5 == bytes(16)
    assert found.attributes.tier is AccessTier.COOL


def test_a_tier_that_the_account_gave_was_not_set() -> None:
    found = properties_in(NAME, answer(HEAD + b"\r\nx-ms-access-tier-inferred: true"))
    assert found.attributes.tier is None


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (b"Content-Length: 5", b"Content-Length: many", "cannot be read"),
        (b'ETag: "0x8D"', b"x-other: 1", "cannot be read"),
        (b"AAAAAAAAAAAAAAAAAAAAAA==", b"A", "cannot be read"),
        (b"BlockBlob", b"AppendBlob", "neither a block blob nor a page blob"),
    ],
)
def test_headers_that_do_not_tell_are_refused(old: bytes, new: bytes, text: str) -> None:
    with pytest.raises(BlobRequestFailed, match=text):
        properties_in(NAME, answer(HEAD.replace(old, new)))


def test_a_list_of_staged_blocks_is_read() -> None:
    found = uncommitted_in(
        blocks(
            "<Block><Name>QUFB</Name><Size>3</Size></Block>\n<Block><Name>QkI=</Name><Size>0</Size></Block>"
        )
    )
    assert found == {"QUFB": 3, "QkI=": 0}
    assert uncommitted_in(blocks("")) == {}
    assert uncommitted_in(blocks("", "<UncommittedBlocks />")) == {}
    assert uncommitted_in(blocks("", "<CommittedBlocks/><UncommittedBlocks>{}</UncommittedBlocks>")) == {}


@pytest.mark.parametrize(
    "body",
    [
        blocks("<Block><Size>3</Size><Name>QUFB</Name></Block>"),
        blocks("<Block><Name>QUFB</Name><Size>3</Size></Block>" * 2),
        blocks("<Block><Name>QUF&#66;</Name><Size>3</Size></Block>"),
        blocks("<Block><Name>QUFB</Name><Size>3</Size></Block><!-- more -->"),
        blocks("", "<CommittedBlocks><Block/></CommittedBlocks><UncommittedBlocks>{}</UncommittedBlocks>"),
        answer(body=b"<BlockList><UncommittedBlocks><Block><Name>QUFB</Name><Size>3</Size></Block>"),
        answer(body=b""),
    ],
)
def test_a_list_that_is_not_whole_or_otherwise_written_is_left_to_a_parser(body: Answer) -> None:
    assert uncommitted_in(body) is None
