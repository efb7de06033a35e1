"""A failing drive is read in small pieces, around bad places last, and with fewer tries."""

from __future__ import annotations

import random

import pytest

from agent.errors import UnreadableSectors
from agent.volume.block import BytesSource, read
from agent.volume.drivemap import State
from agent.volume.manner import GENTLY, USUAL
from agent.volume.passing import Passing
from agent.volume.rescue import RescueSource
from tests.kit.faults import FaultySource

SIZE = 16 << 20
DATA = random.Random(5).randbytes(SIZE)
PIECE = 64 * 1024
STEP = 512 * 1024


def _drive(
    faults: str = "", start: int = 0, block_bytes: int = 4096, failing_s: float = 0.01
) -> FaultySource:
    return FaultySource(BytesSource(DATA), faults, block_bytes, start, names_block=False, failing_s=failing_s)


def _swept(drive: FaultySource, manner: object = GENTLY, *, retrying: bool = False) -> RescueSource:
    """After one sweep over the whole drive."""
    source = RescueSource(drive, drive.clock, manner=manner)  # type: ignore[arg-type]
    source.retrying = retrying
    _sweep(source)
    return source


def _sweep(source: RescueSource) -> list[int]:
    """Where nothing could be had."""
    failed = []
    for at in range(0, SIZE, STEP):
        try:
            assert read(source, at, STEP) == DATA[at : at + STEP]
        except UnreadableSectors:
            failed.append(at)
    return failed


def test_a_failing_drive_is_asked_for_little_at_a_time() -> None:
    drive = _drive()
    _swept(drive)
    assert max(length for _, length in drive.asked) == PIECE
    assert sum(length for _, length in drive.asked) == SIZE
    usual = _drive()
    _swept(usual, USUAL)
    assert max(length for _, length in usual.asked) == STEP


def test_pieces_lie_side_by_side_wherever_a_read_begins() -> None:
    drive = _drive()
    source = RescueSource(drive, drive.clock, manner=GENTLY)
    assert read(source, 512, 3 * PIECE) == DATA[512 : 512 + 3 * PIECE]
    assert drive.asked == [(512, PIECE - 512), (PIECE, PIECE), (2 * PIECE, PIECE), (3 * PIECE, 512)]


def test_what_lies_behind_a_bad_place_is_passed_over_and_read_in_the_next_sweep() -> None:
    where = 4 << 20
    drive = _drive("E", where)
    source = _swept(drive)
    assert drive.failed == [(where, PIECE)]
    behind = where + PIECE
    passed = [at for at, length in drive.asked if behind <= at < behind + GENTLY.skip_bytes]
    assert passed == []
    assert drive.asked[-1] == (SIZE - PIECE, PIECE)
    source.retrying = True
    assert _sweep(source) == [where]
    bad = list(source.bad.ranges(State.BAD_SECTOR))
    assert sum(length for _, length in bad) == 4096
    assert bad[0][0] == where


def test_a_large_bad_place_costs_a_few_failing_reads_and_not_hundreds() -> None:
    faults = "E" * ((8 << 20) // 4096)
    gentle, usual = _drive(faults, 2 << 20), _drive(faults, 2 << 20)
    _swept(gentle)
    _swept(usual, USUAL)
    assert len(usual.failed) == 16
    assert len(gentle.failed) <= 4


def test_passing_over_begins_small_again_after_a_success() -> None:
    passing = Passing(GENTLY)
    at, reached = 0, []
    for _ in range(9):
        passing.failed(at)
        reached.append(next(n for n in range(1, 200) if not passing.is_over(at + (n << 20), 512)))
        at += 1 << 30
    assert reached == [1, 2, 4, 8, 16, 32, 64, 64, 64]
    passing.succeeded()
    passing.failed(at)
    assert not passing.is_over(at + GENTLY.skip_bytes, 512)


def test_a_usual_drive_passes_nothing_over() -> None:
    passing = Passing(USUAL)
    passing.failed(4096)
    assert not passing.is_over(4096, 512)


def test_a_bad_sector_is_tried_once_and_the_reason_says_so() -> None:
    gentle, usual = _drive("E", 4096, 512), _drive("E", 4096, 512)
    for drive, manner, said in ((gentle, GENTLY, "tried once"), (usual, USUAL, "tried 3 times")):
        source = RescueSource(drive, drive.clock, manner=manner)
        with pytest.raises(UnreadableSectors, match=f"bad sector, {said}"):
            read(source, 0, STEP)
        assert list(source.bad.ranges(State.BAD_SECTOR)) == [(4096, 512)]
    assert len(gentle.failed) < len(usual.failed)


def test_failing_reads_have_less_time_than_on_a_sound_drive() -> None:
    faults = "E" * (SIZE // 4096)
    gentle, usual = _drive(faults, failing_s=5.0), _drive(faults, failing_s=5.0)
    _swept(gentle, retrying=True)
    _swept(usual, USUAL, retrying=True)
    assert gentle.clock.now_s <= usual.clock.now_s / 3
