"""Caps on bandwidth as people write them: a rate, or one that changes with the hour and the day."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from agent.errors import MalformedInput

MIN_BYTES_PER_S = 10_000
MAX_BYTES_PER_S = 1_000_000_000_000
OTHERWISE = "otherwise"
UNLIMITED = "unlimited"
MINUTES_A_DAY = 24 * 60
MAX_WINDOWS = 100

_RATE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([A-Za-z]{1,4})/s\Z")
_UNITS = {
    "B": 1.0,
    "kB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "KiB": 2.0**10,
    "MiB": 2.0**20,
    "GiB": 2.0**30,
    "kbit": 1e3 / 8,
    "Mbit": 1e6 / 8,
    "Gbit": 1e9 / 8,
}
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW = re.compile(r"(?:([a-z,-]+)(?: +|\Z))?(?:([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2}))?\Z")


def parse_rate(value: object) -> int | None:
    """Bytes a second, from a number of them, or text like ``20 MB/s``; None for ``unlimited``.

    Raises MalformedInput.
    """
    if value == UNLIMITED:
        return None
    if isinstance(value, str):
        found = _RATE.match(value)
        if found is None or found[2] not in _UNITS:
            raise MalformedInput(
                f"{value[:40]!r} is no rate: write a number and one of "
                f"{', '.join(unit + '/s' for unit in _UNITS)}, or {UNLIMITED}"
            )
        rate = float(found[1]) * _UNITS[found[2]]
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        rate = float(value)
    else:
        raise MalformedInput('a rate is a number of bytes a second, or text like "20 MB/s"')
    if not MIN_BYTES_PER_S <= rate <= MAX_BYTES_PER_S:
        raise MalformedInput(f"{value!r} is out of bounds: at least 10 kB/s, at most 1000 GB/s")
    return int(rate)


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the week: days (0 is Monday), and minutes of the day; over midnight if it ends earlier.

    What begins on one of the days belongs to it to its end.
    """

    days: frozenset[int]
    begin: int
    end: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """``22:00-06:00``, ``sat-sun`` or ``mon,wed 08:00-18:00``; raises MalformedInput."""
        found = _WINDOW.match(text)
        if not text or found is None:
            raise MalformedInput(
                f"{text[:40]!r} is no time: write HH:MM-HH:MM, days (sat-sun, or mon,wed), both, "
                f"or {OTHERWISE}"
            )
        days = found[1]
        begin, end = 0, MINUTES_A_DAY
        if found[2]:
            begin, end = _minute(found[2], found[3], text), _minute(found[4], found[5], text)
        if begin in (MINUTES_A_DAY, end):
            raise MalformedInput(f"{text[:40]!r} lasts no time at all")
        return cls(_days(days, text) if days else frozenset(range(7)), begin, end)

    def holds(self, weekday: int, minute: int) -> bool:
        """Whether that minute of that day lies in it."""
        if self.begin < self.end:
            return weekday in self.days and self.begin <= minute < self.end
        yesterday = (weekday - 1) % 7
        return (weekday in self.days and minute >= self.begin) or (
            yesterday in self.days and minute < self.end
        )


@dataclass(frozen=True, slots=True)
class Cap:
    """``otherwise`` bytes a second, unless a window holds: of several the first counts. None: no cap."""

    otherwise: int | None = None
    windows: tuple[tuple[Window, int | None], ...] = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """From a rate, or from a table of windows to rates. Raises MalformedInput naming the bad part."""
        if not isinstance(value, Mapping):
            return cls(parse_rate(value))
        if len(value) > MAX_WINDOWS:
            raise MalformedInput(f"it has {len(value)} times, at most {MAX_WINDOWS} are allowed")
        if OTHERWISE not in value:
            raise MalformedInput(f"{OTHERWISE} is missing: the rate at all other times")
        windows: list[tuple[Window, int | None]] = []
        for key, rate in value.items():
            try:
                parsed = parse_rate(rate)
            except MalformedInput as error:
                raise MalformedInput(f"{str(key)[:40]}: {error.detail}") from None
            if key != OTHERWISE:
                windows.append((Window.parse(str(key)), parsed))
        return cls(parse_rate(value[OTHERWISE]), tuple(windows))

    def at(self, local: datetime) -> int | None:
        """Bytes a second at a time by the clock on the wall; None for no cap."""
        minute = local.hour * 60 + local.minute
        for window, rate in self.windows:
            if window.holds(local.weekday(), minute):
                return rate
        return self.otherwise


NO_CAP = Cap()


def shown_rate(rate: int | None) -> str:
    """For people."""
    if rate is None:
        return UNLIMITED
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if rate >= size:
            return f"{rate / size:g} {unit}/s"
    return f"{rate / 1e3:g} kB/s"


def _minute(hour: str, minute: str, text: str) -> int:
    minutes = int(hour) * 60 + int(minute)
    if int(minute) > 59 or minutes > MINUTES_A_DAY:
        raise MalformedInput(f"{hour}:{minute} in {text[:40]!r} is no time of the day")
    return minutes


def _days(days: str, text: str) -> frozenset[int]:
    chosen: set[int] = set()
    for part in days.split(","):
        first, dash, last = part.partition("-")
        for day in (first, last) if dash else (first,):
            if day not in _DAYS:
                raise MalformedInput(f"{day!r} in {text[:40]!r} is none of {', '.join(_DAYS)}")
        begin = _DAYS.index(first)
        length = (_DAYS.index(last) - begin) % 7 if dash else 0
        chosen.update((begin + number) % 7 for number in range(length + 1))
    return frozenset(chosen)
