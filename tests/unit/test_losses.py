"""Which bytes of which file are lost: held against what really cannot be read."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from agent.errors import UnreadableSectors
from agent.model.keys import ClearKey
from agent.volume.bitlocker import read_metadata, unlock
from agent.volume.bitlocker.regions import lay_out
from agent.volume.block import BlockSource, BytesSource, SubSource, read
from agent.volume.drivemap import State
from agent.volume.entry import StreamKind
from agent.volume.losses import bitlocker_placement, lost_ranges, on_volume, plain_placement, sentence
from agent.volume.ntfs import Entry, NtfsVolume, StreamRef
from agent.volume.rescue import RescueSource
from agent.volume.window import WindowCache
from tests.kit import images
from tests.kit.faults import FaultySource, VirtualClock
from tests.unit.bitlocker_cases import Case

_START = 1 << 20


class Damaged(BytesSource):
    """Sectors that cannot be read."""

    def __init__(self, data: bytes, bad: set[int]) -> None:
        super().__init__(data)
        self._bad = bad

    def read_into(self, offset: int, buffer: memoryview) -> None:
        for sector in range(offset // 512, -(-(offset + len(buffer)) // 512)):
            if sector in self._bad:
                raise UnreadableSectors(sector * 512, 512)
        super().read_into(offset, buffer)


def _unreadable(source: BlockSource) -> set[int]:
    found = set()
    for sector in range(source.size_bytes // 512):
        try:
            read(source, sector * 512, 512)
        except UnreadableSectors:
            found.add(sector)
    return found


@pytest.mark.parametrize("sector_size", [512, 4096])
def test_what_cannot_be_read_of_a_bitlocker_volume_is_known_without_reading_it(sector_size: int) -> None:
    case = Case(sector_size=sector_size)
    data = case.build()
    chance = random.Random(sector_size)
    metadata = read_metadata(BytesSource(bytes(data)))
    regions = lay_out(metadata, len(data))
    places = [chance.randrange(_START // 512, (_START + len(data)) // 512) for _ in range(12)]
    # One where the moved start of the volume lies, and one where it would lie were it not moved.
    places += [(_START + metadata.header_offset) // 512 + 3, _START // 512 + 4]
    drive = Damaged(bytes(_START) + bytes(data), bad := set())
    volume = unlock(SubSource(drive, _START, len(data)), metadata, ClearKey())
    bad |= set(places)
    ranges = sorted((sector * 512, 512) for sector in bad)
    found = on_volume(ranges, bitlocker_placement(_START, regions, metadata.sector_size))
    assert {sector for start, size in found for sector in range(start // 512, (start + size) // 512)} == (
        _unreadable(volume)
    )


class Uncached(WindowCache):
    """Every read asks for itself, so that nothing remembered hides what cannot be read."""

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self._source.read_into(offset, buffer)


def _streams(volume: NtfsVolume) -> list[StreamRef]:
    return [
        stream
        for entry in volume.scan()
        if isinstance(entry, Entry)
        for stream in entry.streams
        if 0 < stream.size < 16 << 20 and stream.unsupported is None and entry.record > 24
    ]


def _is_readable(volume: NtfsVolume, ref: StreamRef, offset: int) -> bool:
    try:
        volume.read_into(ref, offset, memoryview(bytearray(min(512, ref.size - offset))))
    except UnreadableSectors:
        return False
    return True


@pytest.mark.parametrize(
    ("image", "kinds"),
    [
        ("nasty", {StreamKind.RESIDENT, StreamKind.PLAIN, StreamKind.SPARSE, StreamKind.COMPRESSED}),
        ("wof", {StreamKind.WOF}),
    ],
)
def test_the_lost_ranges_of_every_stream_are_those_that_cannot_be_read(
    image: str, kinds: set[StreamKind], tmp_path: Path
) -> None:
    data = images.unpack(image, tmp_path).read_bytes()
    bad: set[int] = set()
    drive = Damaged(bytes(_START) + data, bad)
    volume = NtfsVolume.open(Uncached(SubSource(drive, _START, len(data))))
    streams = _streams(volume)
    chance = random.Random(1)
    chance.shuffle(streams)
    hit = set()
    for kind in sorted(kinds):
        for ref in [stream for stream in streams if stream.kind is kind][:12]:
            places = [(p, size) for p, size in ref.extents if p is not None] or [(ref.first_offset, 1024)]
            place, length = chance.choice(places)
            bad.clear()
            bad.add((_START + place + chance.choice([0, chance.randrange(length)])) // 512)
            ranges = [(sector * 512, 512) for sector in bad]
            lost = lost_ranges(on_volume(ranges, plain_placement(_START, len(data))), ref)
            said = {at for start, size in lost for at in range(start // 512 * 512, start + size, 512)}
            really = {at for at in range(0, ref.size, 512) if not _is_readable(volume, ref, at)}
            assert really <= said if kind is StreamKind.WOF else really == said, (ref, ranges)
            hit |= {kind} if really else set()
    assert hit == kinds


def _stream(kind: StreamKind, extents: tuple[tuple[int | None, int], ...], **more: int) -> StreamRef:
    size = sum(length for _, length in extents)
    values = {"size": size, "valid_size": size, "unit_bytes": 0, "packed_bytes": 0} | more
    return StreamRef(
        record=30,
        sequence=1,
        name="",
        kind=kind,
        extents=extents,
        unsupported=None,
        first_offset=extents[0][0] or 0,
        **values,
    )


def test_only_what_was_written_of_a_stream_can_be_lost() -> None:
    ref = _stream(StreamKind.PLAIN, ((4096, 8192), (65_536, 8192)), size=12_000, valid_size=9000)
    bad = [(0, 5000), (12_000, 288), (65_536, 8192)]
    assert lost_ranges(bad, ref) == ((0, 904), (7904, 1096))
    assert lost_ranges([(0, 4096), (12_288, 4096)], ref) == ()
    assert lost_ranges([], ref) == ()


def test_many_bad_ranges_over_many_extents_are_found_by_search() -> None:
    extents = tuple((at * 8192, 4096) for at in range(2000))
    bad = [(at * 8192 + 1024, 512) for at in range(0, 2000, 2)]
    assert lost_ranges(bad, _stream(StreamKind.PLAIN, extents)) == tuple(
        (at * 4096 + 1024, 512) for at in range(0, 2000, 2)
    )


def test_a_bad_range_that_reaches_over_both_ends_of_a_partition_is_cut_to_it() -> None:
    assert on_volume([(0, 1 << 30)], plain_placement(_START, 5000)) == ((0, 5000),)
    assert on_volume([(_START - 512, 512), (_START + 5000, 10)], plain_placement(_START, 5000)) == ()


def test_the_sentence_is_one_bounded_line() -> None:
    assert sentence([(0, 512)]) == "bytes 0..512: 512 bytes in all"
    many = sentence([(at * 4096, 512) for at in range(1000)])
    assert many.endswith("28672..29184 and 992 more ranges: 512000 bytes in all")
    assert len(many) < 300


def test_a_map_a_rescue_and_a_file_meet() -> None:
    """What the last sweep could not read is what the report names."""
    data = random.Random(2).randbytes(1 << 20)
    faulty = FaultySource(BytesSource(data), "....E..E", start=65_536, block_bytes=512)
    source = RescueSource(faulty, VirtualClock())
    with pytest.raises(UnreadableSectors):
        read(SubSource(source, 4096, 500_000), 61_440, 8192)
    with pytest.raises(UnreadableSectors):
        read(source, 65_536 + 5 * 512, 2048)
    bad = on_volume(source.bad.ranges(State.BAD_SECTOR), plain_placement(4096, 500_000))
    ref = _stream(StreamKind.PLAIN, ((61_440 + 1024, 4096),))
    assert lost_ranges(bad, ref) == ((1024, 512), (2560, 512))
