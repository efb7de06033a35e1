"""Connections in threads, on behalf of an event loop.

Each thread owns one connection at a time and takes requests from one queue, as many as there are
before it sleeps again; what is done is told to the loop in batches. So a small request costs a few
microseconds beside its system calls, and a large one never holds up the loop.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue

from agent.blobs.traffic import Traffic
from agent.blobs.wire.answer import Answer
from agent.blobs.wire.connection import Connection
from agent.blobs.wire.trouble import NoAnswer, WireTrouble

LONGEST_TICK_S = 1.0
JOIN_TIMEOUT_S = 5.0


class _Job:
    """A request and what became of it.

    ``connection`` is the one that a thread sends it by, and None before and after; it and
    ``is_dropped`` change under the pool's lock. Without a connection nobody reads from ``body``.
    ``moved_at`` is when ``acked_bytes`` was last seen to change.
    """

    __slots__ = (
        "acked_bytes",
        "body",
        "connection",
        "future",
        "head",
        "is_dropped",
        "is_over",
        "moved_at",
        "outcome",
    )

    def __init__(self, head: bytes, body: Sequence[memoryview], future: asyncio.Future[None]) -> None:
        self.head, self.body, self.future = head, body, future
        self.outcome: Answer | Exception = NoAnswer("the store was closed")
        self.connection: Connection | None = None
        self.is_dropped = self.is_over = False
        self.acked_bytes, self.moved_at = -1, 0.0

    def is_stalled(self, now: float, stall_s: float) -> bool:
        """Nothing of it arrived for so long, and no answer came."""
        acked_bytes = self.connection.acked_bytes() if self.connection else -1
        if acked_bytes != self.acked_bytes:
            self.acked_bytes, self.moved_at = acked_bytes, now
        return now - self.moved_at >= stall_s


class Pool:
    """At most ``connections`` at once; made within a running event loop.

    A connection is cut when for ``stall_s`` seconds nothing of the request arrives at the other end,
    nor the whole answer at ours. However slow the line, what moves is let be.
    """

    def __init__(self, dial: Callable[[], Connection], connections: int, stall_s: float) -> None:
        """``dial`` is called in a thread; it raises WireTrouble."""
        self._dial = dial
        self._limit = connections
        self._stall_s = stall_s
        self._loop = asyncio.get_running_loop()
        self._threads: list[threading.Thread] = []
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._busy: set[_Job] = set()
        self._dialling = self._ended = 0
        self._done: deque[_Job] = deque()
        self._is_told = False
        self._open_jobs = 0
        self._watch: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def ask(self, head: bytes, body: Sequence[memoryview]) -> Answer:
        """The answer to a request; raises WireTrouble.

        When it ends, by its end or by cancellation, no thread reads from ``body`` any more.
        """
        if self._is_closed:
            raise NoAnswer("the store was closed")
        if self._open_jobs >= len(self._threads) < self._limit:
            self._hire()
        job = _Job(head, body, self._loop.create_future())
        self._open_jobs += 1
        if self._watch is None:
            self._watch = self._loop.call_later(self._tick_s, self._cut_stalled)
        self._queue.put(job)
        try:
            await job.future
        except asyncio.CancelledError:
            await self._drop(job)
            raise
        if isinstance(job.outcome, Answer):
            return job.outcome
        raise job.outcome

    async def close(self) -> None:
        """Cut what is under way, and end the threads. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            if self._watch is not None:
                self._watch.cancel()
            for _ in self._threads:
                self._queue.put(None)
        with self._lock:
            for job in self._busy:
                if job.connection is not None:
                    job.connection.cut("the store was closed")
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        deadline = time.monotonic() + JOIN_TIMEOUT_S
        for thread in self._threads:
            # One that waits for a name to be resolved cannot be hurried; it ends by itself.
            thread.join(max(0.0, deadline - time.monotonic()))

    def traffic(self) -> Traffic:
        """Where the requests stand. To be asked some times a second."""
        with self._lock:
            busy = [job.connection for job in self._busy if job.connection is not None]
            dialling, ended = self._dialling, self._ended
        lines = [connection.line() for connection in busy]
        travelling = sum(is_moving for is_moving, _ in lines)
        writing = sum(
            connection.is_sending and not is_moving
            for connection, (is_moving, _) in zip(busy, lines, strict=True)
        )
        return Traffic(
            computing=max(0, self._open_jobs - len(busy) - dialling) + writing,
            travelling=travelling + dialling,
            awaiting=len(busy) - travelling - writing,
            ended=ended,
            round_trip_s=min((seconds for _, seconds in lines if seconds), default=0.0),
        )

    # In the loop.

    def _hire(self) -> None:
        thread = threading.Thread(target=self._serve, name=f"wire-{len(self._threads)}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # No more threads for this process: those that there are do the work.
            if not self._threads:
                raise NoAnswer("no thread can be started") from None
        else:
            self._threads.append(thread)

    @property
    def _tick_s(self) -> float:
        return min(LONGEST_TICK_S, self._stall_s / 4)

    def _cut_stalled(self) -> None:
        self._watch = self._loop.call_later(self._tick_s, self._cut_stalled) if self._open_jobs else None
        now = time.monotonic()
        with self._lock:
            for job in self._busy:
                if job.connection is not None and job.is_stalled(now, self._stall_s):
                    job.connection.cut("timed out")

    async def _drop(self, job: _Job) -> None:
        """Have the request end, and wait until its thread has let go of it."""
        with self._lock:
            job.is_dropped = True
            if job.connection is None:
                job.body = ()
                return
            job.connection.cut("cancelled")
        while not job.is_over:
            job.future = self._loop.create_future()
            try:
                await job.future
            except asyncio.CancelledError:
                # Cancelled once more; the caller is told of it when its buffers are its own again.
                continue

    def _collect(self) -> None:
        self._is_told = False
        while self._done:
            job = self._done.popleft()
            job.is_over = True
            self._open_jobs -= 1
            if not job.future.done():
                job.future.set_result(None)

    # In the threads.

    def _serve(self) -> None:
        connection: Connection | None = None
        while (job := self._queue.get()) is not None:
            connection = self._carry(job, connection)
            self._tell(job)
            del job
        if connection is not None:
            connection.close()

    def _carry(self, job: _Job, connection: Connection | None) -> Connection | None:
        """Do the job; gives the connection for the next one."""
        if connection is not None and connection.is_stale():
            connection.close()
            connection = None
        try:
            while not (job.is_dropped or self._is_closed):
                if connection is None:
                    connection = self._dialled()
                if self._try(job, connection):
                    break
                connection.close()
                connection = None
        except WireTrouble as trouble:
            # A new one: what leads to the trouble holds frames, and they hold views of the body.
            job.outcome = type(trouble)(trouble.why)
        except Exception as bug:  # noqa: BLE001 - it is raised where the request was made
            job.outcome = bug.with_traceback(None)
        job.body = ()
        if connection is not None and connection.is_spent:
            connection.close()
            return None
        return connection

    def _dialled(self) -> Connection:
        with self._lock:
            self._dialling += 1
        try:
            return self._dial()
        finally:
            with self._lock:
                self._dialling -= 1

    def _try(self, job: _Job, connection: Connection) -> bool:
        """One exchange; False when it is to be repeated on another connection.

        That is so when the service had closed this one while it was idle. All that is sent here
        may be done twice: by its ids, by its place, or by If-None-Match.
        """
        if not self._claim(job, connection):
            return True
        was_fresh = connection.is_fresh
        try:
            job.outcome = connection.exchange(job.head, job.body)
        except NoAnswer:
            if was_fresh or connection.is_cut:
                raise
            return False
        finally:
            self._release(job)
        return True

    def _claim(self, job: _Job, connection: Connection) -> bool:
        with self._lock:
            if job.is_dropped or self._is_closed:
                return False
            job.connection = connection
            self._busy.add(job)
            return True

    def _release(self, job: _Job) -> None:
        with self._lock:
            job.connection = None
            self._busy.discard(job)
            self._ended += 1

    def _tell(self, job: _Job) -> None:
        self._done.append(job)
        if not self._is_told:
            self._is_told = True
            with suppress(RuntimeError):  # the loop is gone, and nobody waits
                self._loop.call_soon_threadsafe(self._collect)
