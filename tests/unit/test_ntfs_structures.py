"""The small parts of the NTFS reader: runlists, fix-ups, LZNT1, references, the boot sector."""

from __future__ import annotations

import json
import random
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import DiskOperationFailed, IngestError, MalformedInput, NtfsDamaged, VolumeNotNtfs
from agent.volume.block import BytesSource
from agent.volume.ntfs import NtfsVolume, StreamKind, StreamRef
from agent.volume.ntfs.fixups import FILE_SIGNATURE, Verdict, apply_fixups
from agent.volume.ntfs.geometry import read_geometry
from agent.volume.ntfs.lznt1 import decompress
from agent.volume.ntfs.runlist import decode_runs, to_extents

Runs = list[tuple[int | None, int]]


def _encode_runs(runs: Runs) -> bytes:
    """The reverse of the decoder, with the shortest fields that hold the numbers."""
    out, last = bytearray(), 0
    for cluster, length in runs:
        size = length.to_bytes((length.bit_length() + 7) // 8, "little")
        distance = b""
        if cluster is not None:
            delta = cluster - last
            distance = delta.to_bytes((delta.bit_length() + 8) // 8, "little", signed=True)
            last = cluster
        out += bytes([len(distance) << 4 | len(size)]) + size + distance
    return bytes(out) + b"\0"


@given(
    st.lists(
        st.tuples(st.none() | st.integers(0, 2**40), st.integers(1, 2**30)),
        max_size=40,
    )
)
def test_a_runlist_decodes_to_what_was_encoded(runs: Runs) -> None:
    data = _encode_runs(runs)
    clusters = sum(length for _, length in runs)
    assert decode_runs(data, 0, len(data), clusters, 2**41) == runs


@pytest.mark.parametrize(
    ("runs", "clusters", "total", "said"),
    [
        ([(10, 4)], 5, 100, "ends 1 of 5 clusters early"),
        ([(10, 4)], 3, 100, "run of 4 clusters where 3 are left"),
        ([(10, 4), (20, 1)], 4, 100, "more than its 4 clusters"),
        ([(97, 4)], 4, 100, "clusters 97..101 of a volume of 100"),
        ([(10, 4), (-1, 1)], 5, 100, "clusters -1..0"),
    ],
)
def test_a_runlist_that_contradicts_itself_is_refused(
    runs: Runs, clusters: int, total: int, said: str
) -> None:
    data = _encode_runs(runs)
    with pytest.raises(NtfsDamaged, match=said):
        decode_runs(data, 0, len(data), clusters, total)


@given(st.binary(max_size=40), st.integers(0, 2**62))
def test_any_bytes_as_a_runlist_give_runs_or_damage(data: bytes, clusters: int) -> None:
    try:
        runs = decode_runs(data, 0, len(data), clusters, 1000)
    except NtfsDamaged:
        return
    assert sum(length for _, length in runs) == clusters
    assert all(cluster is None or 0 <= cluster <= 1000 - length for cluster, length in runs)


def test_runs_that_touch_become_one_extent() -> None:
    runs: Runs = [(2, 1), (3, 2), (None, 1), (None, 1), (6, 1), (5, 1)]
    assert to_extents(runs, 4096) == (
        (8192, 12288),
        (None, 8192),
        (24576, 4096),
        (20480, 4096),
    )


def _protected(size: int, place: int = 48) -> tuple[bytearray, bytes]:
    """A record with its update sequence applied, and what it must become."""
    original = bytearray(random.Random(size).randbytes(size))
    strides = size // 512
    struct.pack_into("<4sHH", original, 0, b"FILE", place, strides + 1)
    original[place : place + 2] = b"\x07\x00"
    for index in range(strides):
        tail = 512 * (index + 1) - 2
        original[place + 2 + 2 * index : place + 4 + 2 * index] = original[tail : tail + 2]
    stored = bytearray(original)
    for index in range(strides):
        stored[512 * (index + 1) - 2 : 512 * (index + 1)] = b"\x07\x00"
    return stored, bytes(original)


@pytest.mark.parametrize("size", [1024, 4096])
def test_fixups_give_the_bytes_back_and_tell_torn_records(size: int) -> None:
    sound, original = _protected(size)
    torn, _ = _protected(size)
    torn[size - 2] ^= 1
    misplaced, _ = _protected(size)
    misplaced[4:6] = b"\xfc\x01"
    elsewhere, original_elsewhere = _protected(size, 42)
    block = bytearray(sound + torn + bytes(size) + misplaced + elsewhere)
    verdicts = apply_fixups(block, size, FILE_SIGNATURE).tolist()
    assert verdicts == [
        Verdict.SOUND,
        Verdict.TORN,
        Verdict.NO_SIGNATURE,
        Verdict.BAD_ARRAY,
        Verdict.SOUND,
    ]
    assert bytes(block[:size]) == original
    assert bytes(block[-size:]) == original_elsewhere


def _pack_lznt1(data: bytes) -> bytes:
    """A plain packer: greedy matches by search, chunks that do not shrink are stored."""
    return b"".join(_pack_chunk(data[at : at + 4096]) for at in range(0, len(data), 4096)) + b"\0\0"


def _pack_chunk(chunk: bytes) -> bytes:
    items: list[bytes | int] = []
    at = 0
    while at < len(chunk):
        bits = 12 - max(0, (at - 1).bit_length() - 4)
        length = min((1 << bits) + 2, len(chunk) - at)
        found = -1
        while length >= 3 and at:
            found = chunk.rfind(chunk[at : at + length], 0, at + length - 1)
            if found >= 0:
                break
            length -= 1 if length < 20 else length // 2
        if found >= 0 and length >= 3:
            items.append((at - found - 1) << bits | length - 3)
            at += length
        else:
            items.append(chunk[at : at + 1])
            at += 1
    packed = b"".join(_group(items[index : index + 8]) for index in range(0, len(items), 8))
    if len(packed) >= len(chunk) == 4096:
        return struct.pack("<H", 0x3FFF) + chunk
    return struct.pack("<H", 0xB000 | len(packed) - 1) + packed


def _group(items: list[bytes | int]) -> bytes:
    flags = sum(1 << bit for bit, item in enumerate(items) if isinstance(item, int))
    return bytes([flags]) + b"".join(
        struct.pack("<H", item) if isinstance(item, int) else item for item in items
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"a",
        b"abcabcabcabcabcabcabc" * 300,
        bytes(20000),
        random.Random(1).randbytes(9000),
        b"".join(b"line %d of it\n" % number for number in range(3000)),
    ],
    ids=["empty", "one", "repeats", "zeros", "noise", "text"],
)
def test_a_compression_unit_unpacks_to_what_was_packed(data: bytes) -> None:
    assert bytes(decompress(_pack_lznt1(data), 65536)) == data + bytes(65536 - len(data))


@pytest.mark.parametrize(
    ("packed", "said"),
    [
        (b"\x02\xb0\x01\x00\x00", "points 1 back at 0"),
        (b"\x01\xb0\x01a", "inside a back reference"),
        (b"\x03\xb0\x02a\x00\x40", "points 5 back at 1"),
        (b"\x03\xb0\x02a\xf0\x0f" * 3, "more than its 8192 bytes"),
        (b"\x00\x80\x00", "is no LZNT1 chunk"),
        (b"\xff\xbf\x00", "is no LZNT1 chunk"),
    ],
)
def test_a_malformed_compression_unit_is_damage(packed: bytes, said: str) -> None:
    with pytest.raises(NtfsDamaged, match=said):
        decompress(packed, 8192)


@given(st.binary(max_size=300))
def test_any_bytes_as_a_compression_unit_give_a_unit_or_damage(data: bytes) -> None:
    with suppress(NtfsDamaged):
        assert len(decompress(data, 8192)) == 8192


_REF = StreamRef(40, 2, "x\ud800", StreamKind.SPARSE, 9000, 5000, 0, ((4096, 4096), (None, 8192)), None, 4096)


def test_a_stream_reference_survives_json() -> None:
    assert StreamRef.from_json(json.loads(json.dumps(_REF.to_json()))) == _REF


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, -1),
        (0, True),
        (0, 1 << 48),
        (1, "1"),
        (2, None),
        (2, "n" * 256),
        (3, "wild"),
        (3, []),
        (3, "compressed"),
        (3, "resident"),
        (4, 12289),
        (4, 1.5),
        (5, 9001),
        (6, 4096),
        (7, [4096]),
        (7, [4096, 0]),
        (7, [-1, 20000]),
        (7, [None, None]),
        (7, [0, 1 << 70]),
        (7, {}),
        (8, 5),
        (9, None),
    ],
)
def test_a_hostile_stream_reference_is_refused(place: int, value: object) -> None:
    values = _REF.to_json()
    values[place] = value
    with pytest.raises(MalformedInput):
        StreamRef.from_json(values)


