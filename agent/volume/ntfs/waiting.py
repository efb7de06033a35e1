"""Base records whose attribute lists lead to where the pass has not been, kept until it has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from agent.volume.ntfs.bare import bare_record
from agent.volume.ntfs.scratch import Scratch

_NUMBER_BYTES = 8


class Raw(NamedTuple):
    """A sound record, fix-ups applied: its number, and where in ``buffer`` it begins."""

    number: int
    buffer: bytearray
    start: int


class WaitingRecords:
    """Takes records chunk by chunk, and gives them back so. In memory are those of one chunk."""

    def __init__(self, scratch: Scratch, record_size: int) -> None:
        self._scratch = scratch
        self._size = record_size
        self._batches: list[tuple[int, int, int]] = []
        self._numbers: list[int] = []
        self._records: list[bytes] = []

    def add(self, raw: Raw) -> None:
        """In ascending order of the numbers."""
        self._numbers.append(raw.number)
        self._records.append(bare_record(raw.number, raw.buffer[raw.start : raw.start + self._size]))

    def end_chunk(self, first: int) -> None:
        """Write what was added since the last time, of the chunk that begins with that record.

        Raises StateUnusable.
        """
        if not self._numbers:
            return
        numbers = b"".join(number.to_bytes(_NUMBER_BYTES, "little") for number in self._numbers)
        start = self._scratch.append(numbers + b"".join(self._records))
        self._batches.append((first, start, len(self._numbers)))
        self._numbers, self._records = [], []

    def replay(self) -> Iterator[tuple[int, list[Raw]]]:
        """The first record of each chunk of which some wait, and these. Raises StateUnusable."""
        for first, start, count in self._batches:
            data = bytearray(self._scratch.load(start, count * (_NUMBER_BYTES + self._size)))
            places = range(0, count * _NUMBER_BYTES, _NUMBER_BYTES)
            numbers = [int.from_bytes(data[at : at + _NUMBER_BYTES], "little") for at in places]
            records = count * _NUMBER_BYTES
            yield first, [Raw(number, data, records + at * self._size) for at, number in enumerate(numbers)]
