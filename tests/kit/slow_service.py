"""A Blob service behind a slow line, or slow itself: it takes writes, and keeps nothing."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

_SMALLEST_BUFFER = 4096
"""So that the kernel takes in nothing beyond what was read."""


class SlowService:
    """``bytes_per_s`` is what it reads of each connection, ``answer_s`` its time to answer."""

    def __init__(self, bytes_per_s: float = float("inf"), answer_s: float = 0.0) -> None:
        self._bytes_per_s, self._answer_s = bytes_per_s, answer_s
        self._listener = socket.socket()
        if bytes_per_s < float("inf"):
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALLEST_BUFFER)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def endpoint(self) -> str:
        """With the account in the path, as an emulator has it."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/acct"

    def close(self) -> None:
        """Accept no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with suppress(OSError), sock, sock.makefile("rb", buffering=0) as raw:
            held = b""
            while True:
                while b"\r\n\r\n" not in held:
                    piece = raw.read(1 << 16)
                    if not piece:
                        return
                    held += piece
                head, _, held = held.partition(b"\r\n\r\n")
                held = self._read_body(raw, held, _length(head))
                if self._answer_s:
                    time.sleep(self._answer_s)
                sock.sendall(_answer(head))

    def _read_body(self, raw: socket.SocketIO, held: bytes, length: int) -> bytes:
        while len(held) < length:
            piece = raw.read(1 << 16)
            if not piece:
                raise ConnectionResetError
            held += piece
            time.sleep(len(piece) / self._bytes_per_s)
        return held[length:]


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _answer(head: bytes) -> bytes:
    if head.startswith(b"PUT"):
        return b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"
    return b"HTTP/1.1 404 Not Found\r\nx-ms-error-code: BlobNotFound\r\nContent-Length: 0\r\n\r\n"
