"""One keep-alive connection: sends a request from the buffers it lies in, and reads the answer.

It belongs to one thread at a time and blocks it; only ``acked_bytes`` and ``cut`` may be called by
another. There are no timeouts on the socket: they would cost a system call each, and know nothing of
what the kernel still holds. Whoever sees that ``acked_bytes`` stands still cuts.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import suppress

from agent.blobs.wire.answer import RECEIVE_BYTES, Answer, Incoming
from agent.blobs.wire.tcp_info import acked_bytes, line
from agent.blobs.wire.trouble import BadAnswer, NoAnswer, why

WINDOW_BYTES = 512 << 10
"""Sent at once: fits the L2 cache, and is progress that can be seen."""

WINDOW_PIECES = 256
"""Of a system call; the kernel takes 1,024."""

JOIN_BYTES = 32 << 10
"""Over TLS, up to here one record and one system call are cheaper than no copy."""


Request = tuple[bytes, Sequence[memoryview]]
"""Head and body."""


class Connection:
    """Over an open TCP socket without timeout."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._is_tls = isinstance(sock, ssl.SSLSocket)
        self._incoming = Incoming(self._receive)
        self._arrival = select.poll()
        self._arrival.register(sock, select.POLLIN)
        self._ended: str | None = None
        self.is_fresh = True
        """No request was answered on it yet."""
        self.is_cut = False
        self.is_spent = False
        """Nothing more can be sent on it."""
        self.is_sending = False
        """What is to be sent was not all given to the kernel yet."""

    def is_stale(self) -> bool:
        """Something came since the last answer, which can only be its end."""
        return bool(self._arrival.poll(0))

    def exchange(self, head: bytes, body: Sequence[memoryview]) -> Answer:
        """Send a request and read its answer, also one that comes before all is sent.

        No view of ``body`` is left over when it ends, however it ends. Raises NoAnswer, BrokenOff and
        BadAnswer.
        """
        self.is_spent = self.is_sending = True
        try:
            early = self._send(head, body)
        except OSError as trouble:
            early = self._last_words(why(trouble))
        self.is_sending = False
        if early is not None:
            return _no(early)
        answer = self._answer(has_body=not head.startswith(b"HEAD "))
        self.is_fresh = False
        self.is_spent = answer.is_last or not self._incoming.is_empty
        return answer

    def acked_bytes(self) -> int:
        """How much of all that was ever sent has arrived."""
        return acked_bytes(self._sock)

    def line(self) -> tuple[bool, float]:
        """See ``agent.blobs.wire.tcp_info.line``."""
        return line(self._sock)

    def cut(self, reason: str) -> None:
        """End at once whatever is under way on it; what has arrived can still be read."""
        self._ended, self.is_cut = reason, True
        with suppress(OSError):
            # Not SSLSocket.shutdown: that would have a thread that goes on writing write in the clear.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Not while a request is under way. Idempotent."""
        self.is_spent = True
        self._sock.close()

    def _send(self, head: bytes, body: Sequence[memoryview]) -> Answer | None:
        for number, window in enumerate(windows(head, body)):
            if number and self._has_arrived():
                early = self._incoming.interim_or_last()
                if early.status >= 200:
                    return early
            if self._is_tls:
                self._send_tls(window)
            else:
                self._send_plain(window)
        return None

    def _send_plain(self, window: list[memoryview]) -> None:
        left = sum(map(len, window)) - self._sock.sendmsg(window)
        while left:
            rest = list(_tail(window, left))
            left -= self._sock.sendmsg(rest)

    def _send_tls(self, window: list[memoryview]) -> None:
        if sum(map(len, window)) <= JOIN_BYTES:
            self._sock.sendall(b"".join(window))
            return
        for part in window:
            self._sock.sendall(part)

    def _has_arrived(self) -> bool:
        """Whether the service speaks already. What the TLS layer has to say does not count."""
        if not self._arrival.poll(0):
            return False
        self._sock.setblocking(False)
        try:
            piece = self._sock.recv(RECEIVE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        finally:
            self._sock.setblocking(True)
        if not piece:
            raise ConnectionResetError
        self._incoming.push(piece)
        return True

    def _last_words(self, reason: str) -> Answer:
        """What the service said before it hung up on us."""
        self._ended = self._ended or reason
        try:
            return self._incoming.answer()
        except NoAnswer:
            raise NoAnswer(self._ended) from None

    def _answer(self, *, has_body: bool) -> Answer:
        try:
            return self._incoming.answer(has_body=has_body)
        except NoAnswer as trouble:
            raise NoAnswer(self._ended or trouble.why) from None

    def _receive(self, count: int) -> bytes:
        try:
            return self._sock.recv(count)
        except OSError as trouble:
            self._ended = self._ended or why(trouble)
            return b""


def _no(early: Answer) -> Answer:
    """An answer to a request that was not sent whole: the service can only have refused it."""
    if early.status < 300:
        raise BadAnswer("it says yes to a body that was not sent whole")
    return early


def windows(head: bytes, body: Sequence[memoryview]) -> Iterator[list[memoryview]]:
    """Views over the head and the body in order, in lists to be sent at once; the first has the head."""
    window, room = [memoryview(head)], WINDOW_BYTES
    for piece in body:
        flat = piece.cast("B")
        while len(flat):
            window.append(flat[:room])
            flat = flat[room:]
            room -= len(window[-1])
            if not room or len(window) == WINDOW_PIECES:
                yield window
                window, room = [], WINDOW_BYTES
    if window:
        yield window


def _tail(window: Sequence[memoryview], count: int) -> Iterator[memoryview]:
    """Views over the last ``count`` bytes."""
    skip = sum(map(len, window)) - count
    for part in window:
        if skip < len(part):
            yield part[skip:]
        skip = max(0, skip - len(part))
