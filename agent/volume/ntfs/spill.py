"""Entries whose path cannot be told yet, kept in the scratch file until it can."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from agent.volume.entry import Entry, StreamKind, StreamRef
from agent.volume.ntfs.scratch import Scratch

BATCH_ENTRIES = 512
BATCH_EXTENTS = 50_000
"""What is gathered in memory before it is written: so many entries, or so many extents."""

_KINDS = {kind.value: kind for kind in StreamKind}
_PATH, _STREAMS = Entry._fields.index("path"), Entry._fields.index("streams")
_KIND, _EXTENTS = StreamRef._fields.index("kind"), StreamRef._fields.index("extents")


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
        self._rows: list[Nameless] = []
        self._extents = 0

    def add(self, nameless: Nameless) -> None:
        """Raises StateUnusable when the scratch file cannot be written."""
        self._rows.append(nameless)
        self._extents += sum(len(ref.extents) for ref in nameless.entry.streams)
        if len(self._rows) >= BATCH_ENTRIES or self._extents >= BATCH_EXTENTS:
            self._flush()

    def _flush(self) -> None:
        # Tuples within tuples; JSON writes them as lists, and the names of enumerations as texts.
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
    fields, reference, name = row
    fields[_PATH] = ()
    fields[_STREAMS] = tuple(map(_stream, fields[_STREAMS]))
    return Nameless(Entry._make(fields), reference, name)


def _stream(fields: list[Any]) -> StreamRef:
    fields[_KIND] = _KINDS[fields[_KIND]]
    fields[_EXTENTS] = tuple(map(tuple, fields[_EXTENTS]))
    return StreamRef._make(fields)
