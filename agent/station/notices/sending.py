"""Delivers the letters of one hook, one after the other, for a day each."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from agent.config.notify import Hook
from agent.errors import IngestError
from agent.model.secrets import Secret
from agent.station.notices.outbox import Kept, Outbox
from agent.station.notices.outcome import Outcome, Result, put_off
from agent.telemetry import Log
from agent.threads import in_thread

WAITS_S = (5, 30, 120, 300, 900, 1800, 3600, 7200)
"""After each failed try; the last one counts for all that follow."""
JITTER = 0.2
MOST_ASKED_S = 7200.0
"""A receiver may ask for so long a wait, and no longer."""
FOR = timedelta(days=1)
"""So long a letter is tried."""
AT_ONCE = 100

Clock = Callable[[], datetime]
Send = Callable[[Hook, str, str, datetime], Awaitable[Outcome]]


async def send(hook: Hook, message: str, body: str, now: datetime) -> Outcome:
    """One try. Never raises for what is wrong with hook, receiver or the way to it."""
    try:
        address = await in_thread(hook.address)
        if address.reveal().partition(":")[0].lower() not in ("http", "https"):
            from agent.station.notices.relayed import relay

            return await relay(address, body)
        return await _post(hook, address, message, body.encode(), now)
    except IngestError as error:
        return put_off(error.detail)


async def _post(hook: Hook, address: Secret, message: str, body: bytes, now: datetime) -> Outcome:
    from agent.station.notices.posting import post
    from agent.station.notices.signing import signed_headers

    secrets = await in_thread(hook.secrets)
    headers = signed_headers(message, int(now.timestamp()), body, secrets)
    return await post(address.reveal(), body, headers, ca_file=hook.ca_file)


class Sender:
    """Of one hook."""

    def __init__(
        self, hook: Hook, outbox: Outbox, log: Log, counts: Counter[str], now: Clock, send: Send = send
    ) -> None:
        self._hook, self._outbox, self._log = hook, outbox, log.bind(hook=hook.name)
        self._counts, self._now, self._send = counts, now, send
        self._owed: Callable[[], None] | None = None
        """What is to be written down of the last letter."""

    async def deliver(self) -> int:
        """Try each letter whose turn it is; how many there were. Raises StateUnusable.

        Nothing is sent before it is written down what became of the letter before: else a full disk would
        have the same letter sent for ever.
        """
        for count in range(AT_ONCE):
            await self._settle()
            now = self._now().timestamp()
            kept = await in_thread(lambda: self._outbox.due(self._hook.name, now))  # noqa: B023 - awaited
            if kept is None:
                return count
            await self._try(kept)
        return AT_ONCE

    async def _try(self, kept: Kept) -> None:
        outcome = await self._send(self._hook, kept.message, kept.body, self._now())
        now = self._now().timestamp()
        next_at = now + wait_s(kept.tries, outcome.after_s)
        if outcome.result is Result.PUT_OFF and next_at - kept.begun > FOR.total_seconds():
            outcome = Outcome(Result.GIVEN_UP, f"{outcome.why}; tried for a day")
        self._counts[outcome.result] += 1
        told = {"message": kept.message, "type": kept.type, "tries": kept.tries + 1}
        if outcome.result is Result.DELIVERED:
            self._owed = lambda: self._outbox.delivered(kept.id)
            self._log.info("notification.delivered", **told)
        elif outcome.result is Result.GIVEN_UP:
            self._owed = lambda: self._outbox.give_up(kept, now, outcome.why)
            self._log.error("notification.given_up", **told, why=outcome.why, next=NEXT)
        else:
            self._owed = lambda: self._outbox.put_off(kept.id, next_at, outcome.why)
            # Once a letter: a receiver that is away for a day is no news each time.
            if kept.tries == 0:
                self._log.warning("notification.put_off", **told, why=outcome.why)
        await self._settle()

    async def _settle(self) -> None:
        if self._owed is not None:
            await in_thread(self._owed)
            self._owed = None


NEXT = "see `ingest-agent notify list`; `notify retry` sends it once more"


def wait_s(tries: int, asked_s: float | None) -> float:
    """Until the next try after ``tries`` failed ones before this; never all receivers at one moment."""
    usual = WAITS_S[min(tries, len(WAITS_S) - 1)] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
    return max(usual, min(asked_s or 0.0, MOST_ASKED_S))
