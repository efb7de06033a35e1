"""The service's rules that every store checks before it acts, so that all of them agree.

The emulator checks fewer of them than the service, and a folder checks none. A breach by our own
code is a ValueError; what may come from a drive is refused in the words of the service.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from urllib.parse import quote, unquote

from agent.blobs.crc64 import crc64 as crc64_of
from agent.blobs.store import Body, ETag, Replace
from agent.errors import BlobAlreadyExists, BlobRequestFailed, ChecksumMismatch
from agent.model.blobs import BlobAttributes, BlobName

MAX_PUT_BYTES = 256 << 20
MAX_BLOCK_BYTES = 4000 << 20
MAX_BLOCKS = 50_000
MAX_BLOCK_ID_BYTES = 64
PAGE_BYTES = 512
MAX_PAGE_WRITE_BYTES = 4 << 20
MAX_PAGE_BLOB_BYTES = 8 << 40
MAX_METADATA_BYTES = 8 << 10
READ_PIECE_BYTES = 4 << 20

DEFAULT_CONTENT_TYPE = "application/octet-stream"

_METADATA_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z", re.ASCII)
_PRINTABLE = re.compile(r"[ -~]*\Z", re.ASCII)
_PLAIN = r"(?:[!-$&-~](?:[ -$&-~]*[!-$&-~])?)?"
"""Printable without outer blanks and "%"."""
_PLAIN_LINES = re.compile(rf"{_PLAIN}(?:\n{_PLAIN})*\Z", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")


def body_length(body: Body) -> int:
    """Bytes in all pieces."""
    if len(body) == 1:
        return body[0].nbytes
    return sum(piece.nbytes for piece in body)


def check_put(body: Body) -> int:
    """Its bytes. Raises ValueError when the body is too long for one request."""
    length = body_length(body)
    if length > MAX_PUT_BYTES:
        raise ValueError(f"a blob of {length} bytes is put in blocks, not in one request")
    return length


def check_block(body: Body) -> None:
    """Raises ValueError: a block has 1 byte to 4,000 MiB."""
    if not 1 <= body_length(body) <= MAX_BLOCK_BYTES:
        raise ValueError(f"a block of {body_length(body)} bytes: 1 to {MAX_BLOCK_BYTES} are allowed")


def check_pages(offset: int, body: Body) -> None:
    """Raises ValueError unless offset and length are whole pages and at most 4 MiB."""
    length = body_length(body)
    if offset < 0 or offset % PAGE_BYTES or length % PAGE_BYTES or not 0 < length <= MAX_PAGE_WRITE_BYTES:
        raise ValueError(f"pages at {offset} of {length} bytes: multiples of {PAGE_BYTES}, at most 4 MiB")


def check_page_blob_size(size_bytes: int) -> None:
    """Raises ValueError unless it is whole pages up to 8 TiB."""
    if not 0 <= size_bytes <= MAX_PAGE_BLOB_BYTES or size_bytes % PAGE_BYTES:
        raise ValueError(f"a page blob of {size_bytes} bytes: a multiple of {PAGE_BYTES} up to 8 TiB")


def check_page_attributes(name: BlobName, attributes: BlobAttributes) -> None:
    """As ``check_attributes``; ValueError for an access tier, which only block blobs have."""
    if attributes.tier is not None:
        raise ValueError(f"{name}: a page blob has no access tier {attributes.tier}")
    check_attributes(name, attributes)


def check_replace(name: BlobName, replace: Replace, found: ETag | None) -> None:
    """Raises BlobAlreadyExists when what was ``found`` may not be replaced; for stores without a service."""
    if replace is False and found is not None:
        raise BlobAlreadyExists(f"{name}: a blob of that name is there")
    if not isinstance(replace, bool) and found != replace:
        what = "another version of it is" if found is not None else "no blob of that name is"
        raise BlobAlreadyExists(f"{name}: {what} there, not the one that was to be replaced")


def check_read(name: BlobName, size_bytes: int, found: ETag, offset: int, etag: ETag | None) -> None:
    """Raises BlobRequestFailed when it cannot be read from there; for stores without a service."""
    if etag not in (None, found):
        raise BlobRequestFailed(f"{name}: it is another version than was read before (ConditionNotMet)")
    if offset > size_bytes:
        raise BlobRequestFailed(f"{name}: byte {offset} is past its end at {size_bytes} (InvalidRange)")


def check_crc64(name: BlobName, body: Body, crc64: int) -> None:
    """Raises ChecksumMismatch; for stores that have no service to do it."""
    if crc64_of(body) != crc64:
        raise ChecksumMismatch(
            f"{name}: {body_length(body)} bytes do not have the CRC-64 that was sent along"
        )


def block_id_bytes(block_id: str) -> bytes:
    """What the Base64 stands for; raises ValueError."""
    try:
        raw = base64.b64decode(block_id, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"block id {block_id!r} is not Base64") from None
    if not 1 <= len(raw) <= MAX_BLOCK_ID_BYTES or base64.b64encode(raw).decode("ascii") != block_id:
        raise ValueError(f"block id {block_id!r} is not the Base64 of 1 to {MAX_BLOCK_ID_BYTES} bytes")
    return raw


def check_block_list(block_ids: Sequence[str]) -> None:
    """Raises ValueError unless they are at most 50,000 ids of one length."""
    if len(block_ids) > MAX_BLOCKS:
        raise ValueError(f"a block list of {len(block_ids)} ids: at most {MAX_BLOCKS} are allowed")
    for block_id in set(block_ids):
        block_id_bytes(block_id)
    if len({len(block_id) for block_id in block_ids}) > 1:
        raise ValueError("the block ids of a list must have one length")


class BlockIdLengths:
    """Remembers the length of the ids that were staged, for the most recent blobs."""

    REMEMBERED_BLOBS = 4096

    def __init__(self) -> None:
        self._lengths: OrderedDict[BlobName, int] = OrderedDict()

    def check(self, name: BlobName, block_id: str) -> None:
        """Raises ValueError when the id is malformed, or not as long as the blob's others."""
        block_id_bytes(block_id)
        known = self._lengths.setdefault(name, len(block_id))
        self._lengths.move_to_end(name)
        if len(self._lengths) > self.REMEMBERED_BLOBS:
            self._lengths.popitem(last=False)
        if known != len(block_id):
            raise ValueError(f"{name}: a block id of {len(block_id)} characters after one of {known}")

    def forget(self, name: BlobName) -> None:
        """The blob was committed."""
        self._lengths.pop(name, None)


