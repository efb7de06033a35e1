"""How long no request of a drive has been answered, and an end to that for all of them at once."""

from __future__ import annotations

import asyncio

LAST_TRY_S = 5.0
"""So long may take what is still asked for, such as to send the logs, when the time is over."""


class Outage:
    """Of one process. Within one event loop.

    It begins with the first request that is not answered, at that request's beginning or at the last answer,
    whichever is later, and ends with an answer. After ``give_up_after_s`` seconds of it all requests under
    way are cut; to a store that says how long to wait, the longest such time is given on top. A request that
    alone took longer than all that shows a slow line and no outage: then the time is counted from its end.
    """

    def __init__(self, give_up_after_s: float) -> None:
        self._give_up_after_s = give_up_after_s
        self._answered_at = float("-inf")
        self._end_at: float | None = None
        self._put_off_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._under_way: set[asyncio.Timeout] = set()
        self._cut: set[asyncio.Timeout] = set()

    def begin(self, timeout: asyncio.Timeout) -> None:
        """A request began under this timeout, which is shortened when the time is over."""
        self._under_way.add(timeout)
        if self._end_at is not None and self.is_over:
            at = asyncio.get_running_loop().time() + LAST_TRY_S
            timeout.reschedule(min(at, timeout.when() or at))

    def end(self, timeout: asyncio.Timeout) -> bool:
        """It ended; whether that was because it was cut here."""
        self._under_way.discard(timeout)
        if timeout not in self._cut:
            return False
        self._cut.remove(timeout)
        return True

    def answered(self) -> None:
        """The store answered, whatever it was."""
        self._answered_at = asyncio.get_running_loop().time()
        self._end_at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def failed(self, begun: float, retry_after_s: float = 0.0) -> None:
        """A request that began then was not answered, or was told to come later."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._end_at is None:
            since = max(begun, self._answered_at)
            waited_s = now - since
            self._put_off_s = 0.0
            self._end_at = (since if waited_s < self._give_up_after_s else now) + self._give_up_after_s
            self._set_timer(loop)
        if retry_after_s > self._put_off_s:
            self._end_at += retry_after_s - self._put_off_s
            self._put_off_s = retry_after_s
            self._set_timer(loop)

    def ends_before(self, when: float) -> bool:
        """Whether the time is over then."""
        return self._end_at is not None and self._end_at <= when

    @property
    def is_over(self) -> bool:
        """Whether it was waited for long enough."""
        return self.ends_before(asyncio.get_running_loop().time())

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        assert self._end_at is not None
        self._timer = loop.call_at(self._end_at, self._cut_all)

    def _cut_all(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for timeout in self._under_way:
            if not timeout.expired():
                self._cut.add(timeout)
                timeout.reschedule(now)
