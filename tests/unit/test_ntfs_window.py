"""Small reads out of windows."""

from __future__ import annotations

import random

import pytest

from agent.errors import DiskOperationFailed, UnreadableSectors
from agent.volume.block import BytesSource
from agent.volume.window import WindowCache

_DATA = random.Random(5).randbytes(100_000)


class _Recorded(BytesSource):
    """Notes its reads, and fails those that touch ``bad``."""

    def __init__(self, data: bytes, bad: range = range(0)) -> None:
        super().__init__(data)
        self.reads: list[tuple[int, int]] = []
        self._bad = bad

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self.reads.append((offset, len(buffer)))
        if offset < self._bad.stop and self._bad.start < offset + len(buffer):
            raise UnreadableSectors(self._bad.start, len(self._bad))
        super().read_into(offset, buffer)


def _read(cache: WindowCache, offset: int, length: int) -> bytes:
    buffer = bytearray(length)
    cache.read_into(offset, memoryview(buffer))
    return bytes(buffer)


def test_neighbouring_small_reads_cost_one_read_below() -> None:
    source = _Recorded(_DATA)
    cache = WindowCache(source, 8192)
    for offset in range(8192, 16384, 512):
        assert _read(cache, offset, 512) == _DATA[offset : offset + 512]
    assert source.reads == [(8192, 8192)]


def test_any_range_is_what_the_source_holds() -> None:
    cache = WindowCache(_Recorded(_DATA), 4096)
    chance = random.Random(6)
    for _ in range(500):
        offset = chance.randrange(len(_DATA))
        length = chance.randrange(min(20_000, len(_DATA) - offset) + 1)
        assert _read(cache, offset, length) == _DATA[offset : offset + length]


def test_a_large_read_goes_straight_through() -> None:
    source = _Recorded(_DATA)
    assert _read(WindowCache(source, 4096), 1000, 50_000) == _DATA[1000:51_000]
    assert source.reads == [(1000, 50_000)]


def test_a_bad_sector_costs_only_what_lies_on_it() -> None:
    source = _Recorded(_DATA, range(10_240, 10_752))
    cache = WindowCache(source, 8192)
    assert _read(cache, 9000, 1240) == _DATA[9000:10_240]
    with pytest.raises(UnreadableSectors):
        _read(cache, 10_000, 1000)


def test_only_a_few_windows_are_kept() -> None:
    source = _Recorded(_DATA)
    cache = WindowCache(source, 4096)
    for offset in (*range(0, 4096 * 12, 4096), 0):
        _read(cache, offset, 10)
    assert source.reads.count((0, 4096)) == 2


def test_a_read_past_the_end_is_refused() -> None:
    with pytest.raises(DiskOperationFailed, match="ends at 100000"):
        _read(WindowCache(_Recorded(_DATA), 4096), 99_999, 2)
