"""Every name on the volume out of one sequential pass over the table.

A path is final when every directory on its way up has been seen. Where one has not, the Entry waits in
the scratch file and is given at the end; so is the table of directories kept there (``tree``). A file's
other records are had from there too (``register``), and a file of which one comes later waits for the end.
"""

from __future__ import annotations

import io
from bisect import bisect_left
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from agent.errors import NtfsDamaged, UnreadableSectors
from agent.volume.entry import ORPHAN, DamagedRecord, Entry
from agent.volume.ntfs.damage import RESERVED, Continuations, damaged_records
from agent.volume.ntfs.facts import FileFacts, build_streams, gather
from agent.volume.ntfs.fixups import Verdict
from agent.volume.ntfs.ordinary import Ordinary, read_ordinary
from agent.volume.ntfs.record import DIRECTORY, IN_USE, Record, parse_record
from agent.volume.ntfs.register import NotSeen, Register
from agent.volume.ntfs.reparse import MAX_REPARSE_BYTES, parse_reparse
from agent.volume.ntfs.repeats import Repeats
from agent.volume.ntfs.scratch import Scratch
from agent.volume.ntfs.spill import Nameless, Spill
from agent.volume.ntfs.table import Chunk, MasterFileTable
from agent.volume.ntfs.tree import (
    FIRST_USER_RECORD,
    ROOT_RECORD,
    WAITING,
    Directory,
    DirectoryTree,
    Place,
)
from agent.volume.ntfs.waiting import Raw, WaitingRecords

MEMORY_BYTES = 64 * 1024 * 1024
"""What a scan takes at most, besides its scratch file and a bit and a half for each record of the table:
two chunks, their records in the shape that waits, the entries of one, and the caches of ``scratch`` and
``tree``."""


def scan(
    table: MasterFileTable, scratch: BinaryIO | None = None, *, careful_only: bool = False
) -> Iterator[Entry | DamagedRecord]:
    """See ``NtfsVolume.scan``. ``careful_only`` takes no record for ordinary, and gives the same values."""
    return _Pass(table, Scratch(io.BytesIO() if scratch is None else scratch), careful_only).run()


class _Pass:
    """One pass: what is known of the directories, and what waits for them."""

    def __init__(self, table: MasterFileTable, scratch: Scratch, careful_only: bool) -> None:
        self._table = table
        self._size = table.geometry.record_size
        self._careful_only = careful_only
        self._tree = DirectoryTree(scratch, table.chunk_records, table.record_count)
        self._register = Register(table, scratch)
        self._continuations = Continuations(table, self._register, scratch)
        self._waiting = WaitingRecords(scratch, self._size)
        self._spill = Spill(scratch)
        self._repeats = Repeats(table.geometry.volume_bytes)

    def run(self) -> Iterator[Entry | DamagedRecord]:
        bitmap = self._table.in_use_map()
        for chunk in self._table.chunks():
            yield from damaged_records(self._table, chunk, bitmap)
            self._register.see(chunk)
            yield from self._continuations.see(chunk)
            yield from self._files(chunk)
            self._waiting.end_chunk(chunk.first)
        self._register.finish()
        yield from self._continuations.finish()
        for first, raws in self._waiting.replay():
            yield from self._late_files(first, raws)
        self._tree.finish()
        for nameless in self._spill.replay():
            yield _settle(nameless, self._tree.place(nameless.reference))

    def _files(self, chunk: Chunk) -> Iterator[Entry | DamagedRecord]:
        """The chunk's entries in the order of its records, but for those that must wait."""
        ordinary = None
        if not self._careful_only:
            ordinary = read_ordinary(chunk, self._table.geometry, self._table.offsets(chunk))
        careful = _careful_rows(chunk, ordinary)
        folders = ordinary.directories() if ordinary else []
        self._see([directory for _, directory in folders], chunk, careful)
        rows, entries = self._settled(ordinary, folders) if ordinary else ([], [])
        given = 0
        for row in careful:
            until = bisect_left(rows, row, given)
            yield from entries[given:until]
            yield from self._carefully(self._raw(chunk, row))
            given = until
        yield from entries[given:]

    def _see(self, folders: list[Directory], chunk: Chunk, careful: list[int]) -> None:
        """Tell the tree all directories of the chunk, and which of them it will be told of late."""
        found, late = [*folders], []
        for row in careful:
            if chunk.flags[row] & DIRECTORY:
                try:
                    found += self._directories(self._raw(chunk, row))
                except NotSeen:
                    late.append(chunk.first + row)
        self._tree.see(sorted(found), late)

    def _directories(self, raw: Raw) -> list[Directory]:
        """The directory that the record is, none if it cannot be parsed, which is reported elsewhere."""
        try:
            record, facts = self._parse(raw)
        except (NtfsDamaged, UnreadableSectors):
            return []
        return _as_directory(record, facts)

    def _late_files(self, first: int, raws: list[Raw]) -> Iterator[Entry | DamagedRecord]:
        """Files of the chunk that begins with record ``first``, which waited for the end of the pass."""
        late: list[Directory] = []
        for raw in raws:
            yield from self._carefully(raw, late)
        self._tree.see_late(first, late)

    def _settled(
        self, ordinary: Ordinary, folders: list[tuple[int, Directory]]
    ) -> tuple[list[int], list[Entry]]:
        """Rows and entries of the ordinary records whose path is final; the others are spilled."""
        parents = {parent: self._tree.place(parent) for parent in set(ordinary.parents)}
        here = [parents[parent] for parent in ordinary.parents]
        paths = [
            (*place.path, name) if place else (ORPHAN, str(number), name)
            for place, name, number in zip(here, ordinary.names, ordinary.numbers, strict=True)
        ]
        for at, directory in folders:
            here[at] = place = self._tree.settle(directory)
            paths[at] = place.path
        entries = ordinary.entries(paths, [place is not None and place.is_system for place in here])
        waiting = [at for at, place in enumerate(here) if place is WAITING]
        if not waiting:
            return ordinary.rows, entries
        own = {at: directory.reference for at, directory in folders}
        for at in waiting:
            self._spill.add(Nameless(entries[at], own.get(at, ordinary.parents[at]), ordinary.names[at]))
        kept = [at for at, place in enumerate(here) if place is not WAITING]
        return [ordinary.rows[at] for at in kept], [entries[at] for at in kept]

    def _carefully(self, raw: Raw, late: list[Directory] | None = None) -> Iterator[Entry | DamagedRecord]:
        """One record the careful way: one Entry for each of its names. A directory is added to ``late``.

        What cannot be told until the end of the pass waits.
        """
        try:
            record, facts = self._parse(raw)
            if late is not None and record.flags & DIRECTORY:
                late += _as_directory(record, facts)
            names = _links(record, facts)
            is_system = record.number < FIRST_USER_RECORD and record.number != ROOT_RECORD
            found = make_entry(self._table, record, facts, [((), is_system)] if names else [])
            self._repeats.take(record.number, len(names), found[0].streams if found else ())
        except NotSeen:
            self._waiting.add(raw)
            return
        except (NtfsDamaged, UnreadableSectors) as damage:
            yield DamagedRecord(raw.number, damage.detail, self._names_left(raw))
            return
        for reference, name in names:
            yield from self._given(Nameless(found[0], reference, name))

    def _given(self, nameless: Nameless) -> Iterator[Entry]:
        place = self._tree.place(nameless.reference)
        if place is WAITING:
            self._spill.add(nameless)
        else:
            yield _settle(nameless, place)

    def _raw(self, chunk: Chunk, row: int) -> Raw:
        return Raw(chunk.first + row, chunk.buffer, row * self._size)

    def _parse(self, raw: Raw) -> tuple[Record, FileFacts]:
        record = parse_record(raw.number, raw.buffer, raw.start, self._size)
        return record, gather(self._table.attributes(record, self._register), record.number)

    def _names_left(self, raw: Raw) -> tuple[str, ...]:
        """The names in the record itself, as far as they can be made out."""
        try:
            record = parse_record(raw.number, raw.buffer, raw.start, self._size)
            return tuple(name.name for name in gather(record.attributes(), raw.number).proper_names())
        except NtfsDamaged:
            return ()


