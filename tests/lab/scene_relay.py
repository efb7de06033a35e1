"""A relay before the store: the one address that the guest knows, whatever becomes of the store behind it.

It takes one request after the other on each connection and writes down what each asked for and what the
store answered, so that nobody has to believe the agent about what it sent. While there is no store,
connections are closed as soon as they are made.
"""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import parse_qs, unquote, urlsplit

_CHUNK_BYTES = 1 << 16
_CONNECT_WITHIN_S = 10.0
_MAX_LINE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that came through whole. ``verb``: ``block``, ``blocklist``, ``blob``, ``container``, ..."""

    method: str
    container: str
    blob: str
    verb: str
    block_id: str
    body_bytes: int
    status: int

    @property
    def is_stored(self) -> bool:
        """Whether bytes of a file were sent and taken."""
        return self.method == "PUT" and self.verb in ("block", "blob", "page") and self.status == 201


class Relay:
    """Listens on the loopback interface; ``target`` is the store's port there, None while it is away."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.target: int | None = None
        self._asked: list[Asked] = []
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def asked(self, container: str) -> list[Asked]:
        """What was asked for in a container so far, in the order of the answers."""
        with self._changed:
            return [one for one in self._asked if one.container == container]

    def wait_for_stored(self, container: str, count: int, within_s: float) -> None:
        """Until so many blocks and blobs were taken there. Raises TimeoutError."""

        def stored() -> int:
            return sum(one.is_stored and one.container == container for one in self._asked)

        with self._changed:
            if not self._changed.wait_for(lambda: stored() >= count, within_s):
                raise TimeoutError(f"{stored()} of {count} blocks came to {container} in {within_s:.0f} s")

    def cut(self) -> None:
        """End all connections, as when the store's machine goes."""
        with self._changed:
            there = list(self._open)
        for sock in there:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Accept no more, and end what there is."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with ExitStack() as stack, suppress(OSError, ValueError):
            stack.callback(client.close)
            target = self.target
            if target is None:
                return
            server = socket.create_connection(("127.0.0.1", target), _CONNECT_WITHIN_S)
            stack.callback(server.close)
            server.settimeout(None)
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._keep(sock)
                stack.callback(self._let_go, sock)
            asking, answering = (stack.enter_context(each.makefile("rb")) for each in (client, server))
            while self._pass(asking, server, answering, client):
                pass

    def _keep(self, sock: socket.socket) -> None:
        with self._changed:
            self._open.add(sock)

    def _let_go(self, sock: socket.socket) -> None:
        with self._changed:
            self._open.discard(sock)

    def _pass(
        self, asking: BinaryIO, server: socket.socket, answering: BinaryIO, client: socket.socket
    ) -> bool:
        """One request and its answer; False when there is no more."""
        head = _head(asking)
        if not head:
            return False
        method, target = (word.decode("latin-1") for word in head.split(b" ", 2)[:2])
        length = int(_field(head, b"content-length") or 0)
        server.sendall(head)
        _copy(asking, server, length)
        answer = _head(answering)
        if not answer:
            return False
        status = int(answer.split(b" ", 2)[1])
        with self._changed:
            self._asked.append(_asked(method, target, length, status))
            self._changed.notify_all()
        client.sendall(answer)
        return _copy_body(method, status, answer, answering, client)


def _asked(method: str, target: str, length: int, status: int) -> Asked:
    split = urlsplit(target)
    query = parse_qs(split.query)
    verb = query.get("comp", query.get("restype", ["blob"]))[0]
    # Path style: /ACCOUNT/CONTAINER/BLOB.
    parts = [*unquote(split.path).split("/", 3), "", "", ""]
    return Asked(method, parts[2], parts[3], verb, query.get("blockid", [""])[0], length, status)


def _head(stream: BinaryIO) -> bytes:
    lines = []
    while line := stream.readline(_MAX_LINE_BYTES):
        lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)
    return b""


def _field(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return b""


def _copy(source: BinaryIO, target: socket.socket, length: int) -> None:
    while length:
        data = source.read(min(length, _CHUNK_BYTES))
        if not data:
            raise ConnectionError("it ended within a body")
        target.sendall(data)
        length -= len(data)


def _copy_body(method: str, status: int, head: bytes, source: BinaryIO, target: socket.socket) -> bool:
    """The body of an answer; False when the connection ends with it."""
    if method == "HEAD" or status in (204, 304) or status < 200:
        return True
    if b"chunked" in _field(head, b"transfer-encoding").lower():
        _copy_chunks(source, target)
        return True
    length = _field(head, b"content-length")
    if length:
        _copy(source, target, int(length))
        return True
    while data := source.read(_CHUNK_BYTES):
        target.sendall(data)
    return False


def _copy_chunks(source: BinaryIO, target: socket.socket) -> None:
    """RFC 9112, 7.1; trailers are passed on as they are."""
    size = 1
    while size:
        line = source.readline(_MAX_LINE_BYTES)
        size = int(line.split(b";")[0], 16)
        target.sendall(line)
        if size:
            _copy(source, target, size + 2)
    while line := source.readline(_MAX_LINE_BYTES):
        target.sendall(line)
        if line == b"\r\n":
            return
