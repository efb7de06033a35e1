"""How fast it goes, and how long it will take."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.transfer.speed import WINDOW_S, Speed

MB = 1_000_000


def _gone(*stretches: tuple[int, int]) -> Speed:
    """Stretches of so many seconds with so many bytes in each, told four times a second."""
    speed, now, through = Speed(), 100.0, 0.0
    speed.take(now, 0)
    for seconds, rate in stretches:
        for _ in range(seconds * 4):
            now, through = now + 0.25, through + rate / 4
            speed.take(now, int(through))
    return speed


def test_nothing_is_told_of_the_first_moments() -> None:
    assert Speed().bytes_per_s is None
    assert Speed().seconds_left(1) is None
    assert _gone((2, MB)).bytes_per_s is None
    assert _gone((5, MB)).bytes_per_s == MB
    assert _gone((5, MB)).seconds_left(MB) is None


def test_a_steady_transfer_takes_what_is_left_by_its_speed() -> None:
    speed = _gone((300, 50 * MB))
    assert speed.bytes_per_s == 50 * MB
    assert speed.seconds_left(5_000 * MB) == 100
    assert speed.seconds_left(0) == 0


def test_speed_is_of_the_last_seconds_and_the_forecast_of_the_last_minute() -> None:
    speed = _gone((300, 50 * MB), (11, 0))
    assert speed.bytes_per_s == 0
    forecast = speed.seconds_left(5_000 * MB)
    assert forecast is not None
    assert 110 < forecast < 140


def test_of_a_transfer_that_stands_still_no_end_is_foretold() -> None:
    assert _gone((30, MB), (int(WINDOW_S) + 2, 0)).seconds_left(MB) is None


def test_a_resumed_drive_is_not_as_fast_as_what_it_had_already() -> None:
    speed = Speed()
    for second in range(20):
        speed.take(float(second), 10**12 + second * MB)
    assert speed.bytes_per_s == MB


@given(st.lists(st.tuples(st.floats(0.01, 100), st.integers(-(10**9), 10**12)), max_size=200))
def test_whatever_is_told_speeds_are_not_negative_and_memory_is_bounded(
    steps: list[tuple[float, int]],
) -> None:
    speed, now, through = Speed(), 0.0, 0
    for seconds, gained in steps:
        now, through = now + seconds, max(0, through + gained)
        speed.take(now, through)
        assert (speed.bytes_per_s or 0) >= 0
        assert (speed.seconds_left(10**12) or 1) > 0
        assert len(speed._points) <= WINDOW_S + 3
