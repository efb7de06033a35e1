"""Every name on the volume out of two sequential passes over the table: directories, then all."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from agent.errors import NtfsDamaged, UnreadableSectors
from agent.volume.ntfs.entry import ORPHAN, DamagedRecord, Entry
from agent.volume.ntfs.extents import ExtentMap
from agent.volume.ntfs.facts import FileFacts, build_streams, gather
from agent.volume.ntfs.fixups import WHY, Verdict
from agent.volume.ntfs.record import DIRECTORY, IN_USE, Record, parse_record
from agent.volume.ntfs.reparse import MAX_REPARSE_BYTES, parse_reparse
from agent.volume.ntfs.table import Chunk, MasterFileTable
from agent.volume.ntfs.tree import FIRST_USER_RECORD, ROOT_RECORD, DirectoryTree, Place

_RESERVED = range(12, FIRST_USER_RECORD)
"""Records that NTFS sets aside; they are allocated and hold no file."""


def scan(table: MasterFileTable) -> Iterator[Entry | DamagedRecord]:
    """Entries in the order of the table; see ``NtfsVolume.scan``."""
    tree = read_tree(table)
    bitmap = table.in_use_map()
    size = table.geometry.record_size
    for chunk in table.chunks():
        yield from _damaged(table, chunk, bitmap)
        yield from _lost_extensions(table, chunk)
        for row in _rows(chunk, IN_USE):
            number = chunk.first + row
            try:
                record = parse_record(number, chunk.buffer, row * size, size)
                found = _entries(table, record, tree)
            except (NtfsDamaged, UnreadableSectors) as damage:
                yield DamagedRecord(number, damage.detail, _names_left(chunk, row, size))
            else:
                yield from found


def read_tree(table: MasterFileTable) -> DirectoryTree:
    """All directories in use. Those that cannot be parsed are left for the second pass to report."""
    tree = DirectoryTree()
    size = table.geometry.record_size
    for chunk in table.chunks():
        for row in _rows(chunk, IN_USE | DIRECTORY):
            try:
                record = parse_record(chunk.first + row, chunk.buffer, row * size, size)
                names = gather(table.attributes(record), record.number).proper_names()
            except (NtfsDamaged, UnreadableSectors):
                continue
            if names:
                tree.add(record, names[0].parent, names[0].name)
    return tree


def make_entry(
    table: MasterFileTable, record: Record, facts: FileFacts, places: list[tuple[tuple[str, ...], bool]]
) -> list[Entry]:
    """One Entry for each of ``places``: (path, whether NTFS keeps it for itself).

    Raises NtfsDamaged, UnreadableSectors.
    """
    if facts.information is None:
        raise NtfsDamaged(f"MFT record {record.number}: it has no $STANDARD_INFORMATION")
    created, modified, changed, accessed, attributes = facts.information
    tag, target = None, None
    if facts.reparse:
        tag, target = parse_reparse(table.value(facts.reparse, MAX_REPARSE_BYTES))
    streams = build_streams(record, facts, table, tag)
    return [
        Entry(
            record.number,
            record.sequence,
            path,
            record.flags & DIRECTORY != 0,
            attributes,
            created,
            modified,
            changed,
            accessed,
            record.link_count,
            is_system,
            streams,
            tag,
            target,
        )
        for path, is_system in places
    ]


def _entries(table: MasterFileTable, record: Record, tree: DirectoryTree) -> list[Entry]:
    number = record.number
    facts = gather(table.attributes(record), number)
    if number == ROOT_RECORD:
        return make_entry(table, record, facts, [((), False)])
    names = facts.proper_names()
    if not names:
        if number in _RESERVED:
            return []
        raise NtfsDamaged(f"MFT record {number}: it is in use and has no name")
    is_system = number < FIRST_USER_RECORD
    places = []
    for name in names:
        parent = _own_place(tree, record) if record.flags & DIRECTORY else tree.place(name.parent)
        if parent is None:
            path: tuple[str, ...] = (ORPHAN, str(number), name.name)
        elif record.flags & DIRECTORY:
            path = parent.path
        else:
            path = (*parent.path, name.name)
        places.append((path, is_system or (parent is not None and parent.is_system)))
        if record.flags & DIRECTORY:
            break
    return make_entry(table, record, facts, places)


def _own_place(tree: DirectoryTree, record: Record) -> Place | None:
    """A directory's path is the tree's, so that its own Entry and those below it always agree."""
    return tree.place(record.reference)


def _rows(chunk: Chunk, flags: int) -> list[int]:
    """Sound base records whose flags are all set."""
    wanted = (chunk.verdicts == Verdict.SOUND) & (chunk.flags & flags == flags)
    rows: list[int] = np.flatnonzero(wanted & (chunk.bases == 0)).tolist()
    return rows


def _damaged(table: MasterFileTable, chunk: Chunk, bitmap: ExtentMap | None) -> Iterator[DamagedRecord]:
    """Records that are in use by the table's bitmap or their own flag and cannot be parsed.

    Without the bitmap, an unsigned record counts as never used if it begins with zeros.
    """
    broken = chunk.verdicts != Verdict.SOUND
    if not broken.any():
        return
    allocated = table.allocated(bitmap, chunk)
    size = table.geometry.record_size
    for row in np.flatnonzero(broken).tolist():
        number, verdict = chunk.first + row, Verdict(int(chunk.verdicts[row]))
        if allocated is not None:
            in_use = bool(allocated[row])
        else:
            in_use = verdict is Verdict.UNREADABLE or any(chunk.buffer[row * size : row * size + 4])
        if verdict in (Verdict.BAD_ARRAY, Verdict.TORN) and chunk.flags[row] & IN_USE:
            in_use = True
        if in_use and not (number in _RESERVED and verdict is Verdict.NO_SIGNATURE):
            yield DamagedRecord(number, f"MFT record {number} is damaged: {WHY[verdict]}")


def _lost_extensions(table: MasterFileTable, chunk: Chunk) -> Iterator[DamagedRecord]:
    """Records in use that continue one that is gone: the rest of a file that no Entry will tell of."""
    wanted = (chunk.verdicts == Verdict.SOUND) & (chunk.flags & IN_USE != 0)
    for row in np.flatnonzero(wanted & (chunk.bases != 0)).tolist():
        base = int(chunk.bases[row])
        try:
            table.referenced(base)
        except (NtfsDamaged, UnreadableSectors) as damage:
            number = chunk.first + row
            yield DamagedRecord(number, f"MFT record {number} continues another one: {damage.detail}")


def _names_left(chunk: Chunk, row: int, size: int) -> tuple[str, ...]:
    """The names in the record itself, as far as they can be made out."""
    number = chunk.first + row
    try:
        record = parse_record(number, chunk.buffer, row * size, size)
        return tuple(name.name for name in gather(record.attributes(), number).proper_names())
    except NtfsDamaged:
        return ()
