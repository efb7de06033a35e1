"""How the reader lists a volume's files to the uploader: ordinary ones in columns, all others a row each.

A column costs a few C calls a message where a row costs some of Python's a file: most of what a drive of
small files took before its first byte moved. The uploader checks the columns as it checks rows: they
were made from hostile bytes by a process that those bytes may have taken over.
"""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, compress
from operator import gt
from typing import Any

from agent.errors import WorkerLost
from agent.transfer.frames import Message
from agent.transfer.items import FileFacts
from agent.transfer.packed import NUMBERS, numbers_of
from agent.volume.entry import DamagedRecord, Entry, StreamRef

DAMAGED = "$Damaged"
"""First name of the path under which a damaged MFT record is accounted for; then its number, and a name."""

FILES_PER_MESSAGE = 1024
EXTENTS_PER_MESSAGE = 50_000
CHARS_PER_MESSAGE = 4 << 20
"""Of the paths of its files, all written out: a folder that lies deep is told once, and used for each."""
NAME_CHARS = 16
"""What each name of a path counts beside its own: it takes sixty bytes of memory however short it is."""
STREAMS_AT_ONCE = 16
"""Of one file; a path of a thousand folders stands in the row of each."""
MAX_EXTENTS = 1_000_000
"""A file in more pieces than this is not moved: its list would not fit a message."""

MAX_COUNTED_BYTES = 1 << 48
"""More than any blob can hold; sizes that only a hostile drive gives are counted as this."""

_WIDTH = NUMBERS + 2
"""Of a file: its folder's place in the message, where its stream begins, and the numbers of ``packed``."""

_BAD = "the reader sent an entry that is none"
_ROW_BYTES = 8 * _WIDTH
_FACTS = _WIDTH - len(FileFacts._fields)
"""Where the facts begin."""


@dataclass(slots=True)
class Batch:
    """Entries on their way into one message, in the reader."""

    folders: dict[tuple[str, ...], int] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    rows: list[tuple[int, list[object]]] = field(default_factory=list)
    folder_chars: list[int] = field(default_factory=list)
    extents: int = 0
    chars: int = 0

    @property
    def is_full(self) -> bool:
        """Whether it is to be sent now."""
        return (
            len(self.names) + len(self.rows) >= FILES_PER_MESSAGE
            or self.extents >= EXTENTS_PER_MESSAGE
            or self.chars >= CHARS_PER_MESSAGE
        )

    def add(self, entry: Entry | DamagedRecord) -> None:
        """One of ``parts_of``.

        What is no file of a customer's is left out: NTFS's own, and folders without named streams.
        """
        if isinstance(entry, Entry):
            if entry.is_system or (entry.is_directory and not any(each.name for each in entry.streams)):
                return
            if self._add_ordinary(entry):
                return
        for row in rows_of(entry):
            self.rows.append((len(self.names), row))
            self.extents += len(row[1][7]) if isinstance(row[1], list) else 0
            self.chars += _chars(row[0]) if isinstance(row[0], list) else 0

    def _add_ordinary(self, entry: Entry) -> bool:
        streams = entry.streams
        if len(streams) != 1 or entry.is_directory or entry.target is not None or not entry.path:
            return False
        facts = FileFacts(entry.modified, entry.changed, entry.created, entry.attributes)
        numbers = numbers_of(streams[0], facts)
        if numbers is None:
            return False
        folder = entry.path[:-1]
        place = self.folders.get(folder)
        if place is None:
            place = self.folders[folder] = len(self.folders)
            self.folder_chars.append(_chars(folder))
        name = entry.path[-1]
        self.names.append(name)
        self.chars += self.folder_chars[place] + len(name)
        self.numbers += (place, streams[0].first_offset, *numbers)
        return True

    def message(self) -> Message:
        """For ``Listed.of``."""
        return {
            "is": "entries",
            "folders": [*self.folders],
            "names": self.names,
            "numbers": base64.b64encode(_little_endian(array("Q", self.numbers))).decode("ascii"),
            "rows": self.rows,
        }


def _chars(names: Sequence[str]) -> int:
    return sum(map(len, names)) + NAME_CHARS * len(names)


def parts_of(entry: Entry | DamagedRecord) -> Iterator[Entry | DamagedRecord]:
    """The entry, some of its streams at a time where it has many: to be added one after the other."""
    if isinstance(entry, DamagedRecord) or len(entry.streams) <= STREAMS_AT_ONCE:
        yield entry
        return
    for start in range(0, len(entry.streams), STREAMS_AT_ONCE):
        yield entry._replace(streams=entry.streams[start : start + STREAMS_AT_ONCE])


def rows_of(entry: Entry | DamagedRecord) -> Iterator[list[object]]:
    """What the uploader needs of an entry: [path, stream or None, facts or 0, flags, note]."""
    if isinstance(entry, DamagedRecord):
        yield [[DAMAGED, str(entry.number), *entry.names[:1]], None, 0, "damaged", entry.why]
        return
    if entry.is_directory:
        flags = "directory"
    elif entry.is_system:
        flags = "system"
    elif entry.target is not None:
        flags = "link"
    else:
        flags = "file"
    streams: list[StreamRef | None] = [*entry.streams] or [None]
    for stream in streams:
        yield [
            list(entry.path),
            _bounded(stream).to_json() if stream is not None else None,
            [entry.modified, entry.changed, entry.created, entry.attributes],
            flags,
            entry.target or "",
        ]


