"""Entries whose path cannot be told yet, kept in the scratch file until it can."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from agent.volume.ntfs.entry import Entry, StreamKind, StreamRef
from agent.volume.ntfs.scratch import Scratch

BATCH_ENTRIES = 512
BATCH_EXTENTS = 50_000
"""What is gathered in memory before it is written: so many entries, or so many extents."""

_KINDS = {kind.value: kind for kind in StreamKind}


class Nameless(NamedTuple):
    """An Entry that lacks its path: the reference of the directory whose place tells it, and its name.

    For a directory that is its own reference, and for all else its parent's.
    """

    entry: Entry
    reference: int
    name: str


class Spill:
    """Takes entries, then gives them back in the same order."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._batches: list[tuple[int, int]] = []
        self._rows: list[list[object]] = []
        self._extents = 0

    def add(self, nameless: Nameless) -> None:
        """Raises StateUnusable when the scratch file cannot be written."""
        entry = nameless.entry
        streams = [ref.to_json() for ref in entry.streams]
        fields = entry._replace(path=(), streams=())
        self._rows.append([nameless.reference, nameless.name, streams, *fields])
        self._extents += sum(len(ref.extents) for ref in entry.streams)
        if len(self._rows) >= BATCH_ENTRIES or self._extents >= BATCH_EXTENTS:
            self._flush()

    def _flush(self) -> None:
        data = json.dumps(self._rows, separators=(",", ":")).encode("ascii")
        self._batches.append((self._scratch.append(data), len(data)))
        self._rows, self._extents = [], 0

    def replay(self) -> Iterator[Nameless]:
        """All that were added. Raises StateUnusable."""
        if self._rows:
            self._flush()
        for start, length in self._batches:
            for row in json.loads(self._scratch.load(start, length)):
                yield _restore(row)


def _restore(row: list[Any]) -> Nameless:
    reference, name, streams, *fields = row
    entry = Entry._make(fields)
    return Nameless(entry._replace(path=(), streams=tuple(map(_stream, streams))), reference, name)


def _stream(fields: list[Any]) -> StreamRef:
    """The reverse of ``to_json``, without the checks that ``from_json`` makes of what others say."""
    ref = StreamRef._make(fields)
    flat = iter(fields[StreamRef._fields.index("extents")])
    return ref._replace(kind=_KINDS[ref.kind], extents=tuple(zip(flat, flat, strict=True)))
