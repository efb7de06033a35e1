"""A proxy before a store that counts the bodies which pass, and tells somebody at a chosen one.

One thread a connection. It reads what a client sends as HTTP/1.1 with lengths, and passes the answers on
as they come.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Put:
    """A PUT that began to pass: the path without the account, the block id if it is one, its bytes."""

    path: str
    verb: str
    block_id: str
    body_bytes: int


class CountingProxy:
    """``puts`` grows while clients work; ``passed`` is called with its length, after a PUT was passed on."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.puts: list[Put] = []
        self.passed: Callable[[int], None] = lambda count: None
        self._is_closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens, on the loopback interface."""
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        """Accept no more."""
        self._is_closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._address)
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
            threading.Thread(target=_pump, args=(server, client), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError), client.makefile("rb") as stream:
            while head := _head(stream):
                self._pass(head, stream, server)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _pass(self, head: bytes, stream: socket.SocketIO, server: socket.socket) -> None:
        method, target = head.split(b" ", 2)[:2]
        length = left = _length(head)
        server.sendall(head)
        while left:
            data = stream.read(min(left, _CHUNK_BYTES))
            if not data:
                return
            server.sendall(data)
            left -= len(data)
        if method == b"PUT":
            self.puts.append(_put(target.decode("latin-1"), head, length))
            self.passed(len(self.puts))


def _head(stream: socket.SocketIO) -> bytes:
    lines = []
    while line := stream.readline():
        lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)
    return b""


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _put(target: str, head: bytes, length: int) -> Put:
    split = urlsplit(target)
    query = parse_qs(split.query)
    verb = query.get("comp", query.get("restype", ["blob"]))[0]
    path = unquote(split.path).split("/", 2)[2]
    return Put(path, verb, query.get("blockid", [""])[0], length)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(_CHUNK_BYTES):
            target.sendall(data)
    for sock in (source, target):
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()
