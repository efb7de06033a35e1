"""Whether drives are claimed by somebody, asked so that one that hangs holds up no other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from enum import Enum, auto
from typing import Final

from agent.devices.facts import DriveFacts
from agent.devices.usage import is_claimed
from agent.threads import in_thread

ANSWER_WITHIN_S: Final = 1.0
"""To open a device takes no time, unless the kernel is about to give it up."""


class Claim(Enum):
    """What came of the question."""

    FREE = auto()
    CLAIMED = auto()
    SILENT = auto()


class Claims:
    """At most one question at a time for each drive."""

    def __init__(self) -> None:
        self._asked: dict[str, asyncio.Future[bool]] = {}

    async def ask(self, found: Iterable[DriveFacts]) -> dict[str, Claim]:
        """By key, after ``ANSWER_WITHIN_S`` at the latest."""
        drives = list(found)
        fresh = [self._begin(facts) for facts in drives if facts.key not in self._asked]
        if fresh:
            await asyncio.wait(fresh, timeout=ANSWER_WITHIN_S)
        return {facts.key: self._take(facts.key) for facts in drives}

    def forget(self, present: set[str]) -> None:
        """Drives that are gone; a thread that still hangs in one ends by itself."""
        self._asked = {key: asked for key, asked in self._asked.items() if key in present}

    def _begin(self, facts: DriveFacts) -> asyncio.Future[bool]:
        asked = self._asked[facts.key] = in_thread(lambda: _is_claimed(facts.node))
        return asked

    def _take(self, key: str) -> Claim:
        if not self._asked[key].done():
            return Claim.SILENT
        return Claim.CLAIMED if self._asked.pop(key).result() else Claim.FREE


def _is_claimed(node: str) -> bool:
    try:
        return is_claimed(node)
    except OSError:
        return False  # to open it will fail as well, and tell why
