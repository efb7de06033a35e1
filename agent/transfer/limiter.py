"""Lets a drive's requests to one storage account begin, as many at once as the account bears.

One limit an account for all drives of the station, held on a Board; its rules are those of
``agent.transfer.aimd``. A drive that is not held up asks the Board once a second, so that a request
costs some comparisons; one that is held up asks every TICK_S.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque

from agent.errors import IngestError, StateUnusable, StoreUnreachable
from agent.transfer.aimd import Needs, Share, leave, settle
from agent.transfer.board import Board

TICK_S = 0.05
BEAT_S = 1.0
STOPPED = "stopped while waiting for a turn to send"


class Limiter:
    """Of one process. ``ceiling`` is the most it begins at once; ``drive`` names it to the others.

    Made and used within one event loop, whose clock must be the machine's monotonic one. While
    ``hurry`` is set nothing waits.
    """

    def __init__(self, board: Board, account: str, drive: str, ceiling: int, hurry: asyncio.Event) -> None:
        self._board, self._account, self._drive, self._ceiling = board, account, drive, ceiling
        self._hurry = hurry
        self._share = Share(ceiling, 0.0, 0.0)
        self._under_way = self._answered = 0
        self._refused_since: float | None = None
        self._retry_after_s = 0.0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._settled_at = self._next_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._trouble: StateUnusable | None = None

    @property
    def limit(self) -> int:
        """Requests at once for the whole account, as far as it is known; 0 while there is no limit."""
        return math.ceil(self._share.limit)

    @property
    def is_holding_up(self) -> bool:
        """Whether requests wait for others to end, or for the account's pause."""
        return bool(self._waiters)

    @property
    def under_way(self) -> int:
        """Requests of this drive that have begun and not ended."""
        return self._under_way

    async def enter(self) -> float:
        """Wait for a turn; gives the time at which it began, for ``leave``.

        Raises StateUnusable, and StoreUnreachable in a hurry.
        """
        now = asyncio.get_running_loop().time()
        self._beat(now)
        if not self._waiters and self._has_room(now):
            self._begin(now)
            return now
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(turn)
        if now - self._settled_at >= TICK_S:
            self._settle(now)
        self._set_timer()
        self._admit(now)
        if self._hurry.is_set():
            self._turn_away(StoreUnreachable(STOPPED))
        try:
            await turn
        except asyncio.CancelledError:
            self._give_up(turn)
            raise
        return asyncio.get_running_loop().time()

    def leave(self, entered: float, *, refused: bool = False, retry_after_s: float = 0.0) -> None:
        """A request ended that ``enter`` let begin.

        ``refused`` says that the account had no room for it: it asked for less, failed of itself or
        did not answer. ``retry_after_s`` holds up all drives.
        """
        now = asyncio.get_running_loop().time()
        held_up = bool(self._waiters) and self._under_way >= self._share.requests
        if refused:
            latest = self._refused_since
            self._refused_since = entered if latest is None else max(latest, entered)
            self._retry_after_s = max(self._retry_after_s, retry_after_s)
            self._settle(now)
        else:
            self._answered += held_up
        self._under_way -= 1
        self._admit(now)

    def close(self) -> None:
        """Give the share back. Nothing is under way."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._board.change(lambda rows: leave(rows, self._account, self._drive))

    def _has_room(self, now: float) -> bool:
        share = self._share
        return self._under_way < share.requests and now >= max(share.shut_until, self._next_at)

    def _begin(self, now: float) -> None:
        self._under_way += 1
        if self._share.gap_s:
            # Drives that knock together would be refused together, and the same ones each time.
            self._next_at = now + self._share.gap_s * random.uniform(0.5, 1.5)  # noqa: S311 - no secret

    def _admit(self, now: float) -> None:
        while self._waiters and self._has_room(now):
            turn = self._waiters.popleft()
            if not turn.done():
                self._begin(now)
                turn.set_result(None)

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            self._under_way -= 1
            self._admit(asyncio.get_running_loop().time())
        elif turn in self._waiters:
            self._waiters.remove(turn)

    def _beat(self, now: float) -> None:
        if now - self._settled_at >= BEAT_S:
            self._settle(now)
            if self._trouble is not None:
                trouble, self._trouble = self._trouble, None
                raise trouble
            self._set_timer()

    def _settle(self, now: float) -> None:
        needs = Needs(
            self._under_way,
            len(self._waiters),
            self._ceiling,
            self._answered,
            self._refused_since,
            self._retry_after_s,
        )
        try:
            share = self._board.change(lambda rows: settle(rows, self._account, self._drive, needs, now))
        except StateUnusable as trouble:
            self._trouble = trouble
            return
        if share is not None:
            self._share, self._settled_at = share, now
            self._answered, self._refused_since, self._retry_after_s = 0, None, 0.0

    def _set_timer(self) -> None:
        loop = asyncio.get_running_loop()
        at = loop.time() + (TICK_S if self._waiters else BEAT_S)
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = loop.call_at(at, self._tick)

    def _tick(self) -> None:
        """While anything is under way or held up, the others know, and news of them are heard."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        self._settle(now)
        self._admit(now)
        if self._hurry.is_set():
            self._turn_away(StoreUnreachable(STOPPED))
        elif self._trouble is not None and self._waiters:
            self._turn_away(self._trouble)
            self._trouble = None
        if self._under_way or self._waiters:
            self._set_timer()

    def _turn_away(self, why: IngestError) -> None:
        while self._waiters:
            turn = self._waiters.popleft()
            if not turn.done():
                turn.set_exception(type(why)(why.detail))
