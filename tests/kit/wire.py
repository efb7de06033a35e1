"""A server that follows a script, byte by byte, and a proxy: for what a real service rarely does."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from fixtures.certificates import Certificates

PATIENCE_S = 20.0
CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Request:
    """As it was read."""

    line: str
    headers: dict[str, str]
    body: bytes


class Peer:
    """One connection, from the server's side."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._held = bytearray()

    def head(self) -> tuple[str, dict[str, str]]:
        """The next request's first line and headers, whose names are in lower case."""
        while b"\r\n\r\n" not in self._held:
            self._more()
        end = self._held.index(b"\r\n\r\n")
        line, *rest = bytes(self._held[:end]).decode("ascii").split("\r\n")
        del self._held[: end + 4]
        pairs = [header.split(": ", 1) for header in rest]
        return line, {name.lower(): value for name, value in pairs}

    def take(self, count: int) -> bytes:
        """So many bytes of what follows."""
        while len(self._held) < count:
            self._more()
        taken = bytes(self._held[:count])
        del self._held[:count]
        return taken

    def request(self) -> Request:
        """The next request, whole."""
        line, headers = self.head()
        return Request(line, headers, self.take(int(headers.get("content-length", "0"))))

    def say(self, answer: bytes) -> None:
        """Send bytes."""
        self.sock.sendall(answer)

    def reset(self) -> None:
        """End with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def wait_for_the_end(self) -> None:
        """Read on until the client is gone."""
        with suppress(OSError):
            while self.sock.recv(1 << 16):
                pass

    def _more(self) -> None:
        piece = self.sock.recv(1 << 16)
        if not piece:
            raise ConnectionResetError
        self._held += piece


Script = Callable[[Peer], None]


class Server:
    """``port``, and the number of connections that came."""

    def __init__(self, scripts: tuple[Script, ...], tls: Certificates | None) -> None:
        self._scripts = scripts
        self._context: ssl.SSLContext | None = None
        if tls is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(tls.server, tls.server_key)
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        self.connections = 0
        self.offered: list[str | None] = []
        """The names that clients asked for over TLS."""
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        if self._context is not None:
            self._context.sni_callback = lambda _sock, name, _context: self.offered.append(name)

    @property
    def endpoint(self) -> str:
        """Of a path-style account."""
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}/account"

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._door.accept()
            except OSError:
                return
            sock.settimeout(PATIENCE_S)
            # Else what is said last would wait for an acknowledgement, and a reset would forget it.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            self._open.append(sock)
            self._threads.append(threading.Thread(target=self._follow, args=(script, sock)))
            self._threads[-1].start()

    def _follow(self, script: Script, sock: socket.socket) -> None:
        with suppress(OSError):
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
                self._open.append(sock)
            script(Peer(sock))
        sock.close()

    def close(self) -> None:
        """End every connection and thread."""
        with suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self._threads[0].join(PATIENCE_S)
        for sock in self._open:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join(PATIENCE_S)
        for sock in self._open:
            sock.close()


@contextmanager
def serving(*scripts: Script, tls: Certificates | None = None) -> Iterator[Server]:
    """The first connection follows the first script, and so on; the last one serves all that are left."""
    server = Server(scripts, tls)
    try:
        yield server
    finally:
        server.close()


def taking(seen: list[Request], answer: bytes = CREATED) -> Script:
    """Answers every request alike."""

    def script(peer: Peer) -> None:
        while True:
            seen.append(peer.request())
            peer.say(answer)

    return script


def tunnel(to: int, seen: list[tuple[str, dict[str, str]]]) -> Script:
    """A proxy for CONNECT; whatever it is asked for, it leads to the port ``to`` of this machine."""

    def script(peer: Peer) -> None:
        seen.append(peer.head())
        with ExitStack() as stack:
            far = stack.enter_context(socket.create_connection(("127.0.0.1", to)))
            peer.say(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pump, args=(far, peer.sock))
            back.start()
            _pump(peer.sock, far)
            back.join(PATIENCE_S)

    return script


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
