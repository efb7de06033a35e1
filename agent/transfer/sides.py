"""Metadata and properties files: read from the drive once, applied to many blobs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from agent.blobs.rules import MAX_METADATA_BYTES, encode_metadata
from agent.formats.manifest_values import HashedPath
from agent.formats.sidefiles import (
    MAX_SIDE_FILE_BYTES,
    SideFileTrouble,
    SideProperties,
    attributes,
    merge_metadata,
    merge_properties,
)
from agent.model.blobs import BlobAttributes
from agent.model.codes import BlobType, SideFileStatus
from agent.model.treatment import Treatment
from agent.threads import to_its_end
from agent.transfer.items import NO_SIDE, Item
from agent.transfer.journal import Journal, SideRow
from agent.transfer.link import ReaderLink, stream_of
from agent.transfer.sender import MARKER_KEY
from agent.transfer.verify import Check, check_of

MTIME_KEY, CTIME_KEY, BTIME_KEY = "mtime", "ctime", "btime"
"""RFC 3339; the keys that rclone reads and writes: content changed, record changed, born."""
ATTRIBUTES_KEY = "ntfsattributes"
"""The DOS attributes as hexadecimal digits after ``0x``."""
NAME_KEY = "originalname"
"""The path on the drive, as the logs have it, where the blob's name does not end with it."""
SHA256_KEY = "sha256"
"""Of the whole content, in hexadecimal."""
SHA256_BYTES = len(SHA256_KEY) + 64


UNSAID = BlobAttributes()
"""Where no metadata and no properties file says anything."""
_SURROGATE = re.compile("[\ud800-\udfff]")


async def read_side_files(link: ReaderLink, journal: Journal) -> None:
    """Read every side file that the journal has not seen, and note what it says."""
    while rows := await to_its_end(journal.unread_sides):
        for row in rows:
            status, fields = await _read(link, row)
            await to_its_end(journal.record_side, row.id, status, fields)


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
    return await to_its_end(_parse, row, bytes(data))


def _parse(row: SideRow, data: bytes) -> tuple[SideFileStatus, dict[str, str] | None]:
    from agent.formats.sidefile_reader import read_metadata, read_properties  # brings a parser along

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


class Dressed(NamedTuple):
    """An item with what is to be set on its blob, and how it is to be verified.

    A status is None where the manifest names no file. ``note`` tells what could not be set.
    """

    item: Item
    attributes: BlobAttributes
    metadata_status: SideFileStatus | None
    properties_status: SideFileStatus | None
    check: Check
    note: str = ""


class Wardrobe:
    """The attributes of each item's blob: its side files, what NTFS says of the file, and our marker."""

    def __init__(self, journal: Journal, marker_of: Callable[[Item], str], treatment: Treatment) -> None:
        self._journal, self._marker_of, self._treatment = journal, marker_of, treatment
        self._checks: dict[BlobType, Check] = {}

    def dress(self, item: Item) -> Dressed:
        """One item; blocks where it has side files."""
        marker, treatment = self._marker_of(item), self._treatment
        if item.side != NO_SIDE:
            return _dress(item, self._journal, marker, treatment)
        # As nearly all files are: nothing is said of it but by NTFS.
        facts = _facts(item, all=treatment.file_facts)
        kept = {MARKER_KEY: marker}
        left_out = _fit(kept, facts, _reserved(treatment)) if NAME_KEY in facts else ""
        tier = treatment.tier if item.type is BlobType.BLOCK else None
        attributes = BlobAttributes(tier=tier, metadata=kept | facts)
        return Dressed(item, attributes, None, None, self._check(item, marker), left_out)

    def _check(self, item: Item, marker: str) -> Check:
        wanted = self._treatment.verification
        if item.pieces is not None or (wanted is not None and wanted.percent < 100):
            return check_of(item, self._treatment, marker, UNSAID)
        check = self._checks.get(item.type)
        if check is None:
            check = self._checks[item.type] = check_of(item, self._treatment, marker, UNSAID)
        return check


