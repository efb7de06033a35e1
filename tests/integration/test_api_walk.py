"""From create to Completed: Microsoft's clients, the daemon itself, and a BitLocker drive in a bay."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

from fixtures.certificates import Certificates
from fixtures.install_clients import CannotInstall, python_of
from tests.kit.api import SHIP, Sdk, Server, put_body, serving
from tests.kit.whole_drive import WholeDrive, make

WAIT_S = 240
VERSIONS = {"0.1.0": ("old-walk", "WD-OLD-1", "dem1"), "1.0.0b1": ("new-walk", "WD-NEW-1", "dem2")}


@pytest.fixture(scope="module")
def drives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, WholeDrive]:
    folder = tmp_path_factory.mktemp("drives")
    return {version: make(folder, serial, place) for version, (_, serial, place) in VERSIONS.items()}


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates, drives: dict[str, WholeDrive]
) -> Iterator[Server]:
    """The daemon, with a drive in each of two bays that no job waits for yet."""
    bays = "".join(
        f'[[image]]\npath = "{drive.image}"\nserial = "{drive.serial}"\n' for drive in drives.values()
    )
    with serving(tmp_path_factory.mktemp("walk"), certificates, command=("run",), rest=bays) as found:
        yield found


@dataclass
class Listener:
    """Server-sent events over TLS, kept as they come."""

    server: Server
    lines: list[str] = field(default_factory=list)

    def run(self) -> None:
        context = ssl.create_default_context(cafile=self.server.certificates.authority)
        place = self.server.base_url.removeprefix("https://")
        connection = HTTPSConnection(place, context=context, timeout=WAIT_S)
        headers = {"Authorization": f"Bearer {self.server.token('reader')}"}
        connection.request("GET", "/events", headers=headers)
        response = connection.getresponse()
        while line := response.readline():
            self.lines.append(line.decode().rstrip("\n"))
        connection.close()

    @property
    def kinds(self) -> list[str]:
        return [line.removeprefix("event: ") for line in self.lines if line.startswith("event: ")]


def _until(found: Callable[[], Any], server: Server) -> Any:
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        if value := found():
            return value
        time.sleep(0.2)
    raise AssertionError(server.said())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_walks_a_job_from_create_to_completed(
    version: str, server: Server, drives: dict[str, WholeDrive]
) -> None:
    job, serial, container = VERSIONS[version]
    drive = drives[version]
    try:
        python = python_of(version)
    except CannotInstall as reason:
        pytest.skip(str(reason))
    operator = server.token("operator")
    sdk, listener = Sdk(python, server, operator), Listener(server)
    hearing = threading.Thread(target=listener.run, daemon=True)
    server.token("reader")
    hearing.start()
    body = put_body(serial, key=drive.recovery_password)
    body["properties"]["driveList"][0]["manifestHash"] = drive.manifest_hash
    try:
        assert sdk("create", job=job, body=body)["properties"]["state"] == "Creating"
        assert sdk("keys", job=job) == [{"drive_id": serial, "bit_locker_key": drive.recovery_password}]
        assert sdk("update", job=job, body={"properties": SHIP})["properties"]["state"] == "Shipping"

        def packed() -> Any:
            found = sdk("get", job=job)["properties"]
            return found if found["state"] not in ("Shipping", "Received", "Transferring") else None

        found = _until(packed, server)
        assert found["state"] == "Packaging", server.said()
        assert found["percent_complete"] == 100
        (worked,) = found["drive_list"]
        assert (worked["state"], worked["copy_status"]) == ("Completed", "Completed")
        assert (worked["percent_complete"], worked["bytes_succeeded"]) == (100, drive.size_bytes)
        assert worked["verbose_log_uri"]
        assert worked["manifest_uri"]
        answer = server.of_job("POST", job, {"note": "box 12"}, rest="/shipBack", token=operator)
        assert answer.status == 200, answer.body
        assert sdk("get", job=job)["properties"]["state"] == "Completed"
        _until(lambda: "job.ship" in listener.kinds and "drive.begin" in listener.kinds, server)
        assert sdk("delete", job=job) is None
    finally:
        sdk.close()
    stored = Path(server.folder / "state" / "blobs" / container)
    assert sum(path.is_file() for path in stored.rglob("*")) >= drive.files
    shown = "\n".join(listener.lines)
    for secret in (drive.recovery_password, operator, server.token("reader")):
        assert secret not in server.said()
        assert secret not in shown


def test_the_daemon_that_serves_ends_in_order(server: Server) -> None:
    server.process.terminate()
    assert server.process.wait(60) == 0
    assert not server.socket.exists()
    assert "api.ended" not in server.said()
