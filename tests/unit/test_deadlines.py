"""Deadlines: long enough for slow lines, short enough to end a stall, never shrinking into a loop."""

from __future__ import annotations

from agent.transfer.deadlines import FLOOR_S, LONGEST_S, Deadlines

BLOCK = 4 * 1024 * 1024


def test_a_line_that_was_never_seen_is_thought_to_be_slow() -> None:
    assert Deadlines().seconds(BLOCK) > 300
    assert Deadlines().seconds(0) == FLOOR_S


def test_a_fast_line_is_learned() -> None:
    deadlines = Deadlines()
    deadlines.met(BLOCK, 0.5)
    assert FLOOR_S < deadlines.seconds(BLOCK) < FLOOR_S + 5


def test_a_line_that_becomes_slower_is_learned_at_once() -> None:
    deadlines = Deadlines()
    for seconds in (0.5, 0.5, 40.0):
        deadlines.met(BLOCK, seconds)
    assert deadlines.seconds(BLOCK) > 200
    for _ in range(100):
        deadlines.met(BLOCK, 0.5)
    assert deadlines.seconds(BLOCK) < 2 * FLOOR_S


def test_who_was_cut_has_longer_the_next_time_and_not_for_ever() -> None:
    deadlines = Deadlines()
    deadlines.met(BLOCK, 0.5)
    first = deadlines.seconds(BLOCK)
    deadlines.missed()
    assert deadlines.seconds(BLOCK, tries=1) > 2 * first
    for _ in range(100):
        deadlines.missed()
    assert deadlines.seconds(1 << 40, tries=99) == LONGEST_S


def test_small_bodies_say_nothing_of_the_line() -> None:
    deadlines = Deadlines()
    before = deadlines.seconds(BLOCK)
    deadlines.met(100, 30.0)
    assert deadlines.seconds(BLOCK) == before