def _dress(item: Item, journal: Journal, marker: str, treatment: Treatment) -> Dressed:
    side = item.side
    metadata, metadata_status = _merged(journal, side.list_metadata, side.metadata, merge_metadata, dict)
    properties, properties_status = _merged(
        journal,
        side.list_properties,
        side.properties,
        lambda default, own: merge_properties(_unpack(default), _unpack(own)),
        _unpack,
    )
    said = UNSAID
    if metadata or properties:
        said = attributes(metadata or {}, properties or SideProperties())
    taken = {key.lower() for key in said.metadata}
    kept = {key: value for key, value in said.metadata.items() if key.lower() != MARKER_KEY}
    kept[MARKER_KEY] = marker
    facts = _facts(item, all=treatment.file_facts)
    for key in taken & facts.keys():
        del facts[key]
    left_out = _fit(kept, facts, _reserved(treatment))
    tier = treatment.tier if item.type is BlobType.BLOCK else None
    dressed = replace(said, tier=tier, metadata=kept | facts)
    check = check_of(item, treatment, marker, said)
    return Dressed(item, dressed, metadata_status, properties_status, check, left_out)


def _reserved(treatment: Treatment) -> int:
    """Bytes of metadata for what is known of a file only when it was read."""
    return SHA256_BYTES if treatment.sha256 else 0


def _fit(kept: Mapping[str, str], facts: dict[str, str], reserved_bytes: int) -> str:
    """Drop the largest facts until all metadata fits what the service takes; tells which."""
    # An escaped character takes at most 12 bytes, so nearly always the exact sizes need not be known.
    texts = "".join([*kept, *kept.values(), *facts, *facts.values()])
    if 12 * len(texts) + reserved_bytes <= MAX_METADATA_BYTES:
        return ""
    sizes = {key: len(key) + len(encode_metadata(value)) for key, value in [*kept.items(), *facts.items()]}
    total, dropped = sum(sizes.values()) + reserved_bytes, []
    for key in sorted(facts, key=sizes.__getitem__, reverse=True):
        if total <= MAX_METADATA_BYTES:
            break
        total -= sizes[key]
        dropped.append(key)
        del facts[key]
    return f"metadata {', '.join(dropped)} left out: too long" if dropped else ""


def _facts(item: Item, *, all: bool) -> dict[str, str]:
    """What NTFS says of the file; only its modification time unless ``all``."""
    modified, changed, created, flags = item.facts
    said = {MTIME_KEY: text} if (text := _rfc3339(modified)) else {}
    if not all:
        return said
    if text := _rfc3339(changed):
        said[CTIME_KEY] = text
    if text := _rfc3339(created):
        said[BTIME_KEY] = text
    if flags:
        said[ATTRIBUTES_KEY] = f"0x{flags:x}"
    if _is_renamed(item) and not _SURROGATE.search(item.file_path):
        # Half a character cannot stand in metadata; the blob's own name, decoded, gives it back.
        said[NAME_KEY] = item.file_path
    return said


def _is_renamed(item: Item) -> bool:
    path = item.file_path.lstrip("\\").replace("\\", "/")
    return not item.blob.endswith(f"/{path}")


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


def _rfc3339(filetime: int) -> str:
    """FILETIME (100 ns since 1601) as RFC 3339; empty when the drive gives no sensible one."""
    seconds, rest = divmod(filetime, 10_000_000)
    until_seconds = _until_seconds(seconds) if filetime > 0 else ""
    return f"{until_seconds}.{rest:07d}Z" if until_seconds else ""


@lru_cache(maxsize=4096)
def _until_seconds(seconds: int) -> str:
    """Of files that were written together, most times share it."""
    try:
        when = datetime(1601, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    except OverflowError:
        return ""
    return f"{when:%Y-%m-%dT%H:%M:%S}"
