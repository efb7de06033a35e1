"""The Azure CLI against a running server, over TLS: ``az rest``, and the management client of its factory."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fixtures.certificates import Certificates
from fixtures.install_clients import AZURE_CLI, is_installed, python_of
from tests.kit.api import GROUP, KEY, SUBSCRIPTION, Server, job_path, put_body, serving
from tests.kit.killing import CHECKOUT

pytestmark = pytest.mark.skipif(
    not is_installed(AZURE_CLI),
    reason="the Azure CLI is not there: python -m fixtures.install_clients azure-cli (700 MB)",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("api"), certificates) as found:
        yield found


def _environment(server: Server, folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "AZURE_CONFIG_DIR": str(folder),
        "AZURE_CORE_COLLECT_TELEMETRY": "no",
        "REQUESTS_CA_BUNDLE": str(server.certificates.authority),
    }


def _run(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [str(python_of(AZURE_CLI)), "-W", "ignore", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_az_rest_files_and_shows_a_job_without_a_login(server: Server, tmp_path: Path) -> None:
    environment = _environment(server, tmp_path / "az")
    body = tmp_path / "body.json"
    body.write_text(json.dumps(put_body("S-az")), "utf-8")

    def rest(method: str, path: str, *more: str) -> Any:
        token = f"Authorization=Bearer {server.token('operator')}"
        said = _run(
            environment,
            *("-m", "azure.cli", "rest", "--skip-authorization-header", "--headers", token),
            *("--method", method, "--url", server.base_url + path, *more),
        )
        return json.loads(said) if said.strip() else None

    assert rest("put", job_path("by-az"), "--body", f"@{body}")["properties"]["state"] == "Creating"
    (key,) = rest("post", job_path("by-az", "/listBitLockerKeys"))["value"]
    assert key == {"driveId": "S-az", "bitLockerKey": KEY}
    assert rest("delete", job_path("by-az")) is None


@contextmanager
def _who_gives_tokens(token: str) -> Iterator[str]:
    """As App Service's identity endpoint does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told = {"access_token": token, "expires_on": str(int(time.time()) + 7200), "token_type": "Bearer"}
            body = json.dumps({**told, "resource": "station"}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as endpoint:
        thread = threading.Thread(target=endpoint.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{endpoint.server_port}/"
        endpoint.shutdown()
        thread.join()


def _log_in(environment: dict[str, str], server: Server, folder: Path) -> None:
    places = ("resource-manager", "active-directory", "active-directory-resource-id", "management")
    named = [part for place in places for part in (f"--endpoint-{place}", server.base_url)]
    _run(environment, "-m", "azure.cli", "cloud", "register", "-n", "X", *named, "--skip-endpoint-discovery")
    _run(environment, "-m", "azure.cli", "cloud", "set", "-n", "X")
    user = {"name": "systemAssignedIdentity", "type": "servicePrincipal", "assignedIdentityInfo": "MSI"}
    subscription = {
        "id": SUBSCRIPTION,
        "name": "station",
        "state": "Enabled",
        "user": user,
        "isDefault": True,
        "tenantId": "00000000-0000-0000-0000-000000000009",
        "environmentName": "X",
        "homeTenantId": None,
        "managedByTenants": [],
    }
    profile = {"installationId": "x", "subscriptions": [subscription]}
    (folder / "azureProfile.json").write_text(json.dumps(profile), "utf-8")


def test_the_management_client_of_the_cli_files_a_job(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "az"
    folder.mkdir()
    with _who_gives_tokens(server.token("operator")) as endpoint:
        environment = _environment(server, folder)
        environment |= {"IDENTITY_ENDPOINT": endpoint, "IDENTITY_HEADER": "x"}
        _log_in(environment, server, folder)
        program = str(CHECKOUT / "tests/clients/cli_program.py")
        told = json.loads(_run(environment, program, GROUP, json.dumps(put_body("S-cli"))))
    assert told == {"state": "Creating", "jobs": ["by-cli"], "drives": ["S-cli"]}
