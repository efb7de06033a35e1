"""The scan of tables of many records: one pass, every path right, and memory that does not grow."""

from __future__ import annotations

import io
import math
import tempfile
from itertools import pairwise
from typing import BinaryIO, cast

import pytest

from agent.errors import StateUnusable
from agent.volume.ntfs import Entry, NtfsVolume
from agent.volume.ntfs.scan import MEMORY_BYTES
from agent.volume.ntfs.table import CHUNK_BYTES
from benchmarks.ntfs_scan import measure_apart
from fixtures.synthetic_mft import FIRST, SyntheticVolume

_RECORD_BYTES = 1024
_GROWTH_BYTES = 6 * 1024 * 1024
"""What ten times the records may take more: the caches are full at the smaller number already."""

_SHAPES = pytest.mark.parametrize("per_directory", [200, 3, 1], ids=["files", "mixed", "directories"])


class _Recorded(SyntheticVolume):
    """Notes what is read of the table."""

    def __init__(self, count: int, per_directory: int) -> None:
        super().__init__(count, per_directory)
        self.ranges: list[tuple[int, int]] = []

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self.ranges.append((offset, len(buffer)))
        super().read_into(offset, buffer)


@_SHAPES
def test_every_record_has_its_path_out_of_one_sequential_pass(per_directory: int) -> None:
    count = 20_000
    source = _Recorded(count, per_directory)
    volume = NtfsVolume.open(source)
    source.ranges.clear()
    with tempfile.TemporaryFile() as scratch:
        found = [each for each in volume.scan(cast(BinaryIO, scratch)) if isinstance(each, Entry)]
    users = [each for each in found if each.record >= FIRST]
    assert sorted(each.record for each in users) == list(range(FIRST, FIRST + count))
    for each in users:
        assert each.path == source.path(each.record)
        assert each.is_directory == source.is_directory(each.record)
    assert len(source.ranges) == math.ceil((FIRST + count) * _RECORD_BYTES / CHUNK_BYTES)
    assert all(
        sum(before) == after[0] for before, after in zip(source.ranges, source.ranges[1:], strict=False)
    )


@_SHAPES
def test_only_what_lies_below_a_later_directory_is_given_at_the_end(per_directory: int) -> None:
    source = SyntheticVolume(20_000, per_directory)
    records = [each.record for each in NtfsVolume.open(source).scan() if isinstance(each, Entry)]
    breaks = [at for at, (one, next_) in enumerate(pairwise(records), 1) if next_ < one]
    assert len(breaks) == 1
    chunk_records = CHUNK_BYTES // _RECORD_BYTES

    def waits(record: int) -> bool:
        """Whether a directory on the way is in a chunk that comes after the record's own."""
        names = source.path(record)
        above = (int(name[1:-4]) for name in names)
        return any(number // chunk_records > record // chunk_records for number in above)

    users = [record for record in records if record >= FIRST]
    late = set(records[breaks[0] :])
    assert late
    assert {record for record in users if waits(record)} == late


@_SHAPES
def test_memory_does_not_grow_with_the_records(per_directory: int) -> None:
    few, many = (measure_apart(count, per_directory) for count in (30_000, 300_000))
    assert few.entries > 30_000
    assert many.entries > 300_000
    assert many.peak_bytes - few.peak_bytes < _GROWTH_BYTES
    assert many.peak_bytes - many.before_bytes < MEMORY_BYTES
    assert many.scratch_bytes > 5 * few.scratch_bytes
    assert many.reads <= math.ceil((FIRST + 300_000) * _RECORD_BYTES / CHUNK_BYTES)


def test_the_scratch_file_holds_names_and_no_content() -> None:
    scratch = io.BytesIO()
    source = SyntheticVolume(20_000, 2)
    list(NtfsVolume.open(source).scan(scratch))
    held = scratch.getvalue()
    assert f"f{FIRST + 2:010}.bin".encode("utf-16-le") in held
    assert len(held) < 20_000 * 200
    assert b"FILE" not in held


class _Full(io.BytesIO):
    """A file on a disk that is full from some byte on."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room

    def write(self, data: object) -> int:
        view = memoryview(data)  # type: ignore[arg-type]
        if self.tell() + len(view) > self._room:
            raise OSError(28, "No space left on device")
        return super().write(view)


@pytest.mark.parametrize("room", [0, 300_000])
def test_a_scratch_file_that_cannot_be_written_is_told_as_the_stations_trouble(room: int) -> None:
    found = NtfsVolume.open(SyntheticVolume(20_000, 1)).scan(_Full(room))
    with pytest.raises(StateUnusable, match="cannot be written: No space left on device"):
        list(found)
