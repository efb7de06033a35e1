"""What answers of the service say of a blob: its properties, and its staged blocks.

Facts of the service's REST reference: the headers of Get Blob Properties and the body of Get Block List.
"""

from __future__ import annotations

import base64
import binascii
import re

from agent.blobs import rules
from agent.blobs.store import BlobProperties, ETag
from agent.blobs.wire.answer import Answer
from agent.errors import BlobRequestFailed
from agent.model.blobs import AccessTier, BlobAttributes, BlobName
from agent.model.codes import BlobType

_METADATA = "x-ms-meta-"
_LENGTH = re.compile(r"[0-9]{1,15}\Z")
_BEFORE = r"<BlockList\b[^>]*>\s*(?:<CommittedBlocks\s*/>|<CommittedBlocks>\s*</CommittedBlocks>)?\s*"
_LIST = re.compile(rf"{_BEFORE}<UncommittedBlocks>(.*?)</UncommittedBlocks>\s*</BlockList>\s*\Z", re.DOTALL)
_EMPTY_LIST = re.compile(rf"{_BEFORE}<UncommittedBlocks\s*/>\s*</BlockList>\s*\Z")
_BLOCK = re.compile(
    r"\s*<Block>\s*<Name>([A-Za-z0-9+/=]{1,100})</Name>\s*<Size>([0-9]{1,11})</Size>\s*</Block>\s*"
)
_TYPES = {"BlockBlob": BlobType.BLOCK, "PageBlob": BlobType.PAGE}


def properties_in(name: BlobName, answer: Answer) -> BlobProperties:
    """Raises BlobRequestFailed when it is no such answer, or one of another kind of blob."""
    headers = answer.headers
    kind, length, etag = (headers.get(key, "") for key in ("x-ms-blob-type", "content-length", "etag"))
    if not _LENGTH.match(length) or not etag or not kind:
        raise BlobRequestFailed(f"{name}: the store's answer cannot be read")
    if kind not in _TYPES:
        raise BlobRequestFailed(f"{name}: neither a block blob nor a page blob (InvalidBlobType)")
    attributes = BlobAttributes(
        content_type=headers.get("content-type") or None,
        content_encoding=headers.get("content-encoding") or None,
        content_language=headers.get("content-language") or None,
        cache_control=headers.get("cache-control") or None,
        content_md5=_md5(name, headers.get("content-md5", "")),
        tier=_set_tier(answer),
        metadata={
            key.removeprefix(_METADATA): rules.decode_metadata(value)
            for key, value in headers.items()
            if key.startswith(_METADATA)
        },
    )
    return BlobProperties(int(length), _TYPES[kind], ETag(etag), attributes)


def uncommitted_in(answer: Answer) -> dict[str, int] | None:
    """Staged blocks, id to length; None when the list is not all there, or written in another way."""
    text = answer.body.decode("utf-8", "replace")
    if _EMPTY_LIST.search(text):
        return {}
    found = _LIST.search(text)
    if found is None:
        return None
    blocks = {match[1]: int(match[2]) for match in _BLOCK.finditer(found[1])}
    # A block that is written in another way, or stands twice, is for a parser of XML.
    return blocks if _BLOCK.sub("", found[1]) == "" and len(blocks) == found[1].count("<Block>") else None


def _md5(name: BlobName, text: str) -> bytes | None:
    if not text:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BlobRequestFailed(f"{name}: the store's answer cannot be read") from None


def _set_tier(answer: Answer) -> AccessTier | None:
    """None for a tier that the account gave, or that we never set (those of premium pages)."""
    told = answer.headers.get("x-ms-access-tier", "")
    is_inferred = answer.headers.get("x-ms-access-tier-inferred", "").lower() == "true"
    return AccessTier(told) if not is_inferred and told in {tier.value for tier in AccessTier} else None
