"""Serves the API: on a Unix socket, and over TLS where the settings ask for it."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from agent.api.door import Door
from agent.api.envelope import Envelope
from agent.api.failures import Failures
from agent.api.feed import Feed
from agent.api.gate import Gate
from agent.api.protocol import MAX_CONNECTIONS, Protocol
from agent.api.routes import Api
from agent.api.tls import context_of, renew
from agent.api.tokens import TokenStore
from agent.catalog import Catalog
from agent.config.api import ApiSettings, TcpSettings
from agent.errors import ConfigInvalid
from agent.telemetry import Log

SOCKET_MODE = 0o660
BACKLOG = 128
MAX_HEAD_BYTES = 64 * 1024
KEEP_ALIVE_S = 30
END_WITHIN_S = 5
DEAF_AFTER_S = 30.0
"""Who takes nothing of an answer for so long over a network is hung up on, by the kernel."""


@asynccontextmanager
async def serving(
    catalog: Catalog, settings: ApiSettings, tokens: TokenStore, log: Log
) -> AsyncIterator[tuple[str, ...]]:
    """As long as the block runs; gives the places where. Raises ConfigInvalid when one cannot be had."""
    feed = Feed(catalog, log)
    gate = Gate(tokens, settings.socket_role, catalog, log, Failures())
    api = Api(catalog, settings, feed).app()
    with _bound(settings, log) as bound:
        servers = [_server(api, gate, one, log) for one in bound]
        work = [
            asyncio.create_task(_supervised(server, listening, log))
            for server, (listening, _) in zip(servers, bound, strict=True)
        ]
        watching = [asyncio.create_task(feed.run())]
        if settings.tcp is not None:
            (context,) = [found for _, found in bound if found is not None]
            watching.append(asyncio.create_task(renew(settings.tcp, context, log)))
        places = tuple(_shown(listening) for listening, _ in bound)
        log.info("api.serves", places=", ".join(places) or "nowhere")
        try:
            yield places
        finally:
            feed.close()
            for server in servers:
                server.should_exit = True
            for task in watching:
                task.cancel()
            await asyncio.wait([*work, *watching])


class _Server(uvicorn.Server):
    """One whose signals are its owner's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _TlsServer(_Server):
    """One whose connections come in by a door."""

    def __init__(
        self, config: uvicorn.Config, listening: socket.socket, context: ssl.SSLContext, log: Log
    ) -> None:
        super().__init__(config)
        self._door = Door(listening, context, self._protocol, log)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.servers, self.started = [], True

    async def main_loop(self) -> None:
        door = asyncio.create_task(self._door.run())
        try:
            await super().main_loop()
        finally:
            door.cancel()
            await asyncio.wait([door])

    def _protocol(self) -> Protocol:
        return Protocol(config=self.config, server_state=self.server_state, app_state={})


async def _supervised(server: _Server, listening: socket.socket, log: Log) -> None:
    """What ends a server ends nothing else."""
    try:
        await server.serve(sockets=[listening])
    except Exception as error:  # noqa: BLE001 - a supervisor
        log.error("api.ended", error=type(error).__name__)


def _server(api: ASGIApp, gate: Gate, bound: _Bound, log: Log) -> _Server:
    """Each place has its own crowd: that of the network keeps nobody from the socket."""
    listening, context = bound

    def is_full() -> bool:
        return len(server.server_state.connections) > MAX_CONNECTIONS

    config = _config(Envelope(api, gate, log, is_full=is_full))
    server = _Server(config) if context is None else _TlsServer(config, listening, context, log)
    return server


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        loop="none",
        interface="asgi3",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=END_WITHIN_S,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
    )


_Bound = tuple[socket.socket, ssl.SSLContext | None]


@contextmanager
def _bound(settings: ApiSettings, log: Log) -> Iterator[list[_Bound]]:
    """Sockets that listen; the Unix socket is gone from the file system at the end."""
    found: list[_Bound] = []
    path: Path | None = None
    try:
        if settings.tcp is not None:
            context = context_of(settings.tcp)
            found.append((_tcp(settings.tcp), context))
        if settings.socket is not None and (listening := _unix(settings.socket, settings, log)) is not None:
            path = settings.socket
            found.append((listening, None))
        yield found
    finally:
        for listening, _ in found:
            listening.close()
        if path is not None:
            path.unlink(missing_ok=True)


def _tcp(settings: TcpSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections have it from here; asyncio itself waits for ever for who does not read.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(DEAF_AFTER_S * 1000))
        listening.bind((settings.host, settings.port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        place = f"{settings.host}:{settings.port}"
        raise ConfigInvalid(f"the API cannot be served on {place}: {error.strerror}") from None
    return listening


def _unix(path: Path, settings: ApiSettings, log: Log) -> socket.socket | None:
    """None where nobody asked for it by name, and it cannot be had."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear(path)
        # The socket gets its mode before anybody can connect to it.
        listening.bind(os.fspath(path))
        path.chmod(SOCKET_MODE)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        why = error.strerror or str(error)
        if settings.is_chosen:
            raise ConfigInvalid(f"the API cannot be served on {path}: {why}") from None
        log.warning("api.unserved", socket=str(path), why=why, next="name another place with api.socket")
        return None
    return listening


def _clear(path: Path) -> None:
    """What a killed run left there; never anything but a socket, and never one that somebody serves."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            try:
                probe.connect(os.fspath(path))
            except (ConnectionRefusedError, FileNotFoundError):
                path.unlink(missing_ok=True)


def _shown(listening: socket.socket) -> str:
    name = listening.getsockname()
    if listening.family == socket.AF_UNIX:
        return f"unix:{name}"
    host = f"[{name[0]}]" if listening.family == socket.AF_INET6 else name[0]
    return f"https://{host}:{name[1]}"
