"""A receiver of web-hooks over TLS that checks signatures as Standard Webhooks says, on its own."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from fixtures.certificates import Certificates

SECRET_BYTES = b"0123456789abcdef0123456789CANARY"
SECRET = "whsec_" + base64.b64encode(SECRET_BYTES).decode()


@dataclass
class Receiver:
    """``answers`` are given in turn, the last one for ever: a status, or what is to be misdone."""

    answers: list[str] = field(default_factory=lambda: ["204 No Content"])
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    sent_bytes: int = 0
    port: int = 0
    open: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/hooks/path-CANARY"

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]

    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]

    def is_signed(self, number: int = -1, key: bytes = SECRET_BYTES) -> bool:
        headers, body = self.got[number]
        told = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
        right = base64.b64encode(hmac.new(key, told, hashlib.sha256).digest()).decode()
        return any(hmac.compare_digest(f"v1,{right}", one) for one in headers["webhook-signature"].split())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.open.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                await self._converse(reader, writer)
        finally:
            writer.transport.abort()
            self.open.discard(task)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in head[1:])}
        body = await reader.readexactly(int(headers["content-length"]))
        self.got.append((headers, body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        match answer:
            case "silence":
                await reader.read()
            case "hang up":
                return
            case "flood":
                await self._flood(
                    writer, b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", b"x" * 65536
                )
            case "headers without end":
                await self._flood(writer, b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"y" * 4000 + b"\r\n")
            case _:
                writer.write(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
                await reader.read()

    async def _flood(self, writer: asyncio.StreamWriter, begin: bytes, more: bytes) -> None:
        writer.write(begin)
        while True:
            writer.write(more)
            await writer.drain()
            self.sent_bytes += len(more)


@asynccontextmanager
async def received(certificates: Certificates, *answers: str, port: int = 0) -> AsyncIterator[Receiver]:
    """One at a port of this machine."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.server_key)
    receiver = Receiver(list(answers) or ["204 No Content"])
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", port, ssl=context)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        # Connections end in later turns of the loop than the listener.
        while receiver.open:
            await asyncio.wait(receiver.open, timeout=5)
        await asyncio.sleep(0.02)
