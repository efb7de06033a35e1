"""Connections to the job API that nobody who means well makes: slow, silent, deaf, many."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPResponse
from pathlib import Path

import pytest

from agent.api import serving as at
from agent.api.tokens import TokenStore
from agent.config.api import ApiSettings, TcpSettings
from agent.model.roles import Role
from fixtures.certificates import Certificates
from tests.kit.api import Server, job_path, serving
from tests.kit.log import KeptLog
from tests.unit.catalog_cases import opened_at_once


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("api"), certificates) as found:
        yield found


def _all(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def test_a_slow_head_is_hung_up_on(server: Server) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(30)
        raw.connect(str(server.socket))
        raw.sendall(b"GET / HTTP/1.1\r\nHost:")
        assert _all(raw) == b""


def test_a_crowd_is_told_to_come_again_and_goes_away_by_itself(
    tmp_path: Path, certificates: Certificates
) -> None:
    with serving(tmp_path, certificates) as server, ExitStack() as crowd:
        asked = server.ask("GET", "/openapi.json")
        assert asked.status == 200
        for _ in range(140):
            idle = crowd.enter_context(socket.socket(socket.AF_UNIX))
            idle.connect(str(server.socket))
        answer = server.ask("GET", "/openapi.json")
        assert (answer.status, answer.code) == (503, "ServerBusy")
        until = time.monotonic() + 60
        while server.ask("GET", "/openapi.json").status == 503 and time.monotonic() < until:
            time.sleep(0.2)
        assert server.ask("GET", "/openapi.json").status == 200


def test_who_does_not_finish_a_handshake_takes_few_descriptors_and_is_hung_up_on(
    tmp_path: Path, certificates: Certificates
) -> None:
    with serving(tmp_path, certificates) as server, ExitStack() as crowd:
        token = server.token("reader")
        assert server.ask("GET", "/openapi.json", token=token).status == 200
        descriptors = Path(f"/proc/{server.process.pid}/fd")
        before = len(list(descriptors.iterdir()))
        address = ("127.0.0.1", int(server.base_url.rpartition(":")[2]))
        silent = [crowd.enter_context(socket.create_connection(address, 30)) for _ in range(150)]
        # Over the other socket: what was connected before has been seen when this is answered.
        assert server.ask("GET", "/openapi.json").status == 200
        assert len(list(descriptors.iterdir())) - before <= 80
        assert silent[0].recv(1) == b""
        for one in silent:
            one.close()
        assert server.ask("GET", "/openapi.json", token=token).status == 200


def test_a_body_that_nobody_waits_for_keeps_no_connection(server: Server) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(20)
        raw.connect(str(server.socket))
        raw.sendall(b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        assert raw.recv(1) == b"H"
        raw.sendall(b"x")
        assert _all(raw).startswith(b"TTP/1.1 404")


def test_a_body_that_comes_after_its_answer_ends_no_connection(server: Server) -> None:
    request = b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(20)
        raw.connect(str(server.socket))
        for _ in range(3):
            raw.sendall(request)
            answer = HTTPResponse(raw)
            answer.begin()
            assert answer.status == 404
            answer.read()
            raw.sendall(b"{}")


def test_a_crowd_on_the_network_keeps_nobody_from_the_socket(
    tmp_path: Path, certificates: Certificates
) -> None:
    with serving(tmp_path, certificates) as server, ExitStack() as crowd:
        token = server.token("operator")
        # A body that does not come is waited for longer than it takes to make the crowd.
        request = f"PUT {job_path('late')} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        context = ssl.create_default_context(cafile=certificates.authority)
        address = ("127.0.0.1", int(server.base_url.rpartition(":")[2]))
        for _ in range(140):
            plain = crowd.enter_context(socket.create_connection(address, 30))
            late = crowd.enter_context(context.wrap_socket(plain, server_hostname="127.0.0.1"))
            late.sendall(f"{request}Content-Length: 9\r\n\r\n".encode())
        assert server.ask("GET", "/openapi.json", token=token).status == 503
        assert server.ask("GET", "/openapi.json").status == 200


async def test_who_reads_no_answer_is_hung_up_on(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Watched(at.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            lost.set()

    lost = asyncio.Event()
    monkeypatch.setattr(at, "Protocol", Watched)
    monkeypatch.setattr(at, "DEAF_AFTER_S", 0.5)
    tokens = TokenStore(tmp_path / "tokens.json")
    secret = tokens.create("wall", Role.READER, None)[1].reveal()
    tcp = TcpSettings("127.0.0.1", 0, certificates.server, certificates.server_key)
    context = ssl.create_default_context(cafile=certificates.authority)
    request = f"GET /openapi.json HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\n\r\n".encode()
    async with (
        opened_at_once(tmp_path) as catalog,
        at.serving(catalog, ApiSettings(tcp=tcp), tokens, KeptLog()) as (place,),
    ):
        port = int(place.rpartition(":")[2])
        # It reads no more than its limit as long as nobody asks for it.
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, limit=1024)
        writer.write(request * 400)
        async with asyncio.timeout(20):
            await lost.wait()
        writer.transport.abort()
        await asyncio.sleep(0.05)
