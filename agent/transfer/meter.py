"""Bytes a second, capped: for the station, for an account, for a job; shared by all who send.

A token bucket a cap, held on a Board. Whoever wants to send takes tokens when there are some, also more
than there are, and the next one waits until that debt is paid; so a block larger than a second's share
passes, and the sum is exact. Of several drives that wait for one bucket the one goes first that has
taken least (start-time fair queueing, Goyal et al. 1996). Rates may change at any time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence

from agent.errors import StateUnusable, StoreUnreachable
from agent.transfer.board import Board, Rows

BURST_S = 0.5
"""So much of a second's share may be saved up."""

LEASE_BYTES = 256 * 1024
"""Small requests take tokens for this much at once, or for LEASE_S if that is less."""

LEASE_S = 0.1
LOOK_EVERY_S = 0.5
SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.005, 0.25
STALE_S = 2.0
MOST_PATIENT_S = 30.0

FORGET_AFTER_S = 600.0
"""Of what nobody used for so long nothing is kept."""

STATION = "station"

_RATE, _LEVEL, _AT, _SERVED, _GRANTED = range(5)
_BEAT, _START, _IS_WAITING = range(3)


def of_account(account: str) -> str:
    """The name of an account's bucket."""
    return f"account {account}"


def of_job(job: str) -> str:
    """The name of a job's bucket."""
    return f"job {job}"


def set_rates(rows: Rows, rates: Mapping[str, int | None], now: float) -> bool:
    """Make these the caps (bytes a second; None: none), by names of buckets; whether one has changed."""
    changed = False
    for name in [name for name, row in rows.items() if _is_left_behind(name, row, now)]:
        del rows[name]
    for bucket, rate in rates.items():
        name = f"cap {bucket}"
        row = rows.get(name)
        if rate is None:
            changed |= rows.pop(name, None) is not None
        elif row is None:
            rows[name] = [float(rate), 0.0, now, 0.0, 0.0]
            changed = True
        elif row[_RATE] != rate:
            _fill(row, now)
            row[_RATE] = float(rate)
            changed = True
    return changed


def _is_left_behind(name: str, row: list[float], now: float) -> bool:
    """A cap of a job that ended, or somebody who waited for one."""
    if name.startswith("cap job "):
        return now - row[_AT] > FORGET_AFTER_S
    return name.startswith("taker ") and now - row[_BEAT] > FORGET_AFTER_S


def rate_of(rows: Rows, bucket: str) -> float | None:
    """The cap in bytes a second; None for none."""
    row = rows.get(f"cap {bucket}")
    return None if row is None else row[_RATE]


def granted(rows: Rows, bucket: str) -> float:
    """The bytes that were let go since the cap was set."""
    row = rows.get(f"cap {bucket}")
    return 0.0 if row is None else row[_GRANTED]


def take(rows: Rows, bucket: str, drive: str, count: int, now: float) -> float:
    """Take ``count`` bytes: 0 when they are taken, else the seconds after which to ask again."""
    cap = rows.get(f"cap {bucket}")
    if cap is None:
        return 0.0
    _fill(cap, now)
    prefix = f"taker {bucket} "
    for name in [name for name in rows if name.startswith(prefix) and now - rows[name][_BEAT] > STALE_S]:
        del rows[name]
    mine = rows.setdefault(prefix + drive, [now, cap[_SERVED], 0.0])
    if not mine[_IS_WAITING]:
        mine[_START], mine[_IS_WAITING] = max(mine[_START], cap[_SERVED]), 1.0
    mine[_BEAT] = now
    if cap[_LEVEL] <= 0:
        return min(max(-cap[_LEVEL] / cap[_RATE], SHORTEST_WAIT_S), LONGEST_WAIT_S)
    others = (row for name, row in rows.items() if name.startswith(prefix) and row is not mine)
    if any(row[_IS_WAITING] and row[_START] < mine[_START] for row in others):
        return SHORTEST_WAIT_S * 2
    cap[_LEVEL] -= count
    cap[_GRANTED] += count
    cap[_SERVED] = mine[_START]
    mine[_START], mine[_IS_WAITING] = mine[_START] + count, 0.0
    return 0.0


def _fill(cap: list[float], now: float) -> None:
    cap[_LEVEL] = min(cap[_LEVEL] + max(0.0, now - cap[_AT]) * cap[_RATE], cap[_RATE] * BURST_S)
    cap[_AT] = now


class Meter:
    """Of one process: spends what ``buckets``, narrowest first, let go. ``drive`` names it to the others.

    While ``hurry`` is set nothing waits.
    """

    def __init__(self, board: Board, buckets: Sequence[str], drive: str, hurry: asyncio.Event) -> None:
        self._board, self._buckets, self._drive = board, tuple(buckets), drive
        self._hurry = hurry
        self._turn = asyncio.Lock()
        self._credit = 0
        self._looked_at = float("-inf")
        self._rate: float | None = None
        self._waiting = 0

    @property
    def rate(self) -> float | None:
        """The tightest cap when it was last looked at, in bytes a second; None for none."""
        return self._rate

    @property
    def is_holding_up(self) -> bool:
        """Whether requests wait for bandwidth."""
        return self._waiting > 0

    def may_spend(self, count: int) -> bool:
        """Spend at once what needs no waiting; False when ``spend`` is to be awaited."""
        now = asyncio.get_running_loop().time()
        if now - self._looked_at >= LOOK_EVERY_S:
            self._look(now)
        if self._rate is None:
            return True
        if self._turn.locked() or self._credit < count:
            return False
        self._credit -= count
        return True

    async def spend(self, count: int) -> None:
        """Wait until ``count`` bytes may go.

        Raises StateUnusable, and StoreUnreachable in a hurry.
        """
        self._waiting += 1
        try:
            async with self._turn:
                if self._credit < count:
                    self._credit += await self._lease(count - self._credit)
                self._credit -= count
        finally:
            self._waiting -= 1

    async def _lease(self, missing: int) -> int:
        lease = LEASE_BYTES if self._rate is None else min(LEASE_BYTES, int(self._rate * LEASE_S))
        count = max(missing, lease)
        for bucket in self._buckets:
            await self._take(bucket, count)
        return count

    async def _take(self, bucket: str, count: int) -> None:
        loop = asyncio.get_running_loop()
        last_turn = loop.time()
        while True:
            now = loop.time()
            wait = self._board.change(lambda rows, now=now: take(rows, bucket, self._drive, count, now))  # type: ignore[misc]
            if wait == 0:
                return
            if self._hurry.is_set():
                raise StoreUnreachable("stopped while waiting for bandwidth")
            if wait is None:
                wait = SHORTEST_WAIT_S
                if now - last_turn > MOST_PATIENT_S:
                    raise StateUnusable("another process holds the shared limits and does not let go")
            else:
                last_turn = now
            await asyncio.sleep(wait * random.uniform(1.0, 1.2))  # noqa: S311 - spreads turns, no secret

    def _look(self, now: float) -> None:
        rates = self._board.change(lambda rows: [rate_of(rows, bucket) for bucket in self._buckets])
        if rates is not None:
            self._looked_at = now
            self._rate = min((rate for rate in rates if rate is not None), default=None)
