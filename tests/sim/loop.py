"""Determinism: an event loop in virtual time that waits for the reader, and no thread beside them.

What the loop would give to a thread is done at once, and where it would sleep its clock jumps. The
reader is a thread, but the loop waits until that has nothing more to say: so each run with the same
seed is the same, step by step.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from agent.transfer.frames import BlockingChannel, Message, pack

T = TypeVar("T")

BEGIN_S = 1000.0
STEP_S = 0.02
"""So much time passes with each turn of the loop, so that what happens now and then does happen."""
REAL_PATIENCE_S = 30.0


class Traffic:
    """What passes between the loop and the reader, counted, so that each can wait for the other."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._sent = self._handled = self._filling = 0
        self._is_begun = self._is_open = self._is_over = False

    def settle(self) -> None:
        """Return when the reader has answered all that it was sent."""
        with self._changed:
            if not self._changed.wait_for(self._is_quiet, REAL_PATIENCE_S):
                raise RuntimeError("the reader does not answer")

    def _is_quiet(self) -> bool:
        if self._is_over or not self._is_begun:
            return True
        return self._is_open and self._handled == self._sent and not self._filling

    def begun(self) -> None:
        """From now on there is a reader."""
        with self._changed:
            self._is_begun = True

    def sent(self) -> None:
        with self._changed:
            self._sent += 1

    def waits(self, *, handled: int) -> None:
        with self._changed:
            self._is_open = True
            self._handled += handled
            self._changed.notify_all()

    def fills(self, by: int) -> None:
        with self._changed:
            self._filling += by
            self._changed.notify_all()

    def over(self) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify_all()


class SimChannel(BlockingChannel):
    """The reader's channel. ``dies_at`` is the message received, ``breaks_at`` the one sent that kills it."""

    def __init__(
        self, sock: socket.socket, traffic: Traffic, dies_at: int | None, breaks_at: int | None
    ) -> None:
        super().__init__(sock)
        self._socket, self._traffic = sock, traffic
        self._dies_at, self._breaks_at = dies_at, breaks_at
        self.received = self.said = 0
        self._is_dead = False

    def receive(self) -> Message | None:
        self._traffic.waits(handled=1 if self.received else 0)
        message = super().receive()
        if message is None or self._is_dead or self.received == self._dies_at:
            self._die()
            return None
        self.received += 1
        if message["do"] == "fill":
            self._traffic.fills(1)
        return message

    def send(self, message: Message) -> None:
        if self._is_dead:
            raise ConnectionError("this process is dead")
        if self.said == self._breaks_at:
            packed = pack(message)
            self._socket.sendall(packed[: len(packed) // 2])
            self._die()
            raise ConnectionError("this process is dead")
        self.said += 1
        super().send(message)
        if message["is"] == "filled":
            self._traffic.fills(-1)
        elif message["is"] == "error":
            self._traffic.over()

    def _die(self) -> None:
        self._is_dead = True
        self._socket.shutdown(socket.SHUT_RDWR)
        self._traffic.over()


class CountingWriter:
    """The uploader's end: each write is a message."""

    def __init__(self, writer: asyncio.StreamWriter, traffic: Traffic) -> None:
        self._writer, self._traffic = writer, traffic
        self.drain, self.close = writer.drain, writer.close

    def write(self, data: bytes) -> None:
        self._traffic.sent()
        self._writer.write(data)


class _Selector(selectors.SelectSelector):
    def __init__(self, settle: Callable[[], None]) -> None:
        super().__init__()
        self._settle = settle
        self.now = BEGIN_S

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._settle()
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("everything waits for something that never comes")
            self.now += timeout
        self.now += STEP_S
        return ready


class _AtOnce(ThreadPoolExecutor):
    """Does what it is given before it returns; ``done`` is called after each."""

    def __init__(self, done: Callable[[], None]) -> None:
        super().__init__(1)
        self._done = done

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - the future's, as in any executor
            future.set_exception(error)
        self._done()
        return future


class SimLoop(asyncio.SelectorEventLoop):
    """``settle`` is waited for in each turn; ``worked`` is called after each piece of a thread's work."""

    def __init__(self, settle: Callable[[], None], worked: Callable[[], None]) -> None:
        self._jumping = _Selector(settle)
        super().__init__(self._jumping)
        self.set_default_executor(_AtOnce(worked))

    def time(self) -> float:
        return self._jumping.now


def run(main: Coroutine[Any, Any, T], loop: SimLoop) -> T:
    """As ``asyncio.run``."""
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()
