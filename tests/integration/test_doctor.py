"""``ingest-agent doctor`` with a real store, and with settings that are broken in one place each."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from fixtures.certificates import make as make_certificates
from tests.kit import killing

if TYPE_CHECKING:
    from fixtures.azurite import Azurite

CANARY = "Q0FOQVJZ"
OF_THE_MACHINE = ("device permissions", "state disk")
"""Whoever is not root may not read its disks, and a small one is nearly full."""


class Doctor:
    """The command, with settings of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.chmod(0o700)
        self.key = folder / "store"

    def ask(self, store: str = "", *arguments: str, **environment: str) -> tuple[int, str]:
        settings = self._folder / "agent.toml"
        settings.write_text(f'state_dir = "{self._folder}"\n{store}\n')
        done = subprocess.run(
            killing.command("--config", str(settings), "doctor", *arguments),
            env={**os.environ, "PYTHONPATH": str(killing.CHECKOUT), **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=killing.DEADLINE_S,
        )
        assert CANARY not in done.stdout + done.stderr
        return done.returncode, done.stdout + done.stderr

    def findings(self, store: str = "", **environment: str) -> tuple[int, dict[str, dict[str, str]]]:
        """Without those of the machine that the tests run on, and the exit code that is left then."""
        code, said = self.ask(store, "--json", **environment)
        rows = {row["check"]: row for row in json.loads(said)["value"]}
        assert code == _code(rows)
        rows = {check: row for check, row in rows.items() if check not in OF_THE_MACHINE}
        return _code(rows), rows

    def azure(self, endpoint: str, key: str, **environment: str) -> tuple[int, dict[str, dict[str, str]]]:
        self.key.touch(mode=0o600)
        self.key.write_text(key)
        store = f'[store]\nkind = "azure"\naddress = "{endpoint}"\ncredential_file = "{self.key}"'
        return self.findings(store, **environment)


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    return Doctor(tmp_path)


def _code(found: dict[str, dict[str, str]]) -> int:
    return 5 if any(row["outcome"] == "Failed" for row in found.values()) else 0


def _failed(found: dict[str, dict[str, str]]) -> set[str]:
    assert all(row["fix"] for row in found.values() if row["outcome"] in ("Failed", "Warning"))
    return {check for check, row in found.items() if row["outcome"] == "Failed"}


def test_a_station_that_is_fit_passes(doctor: Doctor, azurite: Azurite) -> None:
    code, found = doctor.azure(azurite.endpoint, azurite.key)
    assert (code, _failed(found)) == (0, set())
    for check in ("containers", "API version", "clock and store", "credential", "credential file"):
        assert found[check]["outcome"] == "Passed", found[check]
    # The emulator speaks plain HTTP here.
    assert found["endpoint"]["outcome"] == "Warning"


def test_a_key_of_another_account_fails(doctor: Doctor, azurite: Azurite) -> None:
    code, found = doctor.azure(azurite.endpoint, CANARY)
    assert (code, _failed(found)) == (5, {"containers"})


def test_a_store_that_does_not_answer_fails(doctor: Doctor) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        code, found = doctor.azure(f"http://127.0.0.1:{port}/acct", CANARY)
    assert (code, _failed(found)) == (5, {"endpoint"})
    assert found["containers"]["outcome"] == "Skipped"


def test_a_certificate_that_nobody_trusts_fails_and_a_trusted_one_passes(
    doctor: Doctor, tmp_path: Path
) -> None:
    from fixtures.azurite import KEY, AzuriteMissing, running

    certificates = make_certificates(tmp_path)
    try:
        with running(certificates=certificates) as emulator:
            code, found = doctor.azure(emulator.endpoint, KEY)
            assert (code, _failed(found)) == (5, {"endpoint"})
            assert "certificate is not trusted" in found["endpoint"]["detail"]
            code, found = doctor.azure(emulator.endpoint, KEY, SSL_CERT_FILE=str(certificates.authority))
            assert (code, _failed(found)) == (0, set())
            assert found["endpoint"]["outcome"] == "Passed"
    except AzuriteMissing as reason:
        pytest.skip(str(reason))


@contextmanager
def _server(status: int, headers: dict[str, str]) -> Iterator[str]:
    """Something that answers everything so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        do_PUT = do_GET  # noqa: N815 - the library's names

        def log_message(self, format: str, *values: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/acct"
        finally:
            server.shutdown()
            thread.join()


def test_something_that_is_no_blob_service_fails(doctor: Doctor) -> None:
    with _server(200, {}) as endpoint:
        code, found = doctor.azure(endpoint, CANARY)
    assert code == 5
    assert "no Blob service" in found["endpoint"]["detail"]


def test_a_service_that_does_not_know_the_version_fails(doctor: Doctor) -> None:
    headers = {"x-ms-request-id": "1", "x-ms-error-code": "InvalidHeaderValue"}
    with _server(400, headers) as endpoint:
        code, found = doctor.azure(endpoint, CANARY)
    assert code == 5
    assert "API version" in _failed(found)


@pytest.mark.parametrize(("minutes", "outcome"), [(12, "Failed"), (2, "Warning"), (0, "Passed")])
def test_a_clock_that_is_off_is_seen_by_the_store(doctor: Doctor, minutes: int, outcome: str) -> None:
    at = datetime.now(UTC) - timedelta(minutes=minutes)
    headers = {"x-ms-request-id": "1", "Date": at.strftime("%a, %d %b %Y %H:%M:%S GMT")}
    with _server(403, headers) as endpoint:
        _, found = doctor.azure(endpoint, CANARY)
    assert found["clock and store"]["outcome"] == outcome


def test_a_credential_that_others_may_read_fails(doctor: Doctor, azurite: Azurite) -> None:
    doctor.key.touch()
    doctor.key.chmod(0o644)
    code, found = doctor.azure(azurite.endpoint, azurite.key)
    assert (code, _failed(found)) == (5, {"credential file"})
    assert "chmod 0600" in found["credential file"]["fix"]


def test_a_signature_that_is_over_fails(doctor: Doctor, azurite: Azurite) -> None:
    code, found = doctor.azure(azurite.endpoint, f"sr=c&sp=rwc&se=2020-01-01&sig={CANARY}")
    assert code == 5
    assert "credential" in _failed(found)


def test_settings_with_a_mistake_fail_and_the_rest_is_still_checked(doctor: Doctor) -> None:
    code, found = doctor.findings("[store]\nkind = 'tape'")
    assert (code, _failed(found)) == (5, {"settings"})
    assert "tape" in found["settings"]["detail"]
    assert "Landlock" in found


def test_a_credential_file_that_is_named_and_not_there_fails(doctor: Doctor) -> None:
    store = '[store]\nkind = "azure"\naddress = "https://a.invalid"\ncredential_file = "/nowhere/store"'
    code, found = doctor.findings(store)
    assert (code, found["credential"]["outcome"]) == (5, "Failed")
    assert found["credential"]["detail"] == (
        "store.credential_file /nowhere/store cannot be read: No such file or directory"
    )


def test_a_credential_that_only_the_service_is_given_is_no_failure_for_an_operator(doctor: Doctor) -> None:
    store = '[store]\nkind = "azure"\naddress = "https://acct.blob.example"'
    _, found = doctor.findings(store)
    assert found["credential"]["outcome"] in ("Skipped", "Failed")
    assert "store" in found["credential"]["detail"]


def test_people_read_a_table_with_what_to_do(doctor: Doctor) -> None:
    code, said = doctor.ask()
    assert "check" in said.splitlines()[0]
    assert " Passed, " in said.splitlines()[-1]
    assert code == (0 if " 0 Failed" in said else 5)