@pytest.mark.parametrize("value", [None, [], {}, "x", [1] * 10, [[]] * 10])
def test_what_is_no_stream_reference_at_all_is_refused(value: object) -> None:
    with pytest.raises(MalformedInput):
        StreamRef.from_json(value)


def _boot_sector(sectors: int = 2047, spc: int = 8, sector_size: int = 512) -> bytes:
    sector = bytearray(512)
    sector[3:11] = b"NTFS    "
    struct.pack_into("<HB", sector, 11, sector_size, spc)
    struct.pack_into("<QQQb3xb3xQ", sector, 40, sectors, 4, 8, -10, 1, 0xABCD)
    sector[510:] = b"\x55\xaa"
    return bytes(sector)


def test_the_boot_sector_gives_sizes_and_places() -> None:
    found = read_geometry(BytesSource(_boot_sector() + bytes(2**20 - 512)))
    assert (found.cluster_size, found.record_size, found.index_size) == (4096, 1024, 4096)
    assert (found.mft_offset, found.mirror_offset, found.serial) == (16384, 32768, 0xABCD)


def test_clusters_of_two_mebibytes_are_told_by_a_negative_power() -> None:
    sector = bytearray(_boot_sector(sectors=4096 * 100, spc=256 - 12))
    sector[68] = 0xF4
    source = BytesSource(bytes(sector) + bytes(4096 * 100 * 512))
    assert read_geometry(source).cluster_size == 2 * 1024 * 1024


