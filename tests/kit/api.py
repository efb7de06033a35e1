"""A running server of the job API, and clients that talk to it: a plain one, and Microsoft's own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from socket import AF_UNIX, socket
from ssl import create_default_context
from typing import Any

from agent.api.tokens import tokens_of
from agent.model.roles import Role
from fixtures.certificates import Certificates
from tests.kit import killing

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
GROUP = "ingest"
KEY = "000011-111111-222222-333333-444444-555555-666666-720885"
SAMPLES = killing.CHECKOUT / "tests/data/rest"
VERSION = "2021-01-01"
WAIT_S = 60
ADDRESS = {
    "recipientName": "A. Person",
    "streetAddress1": "1 Quay",
    "city": "Port",
    "postalCode": "00001",
    "countryOrRegion": "XX",
    "phone": "1",
    "email": "a@example.com",
}
SHIP: dict[str, Any] = {
    "state": "Shipping",
    "deliveryPackage": {
        "carrierName": "FedEx",
        "trackingNumber": "TRK1",
        "driveCount": 1,
        "shipDate": "8/11/2017 9:05:00 PM",
    },
}
"""The properties of an update that ships a job."""

LOCATION = """
[[api.location]]
name = "West US"
recipient_name = "Ingest desk"
street_address1 = "2 Dock"
city = "Port"
state_or_province = "PT"
postal_code = "00002"
country_or_region = "XX"
phone = "1000000001"
supported_carriers = ["FedEx"]
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """``body`` is the JSON of it; None where there is none."""

    status: int
    body: Any
    headers: dict[str, str]

    @property
    def code(self) -> str:
        """That of an error."""
        return str(self.body["error"]["code"])

    @property
    def message(self) -> str:
        """That of an error."""
        return str(self.body["error"]["message"])


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=WAIT_S)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket(AF_UNIX)
        self.sock.settimeout(WAIT_S)
        self.sock.connect(self._path)


@dataclass
class Server:
    """``base_url`` is the one over TLS."""

    folder: Path
    environment: dict[str, str]
    process: subprocess.Popen[str]
    certificates: Certificates
    base_url: str = ""
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def socket(self) -> Path:
        """The Unix socket."""
        return self.folder / "api.sock"

    def token(self, role: str, name: str | None = None) -> str:
        """A new one, or the one of that name that was made before."""
        called = name or role
        if called not in self.tokens:
            made = tokens_of(self.folder / "state").create(called, Role(role), None)
            self.tokens[called] = made[1].reveal()
        return self.tokens[called]

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Over TLS with a token, else over the Unix socket. ``body``: bytes as they are, or JSON."""
        connection: HTTPConnection = _UnixConnection(self.socket)
        sent = {"Content-Type": "application/json", **(headers or {})}
        if token is not None:
            context = create_default_context(cafile=self.certificates.authority)
            place = self.base_url.removeprefix("https://")
            connection = HTTPSConnection(place, context=context, timeout=WAIT_S)
            sent["Authorization"] = f"Bearer {token}"
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        parsed = json.loads(text) if text else None
        return Answer(response.status, parsed, {k.lower(): v for k, v in response.getheaders()})

    def of_job(self, method: str, job: str, body: Any = None, *, rest: str = "", **options: Any) -> Answer:
        """About one job of the group."""
        return self.ask(method, job_path(job, rest), body, **options)

    def said(self) -> str:
        """Its log."""
        return (self.folder / "log").read_text("utf-8")


def job_path(job: str, rest: str = "", version: str = VERSION) -> str:
    """A job's path, and what follows on it."""
    return f"{group_path()}/jobs/{job}{rest}?api-version={version}"


def group_path() -> str:
    """The provider in the group."""
    return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.ImportExport"


def put_body(*serials: str, key: str | None = KEY, **properties: Any) -> dict[str, Any]:
    """A request as the samples have it, for drives of these serial numbers."""
    body: dict[str, Any] = json.loads((SAMPLES / "put-job.request.json").read_text("utf-8"))
    drive = body["properties"]["driveList"][0]
    del drive["bitLockerKey"]
    if key is not None:
        drive["bitLockerKey"] = key
    drives = [{**drive, "driveId": serial} for serial in serials]
    return {**body, "properties": {**body["properties"], "driveList": drives, **properties}}


@contextmanager
def serving(
    folder: Path,
    certificates: Certificates,
    *,
    command: tuple[str, ...] = ("api", "serve"),
    api: str = "",
    rest: str = "",
) -> Iterator[Server]:
    """The real command, at a Unix socket and at a port of this machine over TLS."""
    settings = folder / "agent.toml"
    settings.write_text(
        f'state_dir = "{folder}/state"\n'
        f'[api]\nsocket = "{folder}/api.sock"\nlisten = "127.0.0.1:0"\n'
        f'certificate = "{certificates.server}"\ncertificate_key = "{certificates.server_key}"\n'
        f"{api}\n{LOCATION}\n{rest}"
    )
    environment = {"INGEST_AGENT_CONFIG": str(settings), "PYTHONPATH": str(killing.CHECKOUT)}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            killing.command(*command),
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stderr=log,
            text=True,
        )
    server = Server(folder, environment, process, certificates)
    try:
        server.base_url = _address(server)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(WAIT_S)
        finally:
            process.kill()


def _address(server: Server) -> str:
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        found = re.search(r"https://127\.0\.0\.1:[0-9]+", server.said())
        if found is not None:
            return found[0]
        assert server.process.poll() is None, server.said()
        time.sleep(0.05)
    raise AssertionError(server.said())


class Sdk:
    """One version of Microsoft's client, in an environment of its own."""

    def __init__(self, python: Path, server: Server, token: str, base_url: str | None = None) -> None:
        program = killing.CHECKOUT / "tests/clients/sdk_program.py"
        places = (base_url or server.base_url, SUBSCRIPTION, GROUP, str(server.certificates.authority))
        self._process = subprocess.Popen(
            [str(python), "-W", "ignore", str(program), *places],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._write(token)

    def __call__(self, do: str, **asked: Any) -> Any:
        """What it returned; raises Refused."""
        self._write(json.dumps({"do": do, **asked}))
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the client's program ended"
        answer = json.loads(line)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["value"]

    def close(self) -> None:
        """The end of its program."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(WAIT_S)
        self._process.stdout.close()

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


class Refused(Exception):
    """What the client made of a refusal: ``type``, ``status``, ``code``, ``message``, ``details``."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__(json.dumps(told))
        self.told = told
