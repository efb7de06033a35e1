"""Takes in connections that are to speak TLS, and no more at once than may still say nothing.

Who connects has shown no token before the handshake is over, and asyncio alone lets any number wait in it for
a minute. Those beyond the bound wait in the kernel, where they cost the station no descriptor.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from agent.telemetry import Log, raised_at

MAX_HANDSHAKES = 64
HANDSHAKE_WITHIN_S = 5.0
CLOSE_WITHIN_S = 5.0
ACCEPT_AGAIN_S = 1.0


class Door:
    """Of one socket that listens; ``made`` makes the protocol of a connection."""

    def __init__(
        self,
        listening: socket.socket,
        context: ssl.SSLContext,
        made: Callable[[], asyncio.Protocol],
        log: Log,
    ) -> None:
        self._listening, self._context, self._made, self._log = listening, context, made, log
        self._room = asyncio.Semaphore(MAX_HANDSHAKES)

    async def run(self) -> None:
        """Until it is cancelled; handshakes under way end with it."""
        self._listening.setblocking(False)
        async with asyncio.TaskGroup() as group:
            while True:
                await self._room.acquire()
                group.create_task(self._shake(await self._accepted()))

    async def _accepted(self) -> socket.socket:
        loop = asyncio.get_running_loop()
        while True:
            try:
                return (await loop.sock_accept(self._listening))[0]
            except ConnectionError:
                # Whoever it was is gone already.
                continue
            except OSError as error:
                self._log.error("api.no_connection", why=error.strerror or str(error))
                await asyncio.sleep(ACCEPT_AGAIN_S)

    async def _shake(self, connection: socket.socket) -> None:
        """What is no TLS, or is too slow for it, is hung up on; nobody knows yet whose it is."""
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._made,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_WITHIN_S,
                ssl_shutdown_timeout=CLOSE_WITHIN_S,
            )
        except OSError:
            pass
        except Exception as error:  # noqa: BLE001 - a supervisor
            connection.close()
            self._log.error("api.handshake", error=type(error).__name__, at=raised_at(error))
        finally:
            self._room.release()
