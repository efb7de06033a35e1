"""Serves /metrics, /healthz and /readyz over HTTP/1.1, on a Unix socket or to this machine alone.

One request a connection, GET or HEAD, no body: what Prometheus, curl and service managers send. Whoever
is slow or says too much is hung up on.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from agent.config import Listen
from agent.errors import ConfigInvalid

MAX_HEAD_BYTES = 8192
MAX_CONNECTIONS = 16
WITHIN_S = 10.0
SOCKET_MODE = 0o660


@dataclass(frozen=True, slots=True)
class Answer:
    """To one request."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


Handler = Callable[[str, str], Awaitable[Answer]]
"""From a path and the Accept header to an answer."""


@asynccontextmanager
async def serving(listen: Listen, handler: Handler) -> AsyncIterator[None]:
    """As long as the block runs. Raises ConfigInvalid when the place cannot be had."""
    turns = asyncio.Semaphore(MAX_CONNECTIONS)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if turns.locked():
            writer.transport.abort()
            return
        async with turns:
            await _converse(reader, writer, handler)

    try:
        server = await _server(listen, connected)
    except OSError as error:
        place = listen.path or f"{listen.host}:{listen.port}"
        raise ConfigInvalid(f"metrics cannot be served on {place}: {error.strerror}") from None
    async with server:
        try:
            yield
        finally:
            if listen.path is not None:
                listen.path.unlink(missing_ok=True)


Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _server(listen: Listen, connected: Connected) -> asyncio.Server:
    if listen.path is None:
        return await asyncio.start_server(connected, listen.host, listen.port, limit=MAX_HEAD_BYTES)
    _clear(listen.path)
    # The socket gets its mode before anybody can connect to it.
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(os.fspath(listen.path))
        listen.path.chmod(SOCKET_MODE)
        return await asyncio.start_unix_server(connected, sock=bound, limit=MAX_HEAD_BYTES)
    except OSError:
        bound.close()
        raise


def _clear(path: Path) -> None:
    """What a killed run left there; never anything but a socket."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler) -> None:
    try:
        async with asyncio.timeout(WITHIN_S):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(await _respond(head, handler))
            await writer.drain()
    except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def _respond(head: bytes, handler: Handler) -> bytes:
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return _bytes(Answer(HTTPStatus.BAD_REQUEST, b"no HTTP/1 request\n"), "GET")
    method, target, _ = words
    if method not in ("GET", "HEAD"):
        return _bytes(Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"GET or HEAD\n"), method)
    return _bytes(await handler(target.partition("?")[0], _header(lines, "accept")), method)


def _header(lines: list[str], name: str) -> str:
    found = (line.partition(":") for line in lines[1:])
    return next((value.strip() for key, _, value in found if key.strip().lower() == name), "")


def _bytes(answer: Answer, method: str) -> bytes:
    head = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\n"
        f"Content-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + (b"" if method == "HEAD" else answer.body)