def test_a_damaged_boot_sector_is_replaced_by_its_backup() -> None:
    source = BytesSource(bytes(2**20 - 512) + _boot_sector())
    assert read_geometry(source).serial == 0xABCD


def test_a_backup_left_over_by_another_filesystem_is_not_believed() -> None:
    exfat = b"\xeb\x76\x90EXFAT   " + bytes(499) + b"\x55\xaa"
    with pytest.raises(VolumeNotNtfs, match="exFAT"):
        read_geometry(BytesSource(exfat + bytes(2**20 - 1024) + _boot_sector()))


def test_a_volume_larger_than_its_source_is_refused_with_both_numbers() -> None:
    with pytest.raises(DiskOperationFailed, match=r"1048064 bytes.* 524288 bytes"):
        read_geometry(BytesSource(_boot_sector() + bytes(2**19 - 512)))


@pytest.mark.parametrize("size", [0, 511, 512, 65536])
def test_zeros_are_no_ntfs(size: int) -> None:
    with pytest.raises(VolumeNotNtfs):
        NtfsVolume.open(BytesSource(bytes(size)))


@given(st.integers(3, 511), st.binary(min_size=1, max_size=8))
def test_any_change_of_the_boot_sector_gives_a_geometry_or_an_error(place: int, change: bytes) -> None:
    sector = bytearray(_boot_sector())
    sector[place : place + len(change)] = change
    try:
        found = read_geometry(BytesSource(bytes(sector[:512]) + bytes(2**20 - 512)))
    except IngestError:
        return
    assert found.volume_bytes <= 2**20
    assert found.mft_offset < found.volume_bytes
