"""The read plan: every piece once, direct reads hold what they say, the head sweeps forward."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from agent.volume.ntfs import StreamKind, StreamRef
from agent.volume.plan import Blocks, Part, ReadPlan, Request, Want, requests, seek_bytes
from benchmarks.read_plan import figures
from tests.kit.plans import KIB, stream

MIB = KIB * KIB


def whole(key: int, ref: StreamRef) -> Want:
    return Want(key, ref, ((0, ref.size),))


def small(key: int, place: int, size: int = 4 * KIB) -> Want:
    return whole(key, stream((place, -(-size // 4096) * 4096), size=size))


def keys(request: Request) -> list[int]:
    return [part.key for part in request.parts]


def drain(plan: ReadPlan) -> list[Request]:
    return list(iter(plan.take, None))


# --- what neighbours become


def test_neighbouring_small_files_are_one_request() -> None:
    (request,) = requests([small(1, 8192, 5000), small(2, 16384, 100), small(3, 20480, 4096)])
    assert request == Request(8192, 16384, (Part(1, 0, 0), Part(2, 0, 8192), Part(3, 0, 12288)), True)


def test_a_gap_within_the_bound_is_read_over_and_a_wider_one_is_not() -> None:
    near, far = 4096 + 8192, 4096 + 8192 + 1
    assert [keys(r) for r in requests([small(1, 0), small(2, near)], max_gap_bytes=8192)] == [[1, 2]]
    assert [keys(r) for r in requests([small(1, 0), small(2, far)], max_gap_bytes=8192)] == [[1], [2]]


def test_a_request_of_small_files_is_no_longer_than_the_window() -> None:
    wants = [small(n, n * 4096) for n in range(10)]
    found = list(requests(wants, window_bytes=16 * KIB))
    assert [keys(request) for request in found] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_a_small_file_is_not_joined_over_a_piece_that_lies_between() -> None:
    large = stream((8192, 8192), (10 * MIB, 8192))
    wants = [small(1, 4096), Want(2, large, Blocks(large.size, 8192)), small(3, 16384)]
    assert [keys(request) for request in requests(wants)] == [[1], [2], [3], [2]]


def test_pieces_of_one_want_are_not_joined() -> None:
    ref = stream((4096, 65536))
    found = list(requests([Want(7, ref, Blocks(65536, 32768))]))
    assert [(r.start, r.length, r.parts, r.is_direct) for r in found] == [
        (4096, 32768, (Part(7, 0, 0),), True),
        (36864, 32768, (Part(7, 1, 0),), True),
    ]


def test_files_that_claim_the_same_bytes_are_both_within_the_request() -> None:
    (request,) = requests([small(1, 4096, 40_000), small(2, 8192)])
    assert request == Request(4096, 40960, (Part(1, 0, 0), Part(2, 0, 4096)), True)


def test_a_start_within_a_page_is_rounded_down_and_the_part_says_where_it_begins() -> None:
    (request,) = requests([small(1, 4096 + 1536, 700)])
    assert request == Request(4096, 4096, (Part(1, 0, 1536),), True)


def test_no_request_ends_behind_the_volume() -> None:
    (request,) = requests([small(1, 8192, 512)], volume_bytes=8192 + 1024)
    assert (request.start, request.length, request.is_direct) == (8192, 1024, True)
    (request,) = requests([small(1, 8192, 1025)], volume_bytes=8192 + 1024)
    assert not request.is_direct


# --- what goes through the file system


@pytest.mark.parametrize(
    "ref",
    [
        stream(size=300, kind=StreamKind.RESIDENT),
        stream((4096, 4096), (40960, 4096)),
        stream((4096, 4096), (None, 4096), kind=StreamKind.SPARSE),
        stream((4096, 65536), kind=StreamKind.COMPRESSED),
        stream((4096, 4096), kind=StreamKind.WOF, size=16384, packed=3000),
        stream((4096, 8192), valid=8191),
        stream((4096, 2 * MIB)),
        stream((4096, 4096), unsupported="deduplicated"),
        stream((4096 + 512, 512 * KIB)),
    ],
    ids=[
        "resident",
        "fragmented",
        "hole",
        "compressed",
        "wof",
        "valid size",
        "long",
        "unsupported",
        "unaligned",
    ],
)
def test_what_does_not_stand_in_one_window_goes_through_the_file_system(ref: StreamRef) -> None:
    assert list(requests([whole(3, ref)])) == [
        Request(ref.first_offset, ref.size, (Part(3, 0, 0),), False),
    ]


def test_a_range_of_a_sparse_stream_that_is_no_hole_is_direct() -> None:
    ref = stream((4096, 65536), (None, 65536), (200 * KIB, 65536), kind=StreamKind.SPARSE)
    found = list(requests([Want(1, ref, Blocks(ref.size, 65536))]))
    assert [(r.start, r.is_direct, r.is_placed) for r in found] == [
        (4096, True, True),
        (4096 + 65536, False, False),
        (200 * KIB, True, True),
    ]


def test_a_hole_comes_behind_the_data_before_it() -> None:
    ref = stream((4096, 8192), (80 * KIB, 8192), (None, 8192), kind=StreamKind.SPARSE)
    wants = [Want(1, ref, Blocks(ref.size, 8192)), small(2, 40 * KIB)]
    found = list(requests(wants, max_gap_bytes=0))
    assert [(r.parts[0].key, r.parts[0].index) for r in found] == [(1, 0), (2, 0), (1, 1), (1, 2)]


def test_a_piece_that_begins_in_a_hole_lies_where_its_first_byte_does() -> None:
    ref = stream((None, 6000 * KIB), (40 * KIB, 4 * KIB), kind=StreamKind.SPARSE)
    found = list(requests([Want(1, ref, Blocks(ref.size, 4096 * KIB))]))
    assert [(r.start, r.parts[0].index, r.is_placed) for r in found] == [(0, 0, False), (40 * KIB, 1, True)]


def test_ranges_on_both_sides_of_an_extent_do_not_lie_in_it() -> None:
    ref = stream((None, 8192), (40960, 4096), (None, 8192), (81920, 8192), kind=StreamKind.SPARSE)
    found = list(requests([Want(1, ref, ((0, 512), (16384, 6000), (24576, 512)))]))
    assert [(r.start, r.parts[0].index, r.is_placed) for r in found] == [
        (0, 0, False),
        (81920, 1, True),
        (81920 + 4096, 2, True),
    ]


def test_a_file_that_was_never_written_to_has_no_place() -> None:
    (request,) = requests([whole(1, stream((8192, 4096), valid=0))])
    assert request == Request(0, 4096, (Part(1, 0, 0),), False, is_placed=False)


def test_blocks_of_a_wof_file_come_in_the_order_of_the_packed_extents() -> None:
    packed = ((900 * KIB, 64 * KIB), (100 * KIB, 64 * KIB))
    ref = stream(*packed, kind=StreamKind.WOF, size=MIB, packed=128 * KIB, first=100 * KIB)
    found = list(requests([Want(1, ref, Blocks(MIB, 256 * KIB))]))
    assert [(r.parts[0].index, r.start) for r in found] == [
        (2, 100 * KIB),
        (3, 100 * KIB),
        (0, 900 * KIB),
        (1, 900 * KIB),
    ]


# --- the elevator


def test_the_head_goes_on_and_returns_only_when_nothing_is_ahead() -> None:
    far = stream((4096, 4096), (800 * KIB, 4096), (900 * KIB, 4096))
    plan = ReadPlan(open_wants=2, max_gap_bytes=0)
    plan.add(Want(1, far, Blocks(far.size, 4096)))
    assert plan.take() == Request(4096, 4096, (Part(1, 0, 0),), True)
    assert plan.take() == Request(800 * KIB, 4096, (Part(1, 1, 0),), True)
    plan.add(small(2, 500 * KIB))
    assert [keys(request) for request in drain(plan)] == [[1], [2]]


def test_pieces_of_different_wants_come_as_they_lie() -> None:
    one, two = stream((0, 8192), (64 * KIB, 8192)), stream((16 * KIB, 8192), (8192, 8192), first=8192)
    wants = [Want(1, one, Blocks(16384, 8192)), Want(2, two, Blocks(16384, 8192))]
    found = [(part.key, part.index) for request in requests(wants) for part in request.parts]
    assert found == [(1, 0), (2, 1), (2, 0), (1, 1)]


def test_in_order_a_piece_waits_for_those_before_it() -> None:
    ref = stream((96 * KIB, 8192), (8192, 8192), (200 * KIB, 8192), first=8192)
    wants = [Want(1, ref, Blocks(ref.size, 8192)), small(2, 64 * KIB), small(3, 150 * KIB)]
    found = [keys(request) for request in requests(wants, in_order=True, max_gap_bytes=0)]
    assert found == [[2], [1], [3], [1], [1]]


def test_one_want_may_ask_for_its_own_order() -> None:
    ref = stream((96 * KIB, 8192), (8192, 8192), first=8192)
    other = stream((97 * KIB, 8192), (16 * KIB, 8192), first=16 * KIB)
    wants = [Want(1, ref, Blocks(ref.size, 8192), in_order=True), Want(2, other, Blocks(ref.size, 8192))]
    found = [(part.key, part.index) for request in requests(wants) for part in request.parts]
    assert found == [(2, 1), (1, 0), (2, 0), (1, 1)]


def test_a_file_of_a_terabyte_costs_nothing_until_its_pieces_are_taken() -> None:
    asked = []

    class Counting(Sequence[tuple[int, int]]):
        def __len__(self) -> int:
            return len(blocks)

        def __getitem__(self, index: int) -> tuple[int, int]:  # type: ignore[override]
            asked.append(index)
            return blocks[index]

    blocks = Blocks(1 << 40, 4 * MIB)
    plan = ReadPlan()
    plan.add(Want(1, stream((4096, 1 << 39), (1 << 41, 1 << 39)), Counting()))
    taken = [plan.take() for _ in range(3)]
    assert [r.start for r in taken if r is not None] == [4096, 4096 + 4 * MIB, 4096 + 8 * MIB]
    assert len(asked) < 60


def test_a_plan_refuses_more_wants_than_it_may_hold() -> None:
    plan = ReadPlan(open_wants=2)
    plan.add(small(1, 4096))
    assert not plan.is_full
    plan.add(small(2, 400 * KIB))
    assert plan.is_full
    with pytest.raises(ValueError, match="full: 2 wants"):
        plan.add(small(3, 500 * KIB))
    plan.take()
    assert not plan.is_full


def test_a_plan_is_full_of_extents_too() -> None:
    ref = stream(*((n * 8192, 4096) for n in range(10)))
    plan = ReadPlan(open_extents=10)
    plan.add(Want(1, ref, Blocks(ref.size, 4096)))
    assert plan.is_full
    for _ in range(10):
        assert plan.is_full
        plan.take()
    assert not plan.is_full


def test_wants_must_ascend_by_where_they_begin() -> None:
    plan = ReadPlan()
    plan.add(small(1, 8192))
    with pytest.raises(ValueError, match="want 2 begins at 4096, before the last one at 8192"):
        plan.add(small(2, 4096))


def test_a_want_without_pieces_leaves_no_trace() -> None:
    plan = ReadPlan(open_wants=1)
    plan.add(Want(1, stream(size=0), ()))
    assert not plan.is_full
    assert plan.take() is None


@pytest.mark.parametrize(
    "settings",
    [{"open_wants": 0}, {"open_extents": 0}, {"align_bytes": 0}, {"window_bytes": 6000}, {"window_bytes": 0}],
    ids=str,
)
def test_settings_that_make_no_plan_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"holds nothing|no multiple"):
        ReadPlan(**settings)  # type: ignore[arg-type]


# --- values


def test_blocks_are_the_ranges_of_a_stream() -> None:
    blocks = Blocks(10, 4)
    assert list(blocks) == [(0, 4), (4, 4), (8, 2)]
    assert blocks[-1] == (8, 2)
    assert blocks[1:] == [(4, 4), (8, 2)]
    assert list(Blocks(0, 4)) == []
    assert list(Blocks(8, 4)) == [(0, 4), (4, 4)]
    with pytest.raises(IndexError):
        blocks[3]
    with pytest.raises(ValueError, match="10 bytes cannot be cut in pieces of 0"):
        Blocks(10, 0)


def test_a_request_is_one_readable_line() -> None:
    assert str(Request(4096, 8192, (Part(7, 0, 0), Part(9, 0, 4096)), True)) == (
        "bytes 4096..12288 of the volume: piece 0 of 7 and 1 more"
    )
    assert str(Request(4096, 300, (Part(7, 2, 0),), False)) == (
        "300 bytes through the file system, from byte 4096 on: piece 2 of 7"
    )
    assert str(Request(4096, 300, (Part(7, 2, 0),), False, False)) == (
        "300 bytes through the file system, nowhere on the volume: piece 2 of 7"
    )


def test_seek_bytes_are_the_ways_between_requests_that_have_a_place() -> None:
    part = (Part(1, 0, 0),)
    ways = [
        Request(1000, 100, part, True),
        Request(1500, 100, part, True),
        Request(9999, 4096, part, False, is_placed=False),
        Request(600, 100, part, False),
    ]
    assert seek_bytes(ways) == 400 + 1000
    assert seek_bytes([]) == 0


# --- the figure


def many_small_files(count: int, seed: int) -> list[StreamRef]:
    """In the order of their names; written in another, one of twenty in pieces that lie apart."""
    draw = random.Random(seed)
    place, made = 64 * MIB, dict[int, StreamRef]()
    for number in draw.sample(range(count), count):
        size = draw.randrange(1, 40_000)
        length = -(-size // 4096) * 4096
        if length > 4096 and draw.random() < 0.05:
            behind = place + draw.randrange(1, 64) * MIB
            made[number] = stream((place, 4096), (behind, length - 4096), size=size)
            place += 4096
        elif size < 700:
            made[number] = stream(size=size, kind=StreamKind.RESIDENT, first=number * 1024)
        else:
            made[number] = stream((place, length), size=size)
            place += length + draw.choice((0, 0, 0, 4096))
    return [made[number] for number in range(count)]


def test_the_head_travels_a_tenth_of_directory_order_at_most() -> None:
    by_path = many_small_files(20_000, seed=3)
    directory, _, plan = figures(by_path, by_path, 1 << 40)
    assert plan.travel_bytes * 10 <= directory.travel_bytes
    assert plan.reads * 2 <= directory.reads
    assert directory.read_bytes == sum(ref.size for ref in by_path)
    assert plan.read_bytes >= directory.read_bytes
