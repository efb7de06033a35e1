"""The shipped unit under a real systemd: what it forbids is not needed, and what is needed works."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import ANY

import pytest
from click.testing import CliRunner

from agent.cli.install_systemd import install_systemd
from tests.kit import container as kit
from tests.kit import images

if TYPE_CHECKING:
    from fixtures.azurite import Azurite

WAIT_S = 120
UNIT = "drive-ingest-agent.service"
SERIAL = "WD-123"
AGENT = """#!/bin/sh
export PYTHONPATH={path} INGEST_AGENT_DEBUG=1
exec {python} -c 'import sys; from agent.cli.main import main; sys.exit(main())' "$@"
"""
SETTINGS = """
state_dir = "/var/lib/drive-ingest-agent"
key_file = "/etc/credstore/drive-ingest.catalog.key"
[store]
kind = "azure"
address = "{endpoint}"
[[image]]
path = "/opt/drive/demo.img"
serial = "{serial}"
bay = "3"
"""


@dataclass
class Station:
    """Systemd in a container, with the agent installed as its service."""

    inside: kit.Container

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        return self.inside.run("systemctl", *arguments, check=check)

    def show(self, *names: str) -> dict[str, str]:
        said = self.systemctl("show", UNIT, *(f"--property={name}" for name in names))
        return dict(line.split("=", 1) for line in said.splitlines())

    def journal(self, *arguments: str) -> str:
        return self.inside.run("journalctl", "--no-pager", "-u", UNIT, "-o", "cat", *arguments)

    def agent(self, *arguments: str, check: bool = True) -> str:
        """As the service's user, to whom no credential is handed over."""
        return self.inside.run(
            *("runuser", "-u", "drive-ingest", "--", "/opt/ingest/bin/ingest-agent", *arguments), check=check
        )

    def operator(self, *arguments: str) -> str:
        """With the key of keys, as docs/operations.md tells."""
        return self.inside.run(
            *("systemd-run", "--quiet", "--pipe", "--wait", "--uid=drive-ingest"),
            *("-p", "LoadCredential=catalog.key:drive-ingest.catalog.key"),
            *("/opt/ingest/bin/ingest-agent", *arguments),
        )

    def until(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not reached():
            assert time.monotonic() < deadline, self.systemctl("status", UNIT, check=False) + self.journal()
            time.sleep(0.2)

    def kernel(self, name: str) -> str:
        """A line of the main process's status."""
        lines = self.inside.run("cat", f"/proc/{self.show('MainPID')['MainPID']}/status").splitlines()
        return next(line for line in lines if line.startswith(f"{name}:")).partition(":")[2].strip()


@pytest.fixture(scope="module")
def station(azurite: Azurite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    folder = tmp_path_factory.mktemp("container")
    drive = folder / "drive"
    drive.mkdir(mode=0o755)
    images.unpack("demo", drive).chmod(0o644)
    python, binds, path = kit.python()
    try:
        with kit.booted(folder, {**binds, drive: "/opt/drive"}) as inside:
            kit.settle_python(inside)
            inside.write("/opt/ingest/bin/ingest-agent", AGENT.format(python=python, path=path), 0o755)
            placed = CliRunner().invoke(
                install_systemd,
                ["--root", str(inside.root), "--prefix", "/opt/ingest"],
                catch_exceptions=False,
            )
            assert placed.exit_code == 0
            settings = SETTINGS.format(endpoint=azurite.endpoint, serial=SERIAL)
            inside.write("/etc/drive-ingest-agent/agent.toml", settings)
            inside.run("systemd-sysusers")
            inside.run("systemd-tmpfiles", "--create", "drive-ingest-agent.conf")
            inside.write("/etc/credstore/drive-ingest.store", azurite.key, 0o600)
            inside.write("/etc/credstore/drive-ingest.catalog.key", "k" * 32, 0o600)
            inside.run("systemctl", "daemon-reload")
            yield Station(inside)
    except kit.NoContainer as reason:
        pytest.skip(str(reason))


@pytest.fixture
def running(station: Station) -> Station:
    """Started; that returns when the station says that it is ready."""
    said = station.systemctl("start", UNIT, check=False)
    assert station.show("ActiveState")["ActiveState"] == "active", said + station.journal()
    return station


def test_a_drive_is_ingested_behind_all_walls(running: Station) -> None:
    running.operator("job", "create", "box", "--drive", SERIAL, "--allow-unencrypted", "--to", "hardened")
    running.until(lambda: "drive.finished" in running.journal())
    assert "Completed" in running.operator("job", "show", "box")
    journal = running.journal()
    assert "seccomp" in journal
    assert "lacking" not in journal
    running.until(lambda: "left alone" in running.show("StatusText")["StatusText"])
    assert running.show("ActiveState", "NRestarts") == {"ActiveState": "active", "NRestarts": "0"}


def test_the_station_is_nobody_and_may_nothing_but_read_drives(running: Station) -> None:
    user = running.inside.run("id", "-u", "drive-ingest").strip()
    disk = running.inside.run("getent", "group", "disk").split(":")[2]
    assert running.kernel("Uid").split() == [user] * 4
    assert disk in running.kernel("Groups").split()
    assert {running.kernel(name) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}
    assert running.kernel("NoNewPrivs") == "1"
    assert running.kernel("Seccomp") == "2"


def test_a_reload_is_taken_and_the_service_goes_on(running: Station) -> None:
    before = running.journal().count("settings.reloaded")
    running.systemctl("reload", UNIT)
    running.until(lambda: running.journal().count("settings.reloaded") > before)
    running.until(lambda: running.show("ActiveState")["ActiveState"] == "active")


def test_the_journal_is_searched_by_priority(running: Station) -> None:
    shutil.copy(
        running.inside.root / "etc/drive-ingest-agent/agent.toml", saved := running.inside.root / "saved"
    )
    running.inside.write("/etc/drive-ingest-agent/agent.toml", "nonsense =")
    running.systemctl("reload", UNIT)
    running.until(lambda: "settings.kept" in running.journal())
    shutil.move(saved, running.inside.root / "etc/drive-ingest-agent/agent.toml")
    errors, all_lines = running.journal("-p", "err"), running.journal()
    assert "event=settings.kept" in errors
    assert "station.started" in all_lines
    assert "station.started" not in errors
    assert "<3>" not in all_lines


def test_metrics_and_health_are_served_behind_all_walls(running: Station) -> None:
    settings = running.inside.root / "etc/drive-ingest-agent/agent.toml"
    text = settings.read_text()
    settings.write_text(text + '[metrics]\nlisten = "/run/drive-ingest-agent/metrics.sock"\n')
    running.systemctl("restart", UNIT)
    for path, said in (("metrics", 'drive_ingest_rounds_total{outcome="ok"}'), ("readyz", "ready")):
        assert said in _get(running.inside.root / "run/drive-ingest-agent/metrics.sock", path)
    settings.write_text(text)


def test_the_job_api_is_served_behind_all_walls(running: Station) -> None:
    place = running.inside.root / "run/drive-ingest-agent/api.sock"
    running.until(place.exists)
    jobs = "subscriptions/00000000-0000-0000-0000-000000000000/providers/Microsoft.ImportExport/jobs"
    said = _get(place, f"{jobs}?api-version=2021-01-01")
    assert said.startswith("HTTP/1.1 200 ")
    assert '{"value":[' in said
    assert place.stat().st_mode & 0o777 == 0o660


def _get(where: Path, path: str) -> str:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(WAIT_S)
        asking.connect(str(where))
        asking.sendall(f"GET /{path} HTTP/1.1\r\nHost: station\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: asking.recv(65_536), b"")).decode()


FAKE_SMARTCTL = """#!/bin/sh
echo "asked: $*"
grep CapEff /proc/self/status
id -u
"""


def test_the_stations_smartctl_asks_one_question_with_a_right_that_the_station_lacks(
    running: Station,
) -> None:
    running.inside.write("/usr/local/sbin/smartctl", FAKE_SMARTCTL, 0o755)
    python, _, _ = kit.python()
    running.inside.run("ln", "-sf", python, "/opt/ingest/bin/python3")

    def ask(*arguments: str) -> list[str]:
        asking = ("runuser", "-u", "drive-ingest", "--", "/usr/lib/drive-ingest-agent/smartctl", *arguments)
        return running.inside.run(*asking).splitlines()

    asked, capabilities, user = ask("--anything", "/dev/sdb")
    assert asked == "asked: --json=c --info --health --attributes /dev/sdb"
    assert int(capabilities.split()[1], 16) == 1 << 17
    assert user not in ("0", running.inside.run("id", "-u", "drive-ingest").strip())
    for other in (
        "/dev/sdb; id",
        "/dev/../etc/shadow",
        "--scan",
        "/dev/sda1",
        "",
        "/dev/sd?",
        "/dev/sdb\n-x",
    ):
        assert ask(other) == ([] if "\n" not in other else [asked, capabilities, ANY])


ALL_AT_ONCE = """
import contextlib, socket
crowd = [socket.socket(socket.AF_UNIX) for _ in range(60)]
for one in crowd:
    one.connect("/run/drive-ingest-smart.sock")
for one in crowd:
    with contextlib.suppress(OSError):
        one.sendall(b"/dev/sdb\\n")
print(sum(one.recv(64).startswith(b"asked") for one in crowd))
"""


def test_all_bays_of_a_large_chassis_are_asked_at_once(running: Station) -> None:
    running.inside.write("/usr/local/sbin/smartctl", FAKE_SMARTCTL, 0o755)
    python, _, _ = kit.python()
    answered = running.inside.run("runuser", "-u", "drive-ingest", "--", python, "-c", ALL_AT_ONCE)
    assert int(answered) == 60


def test_nobody_else_may_ask(running: Station) -> None:
    said = running.inside.run(
        "runuser", "-u", "nobody", "--", "/usr/lib/drive-ingest-agent/smartctl", "/dev/sdb", check=False
    )
    assert "Permission denied" in said


def test_an_operator_needs_no_credential_of_the_store(running: Station) -> None:
    assert SERIAL in running.operator("drive", "list")


def test_a_command_that_may_not_read_the_key_of_keys_makes_no_other_one(running: Station) -> None:
    assert "Permission denied" in running.agent("drive", "list", check=False)
    assert not (running.inside.root / "var/lib/drive-ingest-agent/catalog.key").exists()


def test_a_stop_is_clean(running: Station) -> None:
    running.systemctl("stop", UNIT)
    shown = running.show("ActiveState", "Result", "ExecMainStatus")
    assert shown == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}
    assert "station.stopped" in running.journal()


def test_a_station_that_cannot_start_yet_is_started_as_soon_as_it_can(station: Station) -> None:
    """As one of a fleet, after a power cut: the server of its catalog is up later."""
    station.inside.write(
        f"/run/systemd/system/{UNIT}.d/early.conf",
        "[Service]\nExecStartPre=/usr/bin/test -e /run/server-is-up\nRestartSec=50ms\n",
    )
    station.systemctl("daemon-reload")
    station.systemctl("start", UNIT, check=False)
    station.until(lambda: int(station.show("NRestarts")["NRestarts"]) > 7)
    station.inside.write("/run/server-is-up", "")
    station.until(lambda: station.show("ActiveState")["ActiveState"] == "active")
    shutil.rmtree(station.inside.root / f"run/systemd/system/{UNIT}.d")
    station.systemctl("daemon-reload")


def test_a_station_that_hangs_is_restarted(running: Station) -> None:
    running.inside.write(
        f"/run/systemd/system/{UNIT}.d/quick.conf",
        "[Service]\nWatchdogSec=10s\nRestartSec=1s\n",
    )
    running.systemctl("daemon-reload")
    running.systemctl("restart", UNIT)
    first = running.show("MainPID")["MainPID"]
    running.inside.run("kill", "-STOP", first)
    running.until(
        lambda: running.show("MainPID", "ActiveState") not in ({"MainPID": first, "ActiveState": "active"},)
    )
    running.until(
        lambda: (
            running.show("ActiveState")["ActiveState"] == "active"
            and running.show("MainPID")["MainPID"] not in ("0", first)
        )
    )
    assert "Watchdog timeout" in running.journal()
    shutil.rmtree(running.inside.root / f"run/systemd/system/{UNIT}.d")
    running.systemctl("daemon-reload")
