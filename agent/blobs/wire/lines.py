"""Small requests over connections that the event loop itself serves.

A thread that sends and receives lets go of the interpreter's lock four times a request, and each time
must wait for it: with a few threads that costs a small request more than all else together (measured).
So these never wait: what the kernel takes at once is sent at once, and the answer is read when it is there.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from agent.blobs.traffic import Traffic
from agent.blobs.wire.answer import RECEIVE_BYTES, Answer, Incoming
from agent.blobs.wire.connection import Request
from agent.blobs.wire.tcp_info import acked_bytes, line
from agent.blobs.wire.trouble import NoAnswer, WireTrouble

FIRST_FAILURE = 300
"""Of the statuses of HTTP."""


TICK_S = 1.0
STALLED_AFTER_S = 5.0
"""Without anything that arrives a batch ends: who sends the rest of it alone is more patient."""


class _NotYet(Exception):
    """More of an answer is to come."""


def _nothing_more(_: int) -> bytes:
    raise _NotYet


class _Line:
    """One connection. It serves one batch of requests at a time, and is closed by the first trouble."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._loop, self.sock = loop, sock
        self._tls = sock if isinstance(sock, ssl.SSLSocket) else None
        self._requests: Iterator[Request] = iter(())
        self._unsent = memoryview(b"")
        self._is_held_up = False
        self._held = b""
        self._answers: list[Answer] = []
        self._done: asyncio.Future[None] | None = None
        self.is_closed = False
        self._moved_at = loop.time()
        """When the last request was begun, something of it seen to have arrived, or of an answer came."""
        self._acked_bytes = 0
        loop.add_reader(sock, self._readable)

    async def ask_each(self, requests: Iterable[Request]) -> list[Answer]:
        """See ``Lines``."""
        self._requests, self._answers = iter(requests), []
        self._done = self._loop.create_future()
        try:
            self._next()
            await self._done
        except BaseException:
            self.close()
            raise
        finally:
            self._requests, self._done = iter(()), None
        return self._answers

    def is_usable(self) -> bool:
        """Between batches: whether it is open, and nothing came that nobody asked for."""
        self._readable()
        return not self.is_closed

    def is_stalled(self) -> bool:
        """For so long nothing arrived at either end."""
        now, acked = self._loop.time(), acked_bytes(self.sock)
        if acked != self._acked_bytes:
            self._acked_bytes, self._moved_at = acked, now
        return now - self._moved_at >= STALLED_AFTER_S

    def close(self) -> None:
        """Idempotent. A batch that is under way ends with the answers that it has."""
        if self.is_closed:
            return
        self.is_closed = True
        self._loop.remove_reader(self.sock)
        self._loop.remove_writer(self.sock)
        self.sock.close()
        self._end()

    def _end(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._end()
            return
        head, body = request
        self._moved_at = self._loop.time()
        # One record and one system call are cheaper than no copy.
        self._unsent = memoryview(b"".join((head, *body)))
        self._send()

    def _send(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[self.sock.send(self._unsent) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            if not self._is_held_up:
                self._is_held_up = True
                self._loop.add_writer(self.sock, self._send)
        except OSError:
            self.close()
        else:
            if self._is_held_up:
                self._is_held_up = False
                self._loop.remove_writer(self.sock)

    def _readable(self) -> None:
        while not self.is_closed:
            try:
                piece = self.sock.recv(RECEIVE_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            except OSError:
                piece = b""
            if not piece or self._done is None or self._done.done():
                # The end, or what nobody asked for.
                self.close()
                return
            self._take(piece)
            if self._tls is None or not self._tls.pending():
                return

    def _take(self, piece: bytes) -> None:
        """Bytes of an answer."""
        self._moved_at = self._loop.time()
        self._held += piece
        incoming = Incoming(_nothing_more)
        incoming.push(self._held)
        try:
            answer = incoming.answer()
        except _NotYet:
            return
        except WireTrouble:
            self.close()
            return
        self._held = b""
        is_early = bool(self._unsent)
        if not (is_early and answer.status < FIRST_FAILURE):
            self._answers.append(answer)
        if is_early or answer.is_last or not incoming.is_empty:
            self.close()
        elif answer.status >= FIRST_FAILURE:
            self._end()
        else:
            self._go_on()

    def _go_on(self) -> None:
        try:
            self._next()
        except Exception as bug:  # noqa: BLE001 - it is raised where the requests were given
            if self._done is not None and not self._done.done():
                self._done.set_exception(bug)


class Lines:
    """At most as many as there are batches at once; made within a running event loop."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        """``connect`` is called in a thread; it raises WireTrouble."""
        self._connect = connect
        self._loop = asyncio.get_running_loop()
        self._idle: list[_Line] = []
        self._busy: set[_Line] = set()
        self._dialling = self._ended = 0
        self._watch: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def ask_each(self, requests: Iterable[Request]) -> list[Answer]:
        """The answers to small requests that are made one after the other, as ``requests`` gives them.

        It ends with the first answer that is no success, and before the first request that gets none:
        that one may have been done all the same. Raises WireTrouble when there is no connection. When it
        ends, however it ends, nothing reads from a body any more.
        """
        chosen = await self._line()
        self._busy.add(chosen)
        if self._watch is None:
            self._watch = self._loop.call_later(TICK_S, self._cut_stalled)
        answers: list[Answer] = []
        try:
            answers = await chosen.ask_each(requests)
        finally:
            self._busy.discard(chosen)
            if self._is_closed:
                chosen.close()
            elif not chosen.is_closed:
                self._idle.append(chosen)
        self._ended += len(answers)
        return answers

    def close(self) -> None:
        """Idempotent."""
        self._is_closed = True
        if self._watch is not None:
            self._watch.cancel()
        for each in (*self._idle, *self._busy):
            each.close()
        self._idle.clear()

    def traffic(self) -> Traffic:
        """Where the requests stand. To be asked some times a second."""
        lines = [line(each.sock) for each in self._busy if not each.is_closed]
        travelling = sum(is_moving for is_moving, _ in lines)
        return Traffic(
            computing=0,
            travelling=travelling + self._dialling,
            awaiting=len(lines) - travelling,
            ended=self._ended,
            round_trip_s=min((seconds for _, seconds in lines if seconds), default=0.0),
        )

    def _cut_stalled(self) -> None:
        self._watch = self._loop.call_later(TICK_S, self._cut_stalled) if self._busy else None
        for each in self._busy:
            if not each.is_closed and each.is_stalled():
                each.close()

    async def _line(self) -> _Line:
        while self._idle:
            idle = self._idle.pop()
            if idle.is_usable():
                return idle
        if self._is_closed:
            raise NoAnswer("the store was closed")
        self._dialling += 1
        dialled = self._loop.create_task(asyncio.to_thread(self._connect))
        try:
            sock = await asyncio.shield(dialled)
        except asyncio.CancelledError:
            dialled.add_done_callback(_hang_up)
            raise
        finally:
            self._dialling -= 1
        return _Line(self._loop, sock)


def _hang_up(dialled: asyncio.Task[socket.socket]) -> None:
    """Nobody waits for it any more."""
    with suppress(asyncio.CancelledError, WireTrouble):
        dialled.result().close()
