"""Metadata and properties files: read from the drive once, applied to many blobs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from agent.formats.manifest_values import HashedPath
from agent.formats.sidefiles import (
    MAX_SIDE_FILE_BYTES,
    SideFileTrouble,
    SideProperties,
    attributes,
    merge_metadata,
    merge_properties,
    read_metadata,
    read_properties,
)
from agent.model.blobs import BlobAttributes
from agent.model.codes import SideFileStatus
from agent.transfer.items import Item
from agent.transfer.journal import Journal, SideRow
from agent.transfer.link import ReaderLink, stream_of
from agent.transfer.sender import MARKER_KEY

MTIME_KEY = "mtime"
"""RFC 3339; the key that rclone reads and writes."""


async def read_side_files(link: ReaderLink, journal: Journal) -> None:
    """Read every side file that the journal has not seen, and note what it says."""
    while rows := await asyncio.to_thread(journal.unread_sides):
        for row in rows:
            status, fields = await _read(link, row)
            await asyncio.to_thread(journal.record_side, row.id, status, fields)


async def _read(link: ReaderLink, row: SideRow) -> tuple[SideFileStatus, dict[str, str] | None]:
    found = (await link.find([row.path]))[0]
    ref = stream_of(found) if found is not None else None
    if ref is None:
        return SideFileStatus.FILE_NOT_FOUND, None
    if ref.unsupported is not None or ref.size > MAX_SIDE_FILE_BYTES:
        return SideFileStatus.FAILED, None
    data = bytearray()
    try:
        async with aclosing(link.content(ref)) as windows:
            async for window in windows:
                data += window
    except OSError:
        return SideFileStatus.IO_FAILED, None
    return await asyncio.to_thread(_parse, row, bytes(data))


def _parse(row: SideRow, data: bytes) -> tuple[SideFileStatus, dict[str, str] | None]:
    file = HashedPath(row.path, row.md5)
    said = read_metadata(file, data) if row.kind == "metadata" else read_properties(file, data)
    if isinstance(said, SideFileTrouble):
        return said.status, None
    return SideFileStatus.COMPLETED, _pack(said) if isinstance(said, SideProperties) else said


_TEXTS = ("content_type", "content_encoding", "content_language", "cache_control")


def _pack(properties: SideProperties) -> dict[str, str]:
    fields = {name: value for name in _TEXTS if (value := getattr(properties, name)) is not None}
    return fields | ({"content_md5": properties.content_md5.hex()} if properties.content_md5 else {})


def _unpack(fields: Mapping[str, str]) -> SideProperties:
    texts: dict[str, Any] = {name: fields.get(name) for name in _TEXTS}
    md5 = fields.get("content_md5")
    return SideProperties(**texts, content_md5=bytes.fromhex(md5) if md5 else None)


@dataclass(frozen=True, slots=True)
class Dressed:
    """An item with what is to be set on its blob; a status is None where the manifest names no file."""

    item: Item
    attributes: BlobAttributes
    metadata_status: SideFileStatus | None
    properties_status: SideFileStatus | None


def dress(item: Item, journal: Journal, marker: str) -> Dressed:
    """The attributes of an item's blob: its side files, its modification time and our marker."""
    side = item.side
    metadata, metadata_status = _merged(journal, side.list_metadata, side.metadata, merge_metadata, dict)
    properties, properties_status = _merged(
        journal,
        side.list_properties,
        side.properties,
        lambda default, own: merge_properties(_unpack(default), _unpack(own)),
        _unpack,
    )
    said = attributes(metadata or {}, properties or SideProperties())
    ours = {MARKER_KEY: marker} | _mtime(item.facts.modified)
    taken = {key.lower() for key in said.metadata}
    extra = {key: value for key, value in ours.items() if key == MARKER_KEY or key not in taken}
    kept = {key: value for key, value in said.metadata.items() if key.lower() != MARKER_KEY}
    return Dressed(item, replace(said, metadata=kept | extra), metadata_status, properties_status)


def _merged(
    journal: Journal,
    default_id: int | None,
    own_id: int | None,
    merge: Callable[[Mapping[str, str], Mapping[str, str]], Any],
    single: Callable[[Mapping[str, str]], Any],
) -> tuple[Any, SideFileStatus | None]:
    rows = [journal.side(number) for number in (default_id, own_id) if number is not None]
    for row in rows:
        if row.status is not SideFileStatus.COMPLETED:
            return None, row.status or SideFileStatus.FAILED
    if not rows:
        return None, None
    fields = [row.fields or {} for row in rows]
    both = merge(fields[0], fields[1]) if len(fields) == 2 else single(fields[0])
    return both, SideFileStatus.COMPLETED


def _mtime(filetime: int) -> dict[str, str]:
    """FILETIME (100 ns since 1601) as RFC 3339; nothing when the drive gives no sensible one."""
    try:
        when = datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=filetime // 10)
    except OverflowError:
        return {}
    if not 0 < filetime < 1 << 63:
        return {}
    return {MTIME_KEY: f"{when:%Y-%m-%dT%H:%M:%S}.{filetime % 10_000_000:07d}Z"}
