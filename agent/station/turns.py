"""Whose turn it is, where not all drives are worked at once: first come, first served.

A drive that would have to wait for one full place lets those pass that need another one, so that nothing
stands idle. It lets MOST_PASSES of them pass; then nobody who needs what it needs goes before it. So each
drive that waits has its turn as soon as those that are worked then have ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from agent.model.concurrency import NO_LIMITS, Bound, Concurrency, Place

MOST_PASSES = 4


class Turn:
    """Of one drive: it waits, or is granted, until it is given back."""

    def __init__(self, place: Place, account: str, news: Callable[[], None]) -> None:
        """``news`` is called when it is granted, and when it may wait for something else."""
        self.place, self.account, self.news = place, account, news
        self.bounds: dict[str, Bound] = {}
        self.is_granted = False
        self.passes = 0


class Turns:
    """Of one station. Within one thread."""

    def __init__(self, concurrency: Concurrency = NO_LIMITS) -> None:
        self._concurrency = concurrency
        self._waiting: list[Turn] = []
        self._held: list[Turn] = []

    def ask(self, place: Place, account: str, news: Callable[[], None] = lambda: None) -> Turn:
        """A turn for a drive: granted at once, or the last of those that wait."""
        turn = Turn(place, account, news)
        turn.bounds = self._concurrency.bounds(place, account)
        self._waiting.append(turn)
        self._settle()
        return turn

    def give_back(self, turn: Turn) -> None:
        """It is not needed any more, granted or not. Idempotent."""
        for some in (self._waiting, self._held):
            if turn in some:
                some.remove(turn)
        self._settle()

    def adopt(self, concurrency: Concurrency) -> None:
        """Other limits from now on; a drive that is worked goes on, however many there may be."""
        self._concurrency = concurrency
        for turn in (*self._waiting, *self._held):
            turn.bounds = concurrency.bounds(turn.place, turn.account)
        self._settle()

    def why(self, turn: Turn) -> str:
        """One sentence on what a turn waits for; empty when it is granted."""
        if turn not in self._waiting:
            return ""
        used, place = self._used(), self._waiting.index(turn)
        full = next((key for key, bound in turn.bounds.items() if used[key] >= bound.most), None)
        before = sum(1 for other in self._waiting[:place] if other.bounds.keys() & turn.bounds.keys())
        queue = f"; {_drives(before, 'waits', 'wait')} before it" if before else ""
        if full is None:
            return f"waits for a place{queue}"
        bound = turn.bounds[full]
        count = used[full]
        noun = bound.drives if count != 1 else bound.drives.replace("drives", "drive", 1)
        verb = "is" if count == 1 else "are"
        return f"waits for a place: {count} {noun} {verb} being read ({bound.setting} = {bound.most}){queue}"

    def _used(self) -> Counter[str]:
        return Counter(key for turn in self._held for key in turn.bounds)

    def _settle(self) -> None:
        """Grant what can be, in the order in which it was asked for."""
        used, kept = self._used(), set[str]()
        passed: list[Turn] = []
        for turn in list(self._waiting):
            is_full = any(used[key] >= bound.most for key, bound in turn.bounds.items())
            if is_full or kept & turn.bounds.keys():
                passed.append(turn)
                if turn.passes >= MOST_PASSES:
                    kept |= turn.bounds.keys()
                continue
            used.update(turn.bounds.keys())
            self._waiting.remove(turn)
            self._held.append(turn)
            for other in passed:
                other.passes += bool(other.bounds.keys() & turn.bounds.keys())
            turn.is_granted = True
            turn.news()
        for turn in self._waiting:
            turn.news()


def _drives(count: int, one: str, more: str) -> str:
    return f"{count} drive {one}" if count == 1 else f"{count} drives {more}"
