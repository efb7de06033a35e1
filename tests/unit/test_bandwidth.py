"""Caps as people write them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from agent.errors import MalformedInput
from agent.model.bandwidth import NO_CAP, Cap, parse_rate, shown_rate

NIGHTS = {"sat-sun": "unlimited", "22:00-06:00": "200 MB/s", "otherwise": "20 MB/s"}


@pytest.mark.parametrize(
    ("value", "rate"),
    [
        ("20 MB/s", 20_000_000),
        ("20MB/s", 20_000_000),
        ("1.5 GiB/s", 1_610_612_736),
        ("100 Mbit/s", 12_500_000),
        (1_000_000, 1_000_000),
        ("unlimited", None),
    ],
)
def test_a_rate_is_a_number_or_a_number_with_its_unit(value: object, rate: int | None) -> None:
    assert parse_rate(value) == rate


@pytest.mark.parametrize(
    ("when", "rate"),
    [
        ("2026-11-18T21:59", 20_000_000),  # a Wednesday
        ("2026-11-18T22:00", 200_000_000),
        ("2026-11-19T05:59", 200_000_000),
        ("2026-11-19T06:00", 20_000_000),
        ("2026-11-21T12:00", None),
        ("2026-11-22T23:59", None),
        ("2026-11-23T00:00", 200_000_000),
    ],
)
def test_the_first_time_that_holds_counts(when: str, rate: int | None) -> None:
    assert Cap.parse(NIGHTS).at(datetime.fromisoformat(when)) == rate


def test_a_night_belongs_to_the_day_on_which_it_begins() -> None:
    cap = Cap.parse({"fri 22:00-06:00": "1 MB/s", "otherwise": "2 MB/s"})
    assert cap.at(datetime.fromisoformat("2026-11-21T05:00")) == 1_000_000
    assert cap.at(datetime.fromisoformat("2026-11-20T05:00")) == 2_000_000
    assert cap.at(datetime.fromisoformat("2026-11-22T05:00")) == 2_000_000


def test_days_may_be_listed_and_pass_over_the_end_of_the_week() -> None:
    cap = Cap.parse({"wed,sun-mon 08:00-24:00": "1 MB/s", "otherwise": "2 MB/s"})
    rates = [cap.at(datetime.fromisoformat(f"2026-11-{day}T23:59")) for day in range(16, 23)]
    assert [rate == 1_000_000 for rate in rates] == [True, False, True, False, False, False, True]


def test_one_rate_holds_always() -> None:
    assert Cap.parse("5 MB/s").at(datetime.fromisoformat("2026-11-21T05:00")) == 5_000_000
    assert NO_CAP.at(datetime.fromisoformat("2026-11-21T05:00")) is None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("fast", "'fast' is no rate"),
        ("20 mb/s", "'20 mb/s' is no rate"),
        ("20 MB", "is no rate"),
        (True, "a rate is a number"),
        (0, "out of bounds"),
        ("1 B/s", "out of bounds"),
        (float("nan"), "out of bounds"),
        ({"22:00-06:00": "1 MB/s"}, "otherwise is missing"),
        ({"22:00-06:00": "much", "otherwise": 1e6}, "22:00-06:00: 'much' is no rate"),
        ({"at night": "1 MB/s", "otherwise": 1e6}, "'at night' is no time"),
        ({"25:00-26:00": "1 MB/s", "otherwise": 1e6}, "25:00 in '25:00-26:00' is no time of the day"),
        ({"10:60-12:00": "1 MB/s", "otherwise": 1e6}, "10:60 in"),
        ({"10:00-10:00": "1 MB/s", "otherwise": 1e6}, "lasts no time"),
        ({"24:00-10:00": "1 MB/s", "otherwise": 1e6}, "lasts no time"),
        ({"sat-sunday": "1 MB/s", "otherwise": 1e6}, "'sunday' in 'sat-sunday' is none of mon"),
        ({"": "1 MB/s", "otherwise": 1e6}, "'' is no time"),
        (
            {f"mon 00:{n:02}-24:00": 1e6 for n in range(60)}
            | {f"tue 00:{n:02}-24:00": 1e6 for n in range(60)},
            "120",
        ),
    ],
)
def test_what_is_wrong_is_named(value: Any, said: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        Cap.parse(value)
    assert said in caught.value.detail


@pytest.mark.parametrize(
    ("rate", "shown"),
    [(None, "unlimited"), (12_500_000, "12.5 MB/s"), (2 * 10**9, "2 GB/s"), (64_000, "64 kB/s")],
)
def test_a_rate_is_shown_in_its_unit(rate: int | None, shown: str) -> None:
    assert shown_rate(rate) == shown
