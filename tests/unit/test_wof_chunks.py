"""Ranges of packed streams: tables of any size, each chunk unpacked once, and tables that lie."""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import NtfsDamaged, UnreadableSectors
from agent.volume.ntfs.wof import ChunkReader, ChunkTable
from fixtures.content import Content
from fixtures.wim import Packing, stored
from tests.kit import packing

_CONTENT = Content(1)
_TABLE_WINDOW = 65536


class _Stream:
    """A packed stream in memory that remembers what was read of it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.reads: list[tuple[int, int]] = []

    def read(self, offset: int, buffer: memoryview) -> None:
        assert 0 <= offset <= offset + len(buffer) <= len(self._data)
        self.reads.append((offset, len(buffer)))
        buffer[:] = self._data[offset : offset + len(buffer)]


def _packed(data: bytes, chunk_bytes: int = 4096) -> bytes:
    """Every third chunk is stored plain."""
    parts, ends, end = [], [], 0
    for number, at in enumerate(range(0, len(data), chunk_bytes)):
        chunk = data[at : at + chunk_bytes]
        packed = packing.xpress(list(packing.items_of(chunk, 4095)))
        parts.append(packed if number % 3 and len(packed) < len(chunk) else chunk)
        end += len(parts[-1])
        ends.append(end)
    return struct.pack(f"<{len(ends) - 1}I", *ends[:-1]) + b"".join(parts)


def _reader(data: bytes, packed: bytes, chunk_bytes: int = 4096) -> tuple[ChunkReader, _Stream]:
    stream = _Stream(packed)
    table = ChunkTable(len(data), chunk_bytes, len(packed))
    return ChunkReader(table, stream.read, "a file"), stream


def _read(reader: ChunkReader, offset: int, length: int) -> bytes:
    buffer = bytearray(b"\xee" * length)
    reader.read_into(offset, memoryview(buffer))
    return bytes(buffer)


_TEXT = _CONTENT.note("chunks", 100_000)


@given(st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 40_000)), max_size=12))
@settings(max_examples=30, deadline=None)
def test_any_ranges_in_any_order_are_those_of_the_file(ranges: list[tuple[int, int]]) -> None:
    reader, _ = _reader(_TEXT, _TEXT_PACKED)
    for offset, length in ranges:
        length = min(length, len(_TEXT) - offset)
        assert _read(reader, offset, length) == _TEXT[offset : offset + length]


_TEXT_PACKED = _packed(_TEXT)


def test_reading_on_and_on_reads_and_unpacks_each_chunk_once() -> None:
    reader, stream = _reader(_TEXT, _TEXT_PACKED)
    step = 5000
    whole = b"".join(_read(reader, at, min(step, len(_TEXT) - at)) for at in range(0, len(_TEXT), step))
    assert whole == _TEXT
    assert sorted(stream.reads) == sorted(set(stream.reads))
    assert sum(length for _, length in stream.reads) == len(_TEXT_PACKED)


def test_a_large_range_is_read_in_a_few_pieces_of_bounded_size() -> None:
    data = _CONTENT.tiles("large", 3 << 20)
    reader, stream = _reader(data, stored(data, Packing.XPRESS4K))
    assert _read(reader, 0, len(data)) == data
    assert max(length for _, length in stream.reads) <= 512 * 1024
    assert len(stream.reads) <= 8


def test_threads_that_share_a_reader_get_their_own_ranges() -> None:
    reader, _ = _reader(_TEXT, _TEXT_PACKED)
    places = [(at * 7919) % (len(_TEXT) - 9000) for at in range(60)]
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda at: _read(reader, at, 9000), places)
    assert list(found) == [_TEXT[at : at + 9000] for at in places]


class _Huge:
    """A file beyond 4 GiB, in chunks of 4096 bytes stored plain or as one packed chunk of zeros."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.count = -(-size // 4096)
        self.zeros = packing.xpress([0, (4095, 1)])
        self.table_bytes = 8 * (self.count - 1)
        last = size - 4096 * (self.count - 1)
        self.packed_bytes = self.table_bytes + len(self.zeros) * (self.count - 1) + last
        self.largest_read = 0

    def read(self, offset: int, buffer: memoryview) -> None:
        self.largest_read = max(self.largest_read, len(buffer))
        for index in range(len(buffer)):
            buffer[index] = self._byte(offset + index)

    def _byte(self, at: int) -> int:
        if at < self.table_bytes:
            end = len(self.zeros) * (at // 8 + 1)
            return end.to_bytes(8, "little")[at % 8]
        inside = at - self.table_bytes
        if inside < len(self.zeros) * (self.count - 1):
            return self.zeros[inside % len(self.zeros)]
        return 0x5A


@pytest.mark.parametrize("size", [(1 << 32) + 5, (1 << 42) + 5])
def test_files_of_4_gib_and_more_have_wide_entries_of_which_few_are_held(size: int) -> None:
    huge = _Huge(size)
    reader = ChunkReader(ChunkTable(size, 4096, huge.packed_bytes), huge.read, "a file")
    assert _read(reader, size - 10, 10) == bytes(5) + b"ZZZZZ"
    assert _read(reader, size // 2 + 1, 5000) == bytes(5000)
    # Across two pieces of the table, which holds 8192 entries in each.
    assert _read(reader, 8192 * 4096 - 3, 4100) == bytes(4100)
    assert huge.largest_read == _TABLE_WINDOW


def test_the_width_of_entries_changes_at_4_gib() -> None:
    chunks = (1 << 32) // 32768
    assert ChunkTable((1 << 32) - 1, 32768, 1 << 31).table_bytes == 4 * (chunks - 1)
    assert ChunkTable(1 << 32, 32768, 1 << 31).table_bytes == 8 * (chunks - 1)


@pytest.mark.parametrize(
    ("entries", "chunk", "said"),
    [
        ([5000, 8000], 0, "chunk 0 of 3 is said to lie at bytes 8..5008 of 10008"),
        ([0, 4096], 0, "chunk 0 of 3 is said to lie at bytes 8..8 "),
        ([4096, 4095], 1, "chunk 1 of 3 is said to lie at bytes 4104..4103 "),
        ([4096, 2**32 - 1], 1, "chunk 1 of 3 is said to lie at bytes 4104..4294967303 "),
        ([4096, 8193], 1, "chunk 1 of 3 is said to lie at bytes 4104..8201 "),
        ([4000, 5000], 2, "chunk 2 of 3 is said to lie at bytes 5008..10008 "),
    ],
)
def test_a_table_out_of_order_is_damage(entries: list[int], chunk: int, said: str) -> None:
    data = _CONTENT.tiles("order", 10_000)
    packed = struct.pack("<2I", *entries) + data
    reader, _ = _reader(data, packed)
    with pytest.raises(NtfsDamaged, match=f"a file: packed {said}"):
        _read(reader, chunk * 4096, 1)


def test_a_damaged_chunk_is_told_by_its_number_and_others_are_read() -> None:
    packed = bytearray(_TEXT_PACKED)
    start = 4 * 24 + struct.unpack_from("<I", packed, 0)[0]
    packed[start : start + 256] = b"\xff" * 256
    reader, _ = _reader(_TEXT, bytes(packed))
    assert _read(reader, 0, 4096) == _TEXT[:4096]
    with pytest.raises(NtfsDamaged, match="a file: packed chunk 1 of 25: the Huffman code"):
        _read(reader, 4096, 1)
    assert _read(reader, 8192, 9000) == _TEXT[8192:17192]


def test_an_unreadable_sector_is_told_as_such_and_forgotten() -> None:
    stream = _Stream(_TEXT_PACKED)
    bad = [True]

    def read(offset: int, buffer: memoryview) -> None:
        if bad and offset:
            raise UnreadableSectors(offset, len(buffer))
        stream.read(offset, buffer)

    reader = ChunkReader(ChunkTable(len(_TEXT), 4096, len(_TEXT_PACKED)), read, "a file")
    with pytest.raises(UnreadableSectors):
        _read(reader, 0, 10)
    bad.clear()
    assert _read(reader, 0, 10) == _TEXT[:10]


@pytest.mark.parametrize("packed_bytes", [0, 1, 4 * 24 + 24, 4 * 24 + 100_001, 1 << 62])
def test_sizes_that_cannot_be_are_damage(packed_bytes: int) -> None:
    with pytest.raises(NtfsDamaged, match=f"{packed_bytes} bytes cannot hold 25 chunks of a file of 100000"):
        ChunkTable(100_000, 4096, packed_bytes)
