"""The one retry layer: weather is waited for, everything else is an answer.

That a request may be sent twice is safe for all that is sent here: a block and a page land where they
landed before, and what makes a blob visible is decided by the store's conditions and told from another's
by its marker (see ``agent.transfer.sender``).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from agent.errors import (
    ChecksumMismatch,
    IngestError,
    Side,
    StoreRefused,
    StoreThrottled,
    StoreUnreachable,
)
from agent.transfer.deadlines import Deadlines
from agent.transfer.haste import Haste
from agent.transfer.outage import Outage
from agent.transfer.pace import Pace

T = TypeVar("T")

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
LONGEST_THROTTLED_PAUSE_S = 2.0
"""How many go at once is the pace's to say; a throttled request only makes room for others."""

CHECKSUM_TRIES = 5
TELL_EVERY_S = 30.0
CALM_S = 60.0
"""So long after a throttled request none is cut early: a service that asks for less gets nothing twice."""


class Renewal(Protocol):
    """Another credential, when the store refuses the one in use."""

    @property
    def generation(self) -> int:
        """Counts the credentials that were in use."""
        ...

    async def renew(self, refused: int) -> bool:
        """Whether there is another credential now than the one of generation ``refused``. Bounded in time."""
        ...


class _Straggled(Exception):
    """A request was cut early, to be sent again."""


@dataclass(slots=True)
class _Tries:
    """Of one call. It gives up at ``end_at``, counted from its first failure, waits for a turn apart."""

    pause: float
    checksums: int = 0
    cuts: int = 0
    early_cuts: int = 0
    end_at: float | None = None
    is_renewed: bool = False