def check_attributes(name: BlobName, attributes: BlobAttributes) -> None:
    """Raises BlobRequestFailed when the service would refuse a header or the metadata."""
    headers = (
        ("content type", attributes.content_type),
        ("content encoding", attributes.content_encoding),
        ("content language", attributes.content_language),
        ("cache control", attributes.cache_control),
    )
    for what, value in headers:
        if value is not None and (not _PRINTABLE.match(value) or value != value.strip()):
            raise BlobRequestFailed(f"{name}: the {what} is not printable ASCII (InvalidHeaderValue)")
    if attributes.content_md5 is not None and len(attributes.content_md5) != 16:
        raise ValueError(f"{name}: an MD5 has 16 bytes, not {len(attributes.content_md5)}")
    _check_metadata(name, attributes.metadata)


def _check_metadata(name: BlobName, metadata: Mapping[str, str]) -> None:
    problem = _bad_keys(tuple(metadata))
    if problem is not None:
        raise BlobRequestFailed(f"{name}: {problem} (InvalidMetadata)")
    if not "".join(metadata.values()).isascii():
        _check_no_surrogates(name, metadata)
    size_bytes = sum(map(len, metadata)) + sum(map(len, encoded(metadata).values()))
    if size_bytes > MAX_METADATA_BYTES:
        raise BlobRequestFailed(
            f"{name}: metadata of {size_bytes} bytes, over {MAX_METADATA_BYTES} (MetadataTooLarge)"
        )


def _check_no_surrogates(name: BlobName, metadata: Mapping[str, str]) -> None:
    for key, value in metadata.items():
        if _SURROGATE.search(value):
            raise BlobRequestFailed(f"{name}: metadata {key} holds a lone surrogate (InvalidMetadata)")


@lru_cache(maxsize=256)
def _bad_keys(keys: tuple[str, ...]) -> str | None:
    """Nearly all blobs have the same ones."""
    for key in keys:
        if not _METADATA_NAME.match(key):
            return f"metadata name {key[:80]!r} is not allowed"
    if len({key.lower() for key in keys}) != len(keys):
        return "two metadata names differ in case only"
    return None


def encoded(metadata: Mapping[str, str]) -> Mapping[str, str]:
    """Metadata as it goes into headers; see ``encode_metadata``."""
    lines = "\n".join(metadata.values())
    if _PLAIN_LINES.match(lines) and lines.count("\n") < max(1, len(metadata)):
        return metadata
    return {key: encode_metadata(value) for key, value in metadata.items()}


def encode_metadata(value: str) -> str:
    """A value as it goes into a header, which carries printable ASCII without outer blanks.

    Such a value stays as it is, unless it reads like an encoded one. Any other is percent-encoded
    in UTF-8 as a whole, "%" included, so that ``decode_metadata`` always gives the value back.
    """
    plain = _PRINTABLE.match(value) and value == value.strip() and decode_metadata(value) == value
    return value if plain else quote(value, safe="")


def decode_metadata(text: str) -> str:
    """The value behind a header that ``encode_metadata`` made."""
    return unquote(text, errors="replace")
