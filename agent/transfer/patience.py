"""The one retry layer: weather is waited for, everything else is an answer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from agent.errors import ChecksumMismatch, IngestError, StoreUnreachable

T = TypeVar("T")

REQUEST_TIMEOUT_S = 120.0
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
CHECKSUM_TRIES = 5


class Patience:
    """Calls the store until it answers, for at most ``give_up_after_s`` seconds a call.

    An error that is not retriable is raised at once. ``hurry`` set (the transfer is to stop) ends
    all waiting: the next retriable error is raised.
    """

    def __init__(
        self,
        give_up_after_s: float,
        hurry: asyncio.Event,
        told: Callable[[str], None] = lambda detail: None,
    ) -> None:
        """``told`` hears, once an outage, what is being waited for."""
        self._give_up_after_s = give_up_after_s
        self._hurry = hurry
        self._told = told
        self.waiting_for: str | None = None
        """What is being waited for, for the screen; None in good weather."""

    async def call(self, request: Callable[[], Awaitable[T]]) -> T:
        """The answer, or the IngestError that says why there is none."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._give_up_after_s
        pause, checksum_tries = FIRST_PAUSE_S, 0
        while True:
            try:
                answer = await self._once(request)
            except IngestError as error:
                checksum_tries += isinstance(error, ChecksumMismatch)
                give_up = loop.time() + pause > deadline
                if error.retriable and self._hurry.is_set():
                    raise StoreUnreachable(f"stopped while waiting: {error.detail}") from None
                if not error.retriable or give_up or checksum_tries >= CHECKSUM_TRIES:
                    raise
                if self.waiting_for is None:
                    self._told(error.detail)
                self.waiting_for = error.detail
            else:
                self.waiting_for = None
                return answer
            await self._pause(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    @staticmethod
    async def _once(request: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                return await request()
        except TimeoutError:
            raise StoreUnreachable(f"no answer within {REQUEST_TIMEOUT_S:.0f} s") from None

    async def _pause(self, seconds: float) -> None:
        jittered = seconds * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, no secret
        try:
            await asyncio.wait_for(self._hurry.wait(), jittered)
        except TimeoutError:
            return
