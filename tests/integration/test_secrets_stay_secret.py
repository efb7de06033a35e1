"""Planted secrets, and a station at real work: where they could show, they do not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import socket
from urllib.parse import quote, unquote

import pytest
from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

from fixtures.azurite import Azurite
from fixtures.certificates import Certificates
from tests.integration.conftest import FACTS
from tests.kit import killing, whole_drive
from tests.kit.api import Server, serving
from tests.kit.whole_drive import WholeDrive

WITHIN_S = 120.0
SERIAL, CONTAINER = "S-CANARY", "cnry"
WRONG_KEY = "000011-" * 7 + "000022"
WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
"""Of root, too, only rights let in who looks at what may not be dumped."""


KINDS = ("agent.transfer.reader", "agent.transfer.uploader", "agent.cli.main")


@dataclass
class Seen:
    """What processes showed of themselves to others, and which of them let nobody look inside."""

    shown: list[bytes] = field(default_factory=list)
    closed: dict[str, bool] = field(default_factory=dict)
    core_limits: set[str] = field(default_factory=set)


def _free_port() -> int:
    with socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _sas(azurite: Azurite) -> str:
    return generate_account_sas(
        azurite.account,
        azurite.key,
        ResourceTypes(service=True, container=True, object=True),
        AccountSasPermissions(read=True, write=True, create=True, list=True, delete=True),
        datetime.now(UTC) + timedelta(hours=1),
    )


def _children(root: int) -> list[int]:
    """The process and all below it."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError, IndexError, ValueError):
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def _look_at(root: int, seen: Seen) -> None:
    for pid in _children(root):
        with suppress(OSError):
            folder = Path(f"/proc/{pid}")
            line = (folder / "cmdline").read_bytes()
            limits = (folder / "limits").read_text()
            seen.shown += [line, (folder / "environ").read_bytes()]
            if (kind := _kind(line)) is not None:
                # Each closes itself when it begins, and is told of keys after that.
                if not seen.closed.get(kind):
                    seen.closed[kind] = _is_closed(pid)
                seen.core_limits.add(re.findall(r"Max core file size\s+(\S+)\s+(\S+)", limits)[0][0])


def _kind(line: bytes) -> str | None:
    for kind in KINDS:
        if kind.encode() in line:
            return kind
    return None


@contextmanager
def _station(
    folder: Path, drive: WholeDrive, azurite: Azurite, sas: str, certificates: Certificates
) -> Iterator[Server]:
    (folder / "store.sas").write_text(sas)
    (folder / "store.sas").chmod(0o600)
    rest = f"""
[store]
kind = "azure"
address = "{azurite.endpoint}"
credential_file = "{folder}/store.sas"

[metrics]
listen = "127.0.0.1:{_free_port()}"

[[image]]
path = "{drive.image}"
serial = "{drive.serial}"
bay = "1"
"""
    with serving(folder, certificates, command=("run",), rest=rest) as server:
        yield server


def _said(server: Server, *arguments: str, stdin: str = "") -> str:
    done = subprocess.run(
        killing.command(*arguments),
        env={**os.environ, **server.environment},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def _file(server: Server, job: str, drive: WholeDrive, serial: str, key: str) -> str:
    (server.folder / f"{job}.key").write_text(key)
    made = ("job", "create", job, "--drive", serial, "--key-file", str(server.folder / f"{job}.key"))
    manifest = ("--manifest", FACTS["manifest_file"], "--manifest-hash", drive.manifest_hash)
    return _said(server, *made, *manifest)


def _until_done(server: Server, drive: WholeDrive, seen: Seen) -> None:
    until = time.monotonic() + WITHIN_S
    while "drive.finished" not in server.said():
        assert server.process.poll() is None, server.said()
        assert time.monotonic() < until, server.said()
        _look_at(server.process.pid, seen)
        time.sleep(0.01)


def _is_closed(pid: int) -> bool:
    """Whether its memory and environment are closed to another process of the same user."""
    done = subprocess.run([*WITHOUT_RIGHTS, "cat", f"/proc/{pid}/environ"], capture_output=True, check=False)
    return done.returncode != 0 and b"denied" in done.stderr


@pytest.mark.usefixtures("_no_proxies")
def test_planted_secrets_show_nowhere(
    tmp_path: Path,
    azurite: Azurite,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = killing.command
    monkeypatch.setattr(killing, "command", lambda *words: [*WITHOUT_RIGHTS, *plain(*words)])
    drive, sas, seen = whole_drive.make(tmp_path, SERIAL, CONTAINER), _sas(azurite), Seen()
    with _station(tmp_path, drive, azurite, sas, certificates) as server:
        token = server.token("technician")
        told = [_file(server, "box-1", drive, SERIAL, drive.recovery_password)]
        told += [_file(server, "box-2", drive, "S-WRONG", WRONG_KEY)]
        _until_done(server, drive, seen)
        told += [_said(server, "replay", str(drive.image), "--serial", "S-WRONG")]
        (tmp_path / "store.sas").write_text(sas.replace("sig=", "sig=AAAA"))
        shown_job = _said(server, "job", "show", "box-1", "--json")
        told += [_said(server, "doctor"), shown_job]
        told += [_said(server, "catalog", "backup", str(tmp_path / "state" / "copy"))]
        told += [
            _said(server, "drive", "list"),
            _said(server, "history", "verify"),
            _said(server, "keys", "show"),
        ]
        told += [
            _said(server, "drive", "history", SERIAL, "--json"),
            _said(server, "job", "history", "box-1"),
        ]
        paths = ("", "/history", "/listBitLockerKeys")
        told += [f"{server.of_job('GET', 'box-1', rest=rest, token=token)}" for rest in paths]
        told += [_metrics(server), server.said()]
    assert '"percentComplete": 100' in shown_job
    assert seen.core_limits == {"0"}
    assert seen.closed == dict.fromkeys(KINDS, True)
    together = "\n".join(told).encode() + b"\n".join(seen.shown) + _kept(tmp_path / "state")
    # The search can find what is there.
    assert SERIAL.encode() in together
    signature = sas.rpartition("sig=")[2].partition("&")[0]
    key = (tmp_path / "state" / "catalog.key").read_bytes()
    secrets = [drive.recovery_password, drive.recovery_password[:13], WRONG_KEY, sas, signature]
    secrets += [unquote(signature), quote(signature), azurite.key, token, key.hex()]
    assert [secret for secret in secrets if secret.encode() in together] == []
    assert key not in together


def _metrics(server: Server) -> str:
    (port,) = re.findall(
        r'\[metrics\]\nlisten = "127.0.0.1:([0-9]+)"', (server.folder / "agent.toml").read_text()
    )
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text: str = answer.read().decode()
    assert "drive_ingest_drives" in text
    return text


def _kept(folder: Path) -> bytes:
    """All that the station keeps, but the key itself."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "catalog.key"]
    assert {"catalog.sqlite", "copy", "api-tokens.json"} <= {path.name for path in files}
    return b"".join(path.read_bytes() for path in files)


def test_who_has_hidden_its_memory_lets_nobody_look_inside() -> None:
    assert [_is_closed_when(hidden=hidden) for hidden in (False, True)] == [False, True]


def _is_closed_when(*, hidden: bool) -> bool:
    hide = "from agent.memory import keep_to_ourselves; keep_to_ourselves();" if hidden else ""
    program = f"import sys; {hide} print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [*WITHOUT_RIGHTS, sys.executable, "-c", program],
        cwd=killing.CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = _is_closed(process.pid)
        process.communicate()
        return found