def make_entry(
    table: MasterFileTable, record: Record, facts: FileFacts, places: list[tuple[tuple[str, ...], bool]]
) -> list[Entry]:
    """One Entry for each of ``places``: (path, whether NTFS keeps it for itself).

    Raises NtfsDamaged, UnreadableSectors.
    """
    if not places:
        return []
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


def _links(record: Record, facts: FileFacts) -> list[tuple[int, str]]:
    """For each name that the file is to have: the directory whose place tells its path, and the name.

    A directory's path is the tree's, so that its own Entry and those below it always agree.
    """
    if record.number == ROOT_RECORD:
        return [(ROOT_RECORD, "")]
    names = facts.proper_names()
    if not names and record.number not in RESERVED:
        raise NtfsDamaged(f"MFT record {record.number}: it is in use and has no name")
    if record.flags & DIRECTORY:
        return [(record.reference, name.name) for name in names[:1]]
    return [(name.parent, name.name) for name in names]


def _as_directory(record: Record, facts: FileFacts) -> list[Directory]:
    """As the tree is told of it, by the first of its names, if it has one."""
    return [
        Directory(record.number, record.sequence, name.parent, name.name.encode("utf-16-le", "surrogatepass"))
        for name in facts.proper_names()[:1]
    ]


def _settle(nameless: Nameless, place: Place | None) -> Entry:
    """The Entry with its path, now that the place is known."""
    entry = nameless.entry
    if place is None:
        return entry._replace(path=(ORPHAN, str(entry.record), nameless.name))
    is_directory = entry.is_directory or entry.record == ROOT_RECORD
    path = place.path if is_directory else (*place.path, nameless.name)
    return entry._replace(path=path, is_system=entry.is_system or place.is_system)


def _careful_rows(chunk: Chunk, ordinary: Ordinary | None) -> list[int]:
    """Sound base records in use that are not ordinary."""
    wanted = (chunk.verdicts == Verdict.SOUND) & (chunk.flags & IN_USE != 0) & (chunk.bases == 0)
    if ordinary is not None:
        wanted[ordinary.rows] = False
    rows: list[int] = np.flatnonzero(wanted).tolist()
    return rows
