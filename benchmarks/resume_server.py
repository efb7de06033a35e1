"""Serves a ``RememberingStore`` over HTTP/1.1 on loopback, from one thread of this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.resume_store import Put, RememberingStore, Request
from benchmarks.sink import ACCOUNT

_BUFFER_BYTES = 1 << 20


class _Connection(asyncio.BufferedProtocol):
    """Requests with lengths, one after the other; bodies are dropped as they come, but for short XML."""

    def __init__(self, store: RememberingStore) -> None:
        self._store = store
        self._buffer = bytearray(_BUFFER_BYTES)
        self._held = 0
        self._request: Request | None = None
        self._put: Put | None = None
        self._left = 0
        self._body: bytearray | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, _: int) -> memoryview:
        return memoryview(self._buffer)[self._held :]

    def buffer_updated(self, count: int) -> None:
        end, at = self._held + count, 0
        while at < end or self._request is not None:
            if self._request is None:
                stop = self._buffer.find(b"\r\n\r\n", at, end)
                if stop < 0:
                    break
                self._begin(bytes(self._buffer[at:stop]))
                at = stop + 4
            taken = min(self._left, end - at)
            if self._body is not None:
                self._body += self._buffer[at : at + taken]
            self._left -= taken
            at += taken
            if self._left:
                break
            self._answer()
        rest = bytes(self._buffer[at:end])
        self._held = len(rest)
        self._buffer[: len(rest)] = rest
        if self._held == len(self._buffer):
            self._transport.abort()

    def _begin(self, head: bytes) -> None:
        request = self._request = Request.parse(head)
        self._put, self._left = self._store.begin(request), request.body_bytes
        self._body = bytearray() if request.verb == "blocklist" else None

    def _answer(self) -> None:
        assert self._request is not None
        request, self._request = self._request, None
        self._transport.write(self._store.finish(request, self._put, bytes(self._body or b"")))


@contextmanager
def serving(store: RememberingStore) -> Iterator[str]:
    """The endpoint of a path-style account, until the end of the context."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    servers: list[asyncio.Server] = []

    async def open_door() -> None:
        servers.append(await loop.create_server(lambda: _Connection(store), "127.0.0.1", 0))
        ready.set()

    def serve() -> None:
        loop.run_until_complete(open_door())
        loop.run_forever()

    thread = threading.Thread(target=serve)
    thread.start()
    ready.wait()
    try:
        yield f"http://127.0.0.1:{servers[0].sockets[0].getsockname()[1]}/{ACCOUNT}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(_closed(servers[0]))
        loop.close()


async def _closed(server: asyncio.Server) -> None:
    server.close()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