class Patience:
    """Calls the store until it answers, for at most ``give_up_after_s`` seconds.

    That is how long none of the drive's requests may be answered (see ``agent.transfer.outage``), and how
    long a single one may fail, from its first failure on, while others are answered.

    An error that is not retriable is raised at once; only a refused credential is tried once more when
    ``renewal`` has another. ``hurry`` set (the transfer is to stop) ends all waiting: the next retriable
    error is raised. Every request has a deadline; one that is cut by it counts as unanswered.
    """

    def __init__(
        self,
        give_up_after_s: float,
        hurry: asyncio.Event,
        told: Callable[[str], None] = lambda detail: None,
        *,
        pace: Pace | None = None,
        renewal: Renewal | None = None,
    ) -> None:
        """``told`` hears what is being waited for: when an outage begins, and now and then while it lasts."""
        self._give_up_after_s = give_up_after_s
        self._hurry = hurry
        self._told = told
        self._pace = pace or Pace.alone(hurry)
        self._renewal = renewal
        self._deadlines = Deadlines()
        self._haste = Haste()
        self._outage = Outage(give_up_after_s)
        self._throttled_at = float("-inf")
        self._told_at = float("-inf")
        self._untold = 0
        self.waiting_for: str | None = None
        """What is being waited for, for the screen; None in good weather."""
        self.pausing = 0
        """Calls that wait before they try again."""
        self.hindered_by: Side | None = None
        """Whose the last trouble was; None as long as there was none."""
        self.cut_requests = 0
        """Requests that were cut by their deadline."""
        self.throttled_requests = 0
        """Requests that the service had no room for."""

    async def call(
        self,
        request: Callable[[], Awaitable[T]],
        body_bytes: int = 0,
        *,
        answer_bytes: int = 0,
        is_repeatable: bool = False,
    ) -> T:
        """The answer, or the IngestError that says why there is none.

        ``body_bytes`` are sent with it, which caps on bandwidth count, and ``answer_bytes`` come back.
        ``is_repeatable`` says that it does no harm when it is given up and arrives late: then it may be,
        long before its deadline (see ``agent.transfer.haste``).
        """
        tries = _Tries(FIRST_PAUSE_S)
        while True:
            generation = self._renewal.generation if self._renewal is not None else 0
            asked_at = _now()
            if tries.end_at is None:
                begun = await self._pace.begin(body_bytes)
            else:
                begun = await self._turn(body_bytes)
                tries.end_at += begun - asked_at
            try:
                answer = await self._once(request, body_bytes, answer_bytes, begun, tries, is_repeatable)
            except _Straggled:
                continue
            except IngestError as error:
                if await self._is_renewed(error, tries, generation):
                    continue
                self._weigh(error, tries)
                self._notice(error)
            else:
                self.waiting_for = None
                return answer
            await self._pause(tries.pause)
            tries.pause = min(tries.pause * 2, LONGEST_PAUSE_S)

    async def _turn(self, body_bytes: int) -> float:
        """As ``Pace.begin``, for a request that failed before: in an outage others may not get on either."""
        timeout = asyncio.timeout(None)
        try:
            async with timeout:
                self._outage.begin(timeout)
                return await self._pace.begin(body_bytes)
        except TimeoutError:
            raise self._given_up() from None
        finally:
            self._outage.end(timeout)

    async def attempt(
        self, request: Callable[[], Awaitable[T]], body_bytes: int, longest_s: float
    ) -> T | None:
        """The answer to a request that may as well not be made: None when it is cut after ``longest_s``.

        It says nothing of the weather, which is heard of by whoever asks again.
        """
        begun = await self._pace.begin(body_bytes)
        try:
            async with asyncio.timeout(longest_s):
                return await request()
        except TimeoutError:
            self.cut_requests += 1
            self._outage.failed(begun)
            return None
        finally:
            self._pace.end(begun)

    async def _once(
        self,
        request: Callable[[], Awaitable[T]],
        body_bytes: int,
        answer_bytes: int,
        begun: float,
        tries: _Tries,
        is_repeatable: bool,
    ) -> T:
        failed: IngestError | None = None
        limit_s = self._deadlines.seconds(body_bytes + answer_bytes, tries.cuts)
        timeout = asyncio.timeout(limit_s)
        if is_repeatable and begun - self._throttled_at > CALM_S:
            self._haste.begin(timeout, body_bytes, tries.early_cuts)
        try:
            async with timeout:
                self._outage.begin(timeout)
                answer = await request()
        except TimeoutError:
            self.cut_requests += 1
            if self._outage.end(timeout):
                raise self._given_up() from None
            if is_repeatable:
                self._haste.missed(body_bytes)
            if self._haste.end(timeout):
                tries.early_cuts += 1
                raise _Straggled from None
            tries.cuts += 1
            self._deadlines.missed()
            what = f"{body_bytes} bytes were" if body_bytes else "a request was"
            failed = StoreUnreachable(f"{what} not answered within {limit_s:.0f} s, and cut off")
        except IngestError as error:
            failed = error
            raise
        finally:
            self._haste.end(timeout)
            self._outage.end(timeout)
            self._end(begun, failed)
        if failed is not None:
            raise failed
        self._outage.answered()
        took_s = _now() - begun
        self._deadlines.met(body_bytes, took_s)
        if is_repeatable:
            self._haste.met(body_bytes, took_s)
        return answer

    def _end(self, begun: float, failed: IngestError | None) -> None:
        refused = failed is not None and failed.retriable and not isinstance(failed, ChecksumMismatch)
        if isinstance(failed, StoreThrottled):
            self.throttled_requests += 1
            self._throttled_at = _now()
        asked = failed.retry_after_s if isinstance(failed, StoreThrottled) else None
        if refused:
            self._outage.failed(begun, asked or 0.0)
        elif failed is not None:
            self._outage.answered()
        self._pace.end(begun, refused=refused, retry_after_s=asked or 0.0)

    def _given_up(self) -> StoreUnreachable:
        last = f"; the last one: {self.waiting_for}" if self.waiting_for else ""
        return StoreUnreachable(f"no request was answered for {self._give_up_after_s:g} s{last}")

    async def _is_renewed(self, error: IngestError, tries: _Tries, generation: int) -> bool:
        if self._renewal is None or tries.is_renewed or not isinstance(error, StoreRefused):
            return False
        tries.is_renewed = await self._renewal.renew(generation)
        return tries.is_renewed

    def _weigh(self, error: IngestError, tries: _Tries) -> None:
        """Raise the error when it is an answer, or when it is enough."""
        if not error.retriable:
            raise error
        if self._hurry.is_set():
            raise StoreUnreachable(f"stopped while waiting: {error.detail}") from None
        tries.checksums += isinstance(error, ChecksumMismatch)
        if isinstance(error, StoreThrottled):
            tries.pause = min(tries.pause, LONGEST_THROTTLED_PAUSE_S)
        if tries.end_at is None:
            tries.end_at = _now() + self._give_up_after_s
        next_at = _now() + tries.pause
        if tries.checksums >= CHECKSUM_TRIES or next_at > tries.end_at or self._outage.ends_before(next_at):
            raise error

    def _notice(self, error: IngestError) -> None:
        self.waiting_for = error.detail
        self.hindered_by = error.side
        self._untold += 1
        if _now() - self._told_at < TELL_EVERY_S:
            return
        more = f" ({self._untold} requests since this was told last)" if self._untold > 1 else ""
        self._told(f"{error.detail}{more}")
        self._told_at, self._untold = _now(), 0

    async def _pause(self, seconds: float) -> None:
        jittered = seconds * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, no secret
        self.pausing += 1
        try:
            async with asyncio.timeout(jittered):
                await self._hurry.wait()
        except TimeoutError:
            return
        finally:
            self.pausing -= 1


def _now() -> float:
    return asyncio.get_running_loop().time()
