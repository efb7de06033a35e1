"""The read plan for any wants at all: every piece once, and where it lies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from agent.volume.ntfs import StreamKind, StreamRef
from agent.volume.plan import Blocks, ReadPlan, Request, Want, requests
from tests.kit.plans import stream

DIRECT = (StreamKind.PLAIN, StreamKind.SPARSE)
_LENGTHS = st.integers(1, 40).map(lambda n: n * 512)
_PLACES = st.one_of(st.none(), st.integers(0, 400).map(lambda n: n * 512))
_OFFSETS = st.integers(0, 30000)


@st.composite
def refs(draw: st.DrawFn) -> StreamRef:
    """Streams as a hostile reader may tell them: extents overlap, and lie where they like."""
    kind = draw(st.sampled_from([*StreamKind, StreamKind.PLAIN, StreamKind.PLAIN]))
    if kind is StreamKind.RESIDENT:
        return stream(size=draw(st.integers(0, 700)), kind=kind, first=draw(st.integers(0, 99)) * 1024)
    extents = tuple(draw(st.lists(st.tuples(_PLACES, _LENGTHS), max_size=5)))
    covered = sum(length for _, length in extents)
    size = draw(st.integers(max(0, covered - 600), covered))
    valid = draw(st.one_of(st.just(size), st.just(0), st.integers(0, size)))
    packed = 0
    if kind is StreamKind.WOF:
        packed, size = max(1, size), size * 3
        valid = size
    first = draw(st.one_of(st.none(), st.integers(0, 400).map(lambda n: n * 512)))
    why = draw(st.sampled_from([None, None, None, "damaged"]))
    return stream(*extents, size=size, valid=valid, kind=kind, first=first, unsupported=why, packed=packed)


@st.composite
def piece_lists(draw: st.DrawFn, size: int) -> Sequence[tuple[int, int]]:
    """The stream as a whole, in blocks, or as ranges with gaps that may go past its end."""
    shape = draw(st.sampled_from(["whole", "blocks", "ranges"]))
    if shape == "whole":
        return ((0, size),)
    if shape == "blocks":
        return Blocks(size, draw(st.sampled_from([512, 4096, 7000])))
    marks = sorted(draw(st.lists(_OFFSETS, max_size=6, unique=True)))
    return tuple((a, (b - a) // draw(st.sampled_from([1, 2, 1 << 20]))) for a, b in pairwise(marks))


@st.composite
def want_lists(draw: st.DrawFn) -> list[Want]:
    listed = sorted(draw(st.lists(refs(), max_size=12)), key=lambda ref: ref.first_offset)
    return [Want(key, ref, draw(piece_lists(ref.size))) for key, ref in enumerate(listed)]


settings_of_plans = st.fixed_dictionaries(
    {
        "open_wants": st.sampled_from([1, 2, 5, 100]),
        "open_extents": st.sampled_from([1, 6, 1000]),
        "window_bytes": st.sampled_from([4096, 8192, 65536]),
        "align_bytes": st.sampled_from([512, 4096]),
        "max_gap_bytes": st.sampled_from([0, 4096, 65536]),
        "in_order": st.booleans(),
        "volume_bytes": st.sampled_from([None, 512 * 300]),
    }
)


def extents_of(ref: StreamRef, offset: int, length: int) -> list[tuple[int, int]]:
    """Where those bytes of a piece lie that the volume has, counted out from the list of extents."""
    found = []
    at, end = 0, min(offset + length, ref.valid_size)
    for place, extent_bytes in ref.extents:
        first, last = max(at, offset), min(at + extent_bytes, end)
        if place is not None and first < last:
            found.append((place + first - at, last - first))
        at += extent_bytes
    return found


def is_direct(ref: StreamRef, offset: int, length: int, settings: dict[str, int]) -> bool:
    """Whether a piece stands as it is in one extent, and a window holds it."""
    if ref.kind not in DIRECT or ref.unsupported or not length:
        return False
    extents = extents_of(ref, offset, length)
    if len(extents) != 1 or extents[0][1] != length:
        return False
    ((place, _),) = extents
    align, volume_bytes = settings["align_bytes"], settings["volume_bytes"] or 1 << 63
    return place % align + length <= settings["window_bytes"] and place + length <= volume_bytes


@given(want_lists(), settings_of_plans)
def test_every_piece_comes_once_and_where_it_lies(wants: list[Want], settings: dict[str, int]) -> None:
    found = list(requests(wants, **settings))  # type: ignore[arg-type]
    by_key = {want.key: want for want in wants}
    counted = Counter((part.key, part.index) for request in found for part in request.parts)
    assert counted == Counter((want.key, index) for want in wants for index in range(len(want.pieces)))
    for request in found:
        assert "\n" not in str(request)
        for part in request.parts:
            want = by_key[part.key]
            offset, length = want.pieces[part.index]
            assert request.is_direct == is_direct(want.ref, offset, length, settings)
            if request.is_direct:
                assert extents_of(want.ref, offset, length) == [(request.start + part.offset, length)]
                assert part.offset + length <= request.length
                assert len(request.parts) == 1 or len(want.pieces) == 1
            else:
                assert len(request.parts) == 1
                assert (part.offset, request.length) == (0, length)


@given(want_lists(), settings_of_plans)
def test_direct_requests_are_aligned_and_within_window_and_volume(
    wants: list[Want], settings: dict[str, int]
) -> None:
    for request in requests(wants, **settings):  # type: ignore[arg-type]
        if request.is_direct:
            assert request.start % settings["align_bytes"] == 0
            assert 0 < request.length <= settings["window_bytes"]
            assert request.end % settings["align_bytes"] == 0 or request.end == settings["volume_bytes"]
            assert request.end <= (settings["volume_bytes"] or request.end)


@given(want_lists(), settings_of_plans)
def test_what_goes_through_the_file_system_has_its_place_too(
    wants: list[Want], settings: dict[str, int]
) -> None:
    by_key = {want.key: want for want in wants}
    head = 0
    for request in requests(wants, **settings):  # type: ignore[arg-type]
        ref = by_key[request.parts[0].key].ref
        offset, length = by_key[request.parts[0].key].pieces[request.parts[0].index]
        extents = extents_of(ref, offset, length)
        if ref.extents and ref.kind is not StreamKind.WOF and length:
            assert request.is_placed == bool(extents)
        if not request.is_placed:
            assert request.start == head
        elif not request.is_direct and extents and ref.kind is not StreamKind.WOF and not offset:
            assert request.start in (extents[0][0], ref.first_offset)
        elif not request.is_direct and extents and ref.kind is not StreamKind.WOF:
            assert request.start == extents[0][0]
        if request.is_placed:
            head = request.end


@given(want_lists(), settings_of_plans)
def test_no_more_wants_are_open_than_allowed(wants: list[Want], settings: dict[str, int]) -> None:
    plan = ReadPlan(**settings)  # type: ignore[arg-type]
    left = {want.key: len(want.pieces) for want in wants if len(want.pieces)}
    waiting, opened = list(reversed(wants)), set[int]()
    while waiting or opened:
        while waiting and not plan.is_full:
            want = waiting.pop()
            plan.add(want)
            opened |= {want.key} & left.keys()
        assert len(opened) <= settings["open_wants"]
        request = plan.take()
        if request is None:
            assert not opened
            continue
        for part in request.parts:
            left[part.key] -= 1
            opened -= {part.key} if not left[part.key] else set()
    assert plan.take() is None


def places(found: Sequence[Request]) -> Iterator[int]:
    """Where the first part of each request lies."""
    for request in found:
        if request.is_placed:
            yield request.start + request.parts[0].offset


@given(want_lists(), settings_of_plans)
def test_with_everything_admitted_the_head_never_goes_back(
    wants: list[Want], settings: dict[str, int]
) -> None:
    everything = settings | {"in_order": False, "open_wants": 1000, "open_extents": 100_000}
    found = list(places(list(requests(wants, **everything))))  # type: ignore[arg-type]
    assert found == sorted(found)


@given(want_lists(), settings_of_plans)
def test_in_order_pieces_ascend_and_each_sweep_brings_one_of_every_want(
    wants: list[Want], settings: dict[str, int]
) -> None:
    everything = settings | {"in_order": True, "open_wants": 1000, "open_extents": 100_000}
    found = list(requests(wants, **everything))  # type: ignore[arg-type]
    taken: dict[int, list[int]] = {}
    for request in found:
        for part in request.parts:
            taken.setdefault(part.key, []).append(part.index)
    assert all(indices == sorted(indices) for indices in taken.values())
    returns = sum(second < first for first, second in pairwise(places(found)))
    assert returns < max((len(want.pieces) for want in wants), default=0) or not returns


@given(want_lists(), st.lists(st.tuples(_OFFSETS, _OFFSETS), min_size=2, max_size=8), st.booleans())
def test_pieces_that_keep_no_order_come_once_all_the_same(
    wants: list[Want], pieces: list[tuple[int, int]], in_order: bool
) -> None:
    shuffled = {want.key: Want(want.key, want.ref, pieces) for want in wants}
    counted = Counter[tuple[int, int]]()
    for request in requests(shuffled.values(), in_order=in_order):
        for part in request.parts:
            counted[part.key, part.index] += 1
            if request.is_direct:
                offset, length = pieces[part.index]
                lies = extents_of(shuffled[part.key].ref, offset, length)
                assert lies == [(request.start + part.offset, length)]
    assert counted == Counter((key, index) for key in shuffled for index in range(len(pieces)))
