"""Waits grow up to a bound and begin anew after progress; crashes without any have an end."""

from __future__ import annotations

from agent.station.retries import LONGEST_WAIT_S, MAX_CRASHES, BackOff, Retries


def test_waits_grow_up_to_a_bound() -> None:
    waits = BackOff()
    assert [waits.next_s() for _ in range(6)] == [5, 15, 45, 60, 60, 60]
    waits.reset()
    assert waits.next_s() == 5
    assert LONGEST_WAIT_S == 60


def test_a_crash_too_many_in_a_row_is_the_end() -> None:
    retries = Retries()
    assert [retries.crashed() for _ in range(MAX_CRASHES)] == [5, 15, None]


def test_progress_between_crashes_begins_the_count_and_the_waits_anew() -> None:
    retries = Retries()
    for _ in range(50):
        assert retries.crashed() == 5
        assert retries.crashed() == 15
        retries.moved()


def test_pauses_have_no_end_and_waits_of_their_own() -> None:
    retries = Retries()
    assert retries.crashed() == 5
    assert [retries.paused() for _ in range(100)] == [5, 15, 45] + [60] * 97
    assert retries.crashes == 1
    assert retries.crashed() == 15
