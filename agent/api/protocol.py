"""HTTP/1.1 as uvicorn speaks it, with deadlines for slow heads, and the users behind Unix sockets.

Source of the credentials: unix(7), SO_PEERCRED.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from agent.api.gate import UNIX
from agent.api.problems import ArmError

HEAD_WITHIN_S = 5.0
"""Also for what is left of a body that was answered before it had come."""
MAX_CONNECTIONS = 128
"""Beyond these a request is told to come again; beyond twice as many nobody is listened to."""
_CREDENTIALS = struct.Struct("3i")


class Protocol(H11Protocol):
    """One connection."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The client is its address, or ``unix`` and the number of its user."""
        super().connection_made(transport)
        bound = transport.get_extra_info("socket")
        if bound is not None and bound.family == socket.AF_UNIX:
            packed = bound.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            self.client = (UNIX, _CREDENTIALS.unpack(packed)[1])
        if len(self.connections) > 2 * MAX_CONNECTIONS:
            transport.abort()
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever hung up is not waited for."""
        self._forget_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A head that does not come to its end in time ends the connection."""
        super().data_received(data)
        self._expect_head()

    def on_response_complete(self) -> None:
        """The next head may have begun already."""
        super().on_response_complete()
        self._expect_head()

    def _expect_head(self) -> None:
        if not self._is_awaited():
            self._forget_head()
        elif self._late is None and not self.transport.is_closing():
            self._late = self.loop.call_later(HEAD_WITHIN_S, self._hang_up)

    def _is_awaited(self) -> bool:
        """The next thing is the client's to say, and nobody else looks at the time."""
        is_rest = self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE
        return is_rest or self.conn.their_state is h11.IDLE

    def _forget_head(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _hang_up(self) -> None:
        self._late = None
        if self._is_awaited():
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP at all is answered as everything else is."""
        told = "this is no HTTP/1.1 request, or its head is too long"
        body = json.dumps(ArmError(400, "BadRequest", told).to_json()).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        answer: list[Any] = [
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ]
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            for event in answer:
                self.transport.write(self.conn.send(event))
        self.transport.close()
