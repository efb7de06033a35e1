"""Metadata and properties files, which set attributes on blobs (docs/adr/0003-side-files.md).

Source: Microsoft's page "Azure Import/Export service metadata and properties file format". Trouble
with such a file is the blob's, and expected: it is a value here, not an exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.model.blobs import BlobAttributes
from agent.model.codes import SideFileStatus

MAX_SIDE_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SideFileTrouble:
    """Why a side file was not applied: the log's code, and one line for the technician."""

    status: SideFileStatus
    detail: str


@dataclass(frozen=True, slots=True)
class SideProperties:
    """What a properties file sets; None where it says nothing, empty where it takes a default back."""

    content_type: str | None = None
    content_encoding: str | None = None
    content_language: str | None = None
    cache_control: str | None = None
    content_md5: bytes | None = None
    ignored: tuple[str, ...] = field(default=(), compare=False)
    """Elements that an import cannot set, such as the read-only ones of an export."""


def merge_metadata(default: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """The list's metadata with the blob's own over it; names are one whatever their case."""
    overridden = {name.lower() for name in own}
    return {name: value for name, value in default.items() if name.lower() not in overridden} | dict(own)


def merge_properties(default: SideProperties, own: SideProperties) -> SideProperties:
    """The list's properties with the blob's own over them, one by one.

    A Content-MD5 of the list is not passed on: it is the hash of one content.
    """

    def pick(mine: str | None, theirs: str | None) -> str | None:
        return theirs if mine is None else mine

    return SideProperties(
        content_type=pick(own.content_type, default.content_type),
        content_encoding=pick(own.content_encoding, default.content_encoding),
        content_language=pick(own.content_language, default.content_language),
        cache_control=pick(own.cache_control, default.cache_control),
        content_md5=own.content_md5,
        ignored=default.ignored + own.ignored,
    )


def attributes(metadata: Mapping[str, str], properties: SideProperties) -> BlobAttributes:
    """What to set at commit; empty properties are left to the service's default."""
    return BlobAttributes(
        content_type=properties.content_type or None,
        content_encoding=properties.content_encoding or None,
        content_language=properties.content_language or None,
        cache_control=properties.cache_control or None,
        content_md5=properties.content_md5,
        metadata=dict(metadata),
    )