def _bounded(stream: StreamRef) -> StreamRef:
    if len(stream.extents) <= MAX_EXTENTS:
        return stream
    why = f"the file lies in {len(stream.extents)} pieces, more than this station moves"
    return stream._replace(extents=(), unsupported=why)


@dataclass(frozen=True, slots=True)
class Listed:
    """A message of the reader's, checked, in the uploader.

    ``names``, ``places`` (in ``folders``), ``first_offsets``, ``sizes`` (as counted) and ``packed`` are
    columns: a place in all is one ordinary file. ``rows`` are the others, each with the number of ordinary
    files before it; what a row holds is not checked.
    """

    folders: list[list[str]]
    names: list[str]
    places: list[int]
    first_offsets: list[int]
    sizes: list[int]
    packed: list[bytes]
    rows: list[tuple[int, Any]]

    @classmethod
    def of(cls, message: Message) -> Listed:
        """Raises WorkerLost for what is no such message, or holds what no volume could."""
        match message:
            case {"folders": list(folders), "names": list(names), "numbers": str(text), "rows": list(rows)}:
                data, columns = _numbers(text, len(names), len(folders))
            case _:
                raise WorkerLost("the reader sent a list of entries that is none")
        _check_names(names)
        for folder in folders:
            if not isinstance(folder, list):
                raise WorkerLost(_BAD)
            _check_names(folder)
        places, starts, _, sizes = (column.tolist() for column in columns[:4])
        _check_size(folders, names, places)
        return cls(
            folders,
            names,
            places,
            starts,
            [min(size, MAX_COUNTED_BYTES) for size in sizes],
            [data[at : at + 8 * NUMBERS] for at in range(8 * (_WIDTH - NUMBERS), len(data), _ROW_BYTES)],
            _checked_rows(rows, len(names)),
        )

    def only(self, wanted: list[bool]) -> Listed:
        """Those of the ordinary files that are wanted."""
        before = [0, *accumulate(wanted)]
        return Listed(
            self.folders,
            [*compress(self.names, wanted)],
            [*compress(self.places, wanted)],
            [*compress(self.first_offsets, wanted)],
            [*compress(self.sizes, wanted)],
            [*compress(self.packed, wanted)],
            [(before[at], row) for at, row in self.rows],
        )


def _numbers(text: str, files: int, folders: int) -> tuple[bytes, list[array[int]]]:
    """A row for each file, and its columns; every number is within its bounds.

    A time that no clock ever showed becomes 0 in the row.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise WorkerLost(_BAD) from None
    if len(data) != files * _ROW_BYTES:
        raise WorkerLost(_BAD)
    found = array("Q", data)
    if sys.byteorder == "big":
        found.byteswap()
    columns = [found[number::_WIDTH] for number in range(_WIDTH)]
    places, _, _, sizes, valid, lengths = columns[:6]
    if (
        max(places, default=-1) >= folders
        or not all(_is_signed(data, number) for number in (1, 3, 5))
        or any(map(gt, valid, sizes))
        or any(0 < length < size for size, length in zip(sizes, lengths, strict=True))
    ):
        raise WorkerLost(_BAD)
    if not all(_is_signed(data, number) for number in range(_FACTS, _WIDTH)):
        data = _without_strange_facts(data)
    return data, columns


def _little_endian(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _is_signed(data: bytes, number: int) -> bool:
    """Whether all numbers of a column are below 2**63: so their highest bytes look as those of ASCII do."""
    return data[8 * number + 7 :: _ROW_BYTES].isascii()


def _without_strange_facts(data: bytes) -> bytes:
    numbers = array("Q", data)
    for at in range(0, len(data), 8):
        if at % _ROW_BYTES >= 8 * _FACTS and data[at + 7] > 127:
            numbers[at // 8] = 0
    return numbers.tobytes()


def _check_names(names: list[Any]) -> None:
    if names and (set(map(type, names)) != {str} or not all(names)):
        raise WorkerLost(_BAD)


def _check_size(folders: list[list[str]], names: list[str], places: list[int]) -> None:
    """That no few bytes of a message are many once each file has its path."""
    each = [_chars(folder) for folder in folders]
    chars = sum(map(each.__getitem__, places)) + sum(map(len, names))
    if len(names) > FILES_PER_MESSAGE or chars > 2 * CHARS_PER_MESSAGE:
        raise WorkerLost(f"the reader sent {len(names)} entries of {chars} characters at once")


def _checked_rows(rows: list[Any], files: int) -> list[tuple[int, Any]]:
    checked, least = [], 0
    for each in rows:
        match each:
            case [int(before), row] if least <= before <= files:
                checked.append((before, row))
                least = before
            case _:
                raise WorkerLost(_BAD)
    return checked
