"""Chance that is the same on every machine and in every version of Python."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """A stream of choices that follows from ``seed`` alone (SHAKE-256, 512 bytes at a time)."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._round = 0
        self._pool = b""

    def take(self, count: int) -> bytes:
        """``count`` random bytes."""
        while len(self._pool) < count:
            self._pool += hashlib.shake_256(f"{self._seed}\0{self._round}".encode()).digest(512)
            self._round += 1
        taken, self._pool = self._pool[:count], self._pool[count:]
        return taken

    def below(self, limit: int) -> int:
        """A number from 0 on, less than ``limit`` (at least 1)."""
        return int.from_bytes(self.take(8), "little") % limit

    def between(self, low: int, high: int) -> int:
        """A number from ``low`` to ``high``, both possible."""
        return low + self.below(high - low + 1)

    def chance(self, percent: int) -> bool:
        """True that often."""
        return self.below(100) < percent

    def pick(self, items: Sequence[T]) -> T:
        """One of ``items``, which are not empty."""
        return items[self.below(len(items))]

    def integer(self, width_bytes: int, was: int = 0) -> int:
        """An unsigned number of that width which parsers like to get wrong.

        Edges, sign bits, powers of two, neighbours and multiples of what stood there, or anything.
        """
        top = 1 << 8 * width_bytes
        half = top >> 1
        kind = self.below(8)
        if kind == 0:
            value = self.pick((0, 1, top - 1, half, half - 1, top - 2, half + 1))
        elif kind in (1, 2):
            value = was + self.pick((-1, 1, -2, 2, 7, 8, -8, 16, -16, 511, 512, -512, 4096, -4096))
        elif kind == 3:
            value = self.pick((was * 2, was // 2, was * 3, was << 8, was >> 8, -was, was ^ half, was * 512))
        elif kind == 4:
            value = (1 << self.below(8 * width_bytes)) + self.between(-1, 1)
        elif kind == 5:
            value = was ^ 1 << self.below(8 * width_bytes)
        elif kind == 6:
            value = self.below(min(top, 300))
        else:
            value = int.from_bytes(self.take(width_bytes), "little")
        return value % top
