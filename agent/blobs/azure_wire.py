"""Between our values and what the SDK takes, sends and gives back."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from azure.core import MatchConditions
from azure.core.pipeline.transport import AioHttpTransport
from azure.core.rest import HttpRequest
from azure.storage.blob import BlobProperties as SdkProperties
from azure.storage.blob import ContentSettings, StandardBlobTier

from agent.blobs import rules
from agent.blobs.store import Body, ETag, Replace
from agent.errors import BlobRequestFailed, ChecksumMismatch
from agent.model.blobs import AccessTier, BlobAttributes, BlobName

CRC64_HEADER = "x-ms-content-crc64"

# Slices keep the transport from copying a body: aiohttp joins a body given whole to the headers,
# and TLS encrypts it whole into a growing buffer.
SLICE_BYTES = 256 << 10

_ETAG = re.compile(r"[!-~]{1,200}\Z", re.ASCII)


class SlicingTransport(AioHttpTransport):  # type: ignore[misc]  # loaded lazily, so untyped
    """Sends a body that the SDK holds as one piece of bytes in slices."""

    async def send(self, request: Any, **config: Any) -> Any:
        """See AioHttpTransport."""
        body = request.content
        if isinstance(body, bytes) and len(body) > SLICE_BYTES:
            content = slices([memoryview(body)])
            request = HttpRequest(request.method, request.url, headers=request.headers, content=content)
        return await super().send(request, **config)


class BlockId(str):
    """A block id that goes through the SDK unchanged.

    The SDK encodes ``str(id)`` in Base64; ours is Base64 already, and of any bytes. So this text
    "encodes" to the bytes that its Base64 stands for.
    """

    __slots__ = ()

    def __str__(self) -> str:
        return self

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """The bytes behind the Base64."""
        return rules.block_id_bytes(str.__str__(self))


def with_base64_names(_response: object, blocks: Any, _headers: object) -> Any:
    """The SDK decodes names to text, which not every id is; one more encoding outlives that."""
    for block in blocks.uncommitted_blocks or ():
        block.name = base64.b64encode(block.name.encode("ascii")).decode("ascii")
    return blocks


async def slices(body: Body) -> AsyncGenerator[Any, None]:
    """The body as views of at most SLICE_BYTES; ``aclose`` lets go of them."""
    for piece in body:
        flat = piece.cast("B")
        for start in range(0, flat.nbytes, SLICE_BYTES):
            yield flat[start : start + SLICE_BYTES]


def check_echo(name: BlobName, answer: Mapping[str, Any], crc64: int) -> None:
    """A server that ignores the header still says what it computed. Raises ChecksumMismatch."""
    echoed = answer.get("content_crc64")
    if echoed is not None and bytes(echoed) != crc64.to_bytes(8, "little"):
        raise ChecksumMismatch(f"{name}: the store computed another CRC-64 of the body")


def condition(replace: Replace) -> dict[str, Any]:
    """If-None-Match: *, or If-Match, or nothing."""
    if isinstance(replace, bool):
        return {} if replace else {"match_condition": MatchConditions.IfMissing}
    return {"etag": replace, "match_condition": MatchConditions.IfNotModified}


def etag_of(name: BlobName, found: SdkProperties) -> ETag:
    """What a header can carry back. Raises BlobRequestFailed."""
    etag = str(found.etag or "")
    if not _ETAG.match(etag):
        raise BlobRequestFailed(f"{name}: the store's answer cannot be read: its ETag is malformed")
    return ETag(etag)


def content_settings_of(attributes: BlobAttributes) -> ContentSettings:
    """The content headers."""
    md5 = attributes.content_md5
    return ContentSettings(
        content_type=attributes.content_type,
        content_encoding=attributes.content_encoding,
        content_language=attributes.content_language,
        cache_control=attributes.cache_control,
        content_md5=bytearray(md5) if md5 is not None else None,
    )


def tier_of(attributes: BlobAttributes) -> StandardBlobTier | None:
    """The access tier, for a block blob."""
    return StandardBlobTier(attributes.tier) if attributes.tier is not None else None


def headers_of(metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata as header values."""
    return {key: rules.encode_metadata(value) for key, value in metadata.items()}


def attributes_of(found: SdkProperties) -> BlobAttributes:
    """What was set, by whomever."""
    settings = found.content_settings
    return BlobAttributes(
        content_type=settings.content_type or None,
        content_encoding=settings.content_encoding or None,
        content_language=settings.content_language or None,
        cache_control=settings.cache_control or None,
        content_md5=bytes(settings.content_md5) if settings.content_md5 else None,
        tier=_set_tier(found),
        metadata={key: rules.decode_metadata(value) for key, value in found.metadata.items()},
    )


def _set_tier(found: SdkProperties) -> AccessTier | None:
    """None for a tier that the account gave, or that we never set (those of premium pages)."""
    told = str(getattr(found.blob_tier, "value", found.blob_tier))
    known = not found.blob_tier_inferred and told in {tier.value for tier in AccessTier}
    return AccessTier(told) if known else None
