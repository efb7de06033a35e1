"""The real ``ingest-agent run`` under a service manager that listens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kit import images, killing
from tests.kit.manager import WAIT_S, Manager, listening, unheard_of

WATCHDOG_S = 3


@contextmanager
def _service(
    folder: Path, manager: Manager | None, *, capped: bool = False, program: str | None = None
) -> Iterator[subprocess.Popen[str]]:
    """The daemon with one drive in bay 3, which a job waits for."""
    image = images.unpack("demo", folder)
    cap = '[bandwidth]\nstation = "50 kB/s"\n' if capped else ""
    (folder / "agent.toml").write_text(
        f'state_dir = "{folder}/state"\n{cap}[[image]]\npath = "{image}"\nserial = "WD-123"\nbay = "3"\n'
    )
    environment = {"INGEST_AGENT_CONFIG": str(folder / "agent.toml")}
    code, said = killing.run(
        environment,
        *("job", "create", "box", "--drive", "WD-123", "--allow-unencrypted"),
        *("--to", "box-data"),
    )
    assert code == 0, said
    if manager is not None:
        environment |= {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": str(WATCHDOG_S * 1_000_000)}
    command = killing.command("run") if program is None else [sys.executable, "-c", program, "run"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment, "PYTHONPATH": str(killing.CHECKOUT)},
            stdin=subprocess.DEVNULL,
            stderr=log,
            text=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _end(process: subprocess.Popen[str], manager: Manager, folder: Path) -> str:
    """SIGTERM; what the log said."""
    process.send_signal(signal.SIGTERM)
    manager.until(lambda: process.poll() is not None)
    manager.listen()
    said = (folder / "log").read_text()
    assert process.returncode == 0, said
    return said


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_a_station_tells_its_life_from_ready_to_stopping(kind: str, tmp_path: Path) -> None:
    address = unheard_of() if kind == "abstract" else str(tmp_path / "notify")
    with listening(address) as manager, _service(tmp_path, manager) as process:
        manager.until_said("READY", "1")
        assert not manager.values("STOPPING")
        manager.until_said("WATCHDOG", count=2)
        manager.until(lambda: "waits for drives" in manager.values("STATUS")[-1])
        _end(process, manager, tmp_path)
    assert any(line.startswith("1 drive: WD-123 bay 3 ") for line in manager.values("STATUS"))
    assert manager.values("STOPPING") == ["1"]


def test_a_drain_asks_for_time_while_a_drive_keeps_its_place(tmp_path: Path) -> None:
    with listening(unheard_of()) as manager, _service(tmp_path, manager, capped=True) as process:
        manager.until(lambda: any(line.endswith("%") for line in manager.values("STATUS")))
        log = _end(process, manager, tmp_path)
    names = [name for message in manager.said for name in message]
    assert "drive.interrupted" in log
    assert names.index("READY") < names.index("STOPPING") < names.index("EXTEND_TIMEOUT_USEC")
    assert int(manager.values("EXTEND_TIMEOUT_USEC")[0]) >= 10_000_000
    assert "places are kept" in manager.values("STATUS")[-1]


def test_hangup_reloads_and_the_manager_hears_the_begin_and_the_end(tmp_path: Path) -> None:
    with listening(unheard_of()) as manager, _service(tmp_path, manager, capped=True) as process:
        manager.until_said("READY")
        settings = tmp_path / "agent.toml"
        settings.write_text(settings.read_text().replace("50 kB/s", "unlimited"))
        process.send_signal(signal.SIGHUP)
        manager.until_said("READY", count=2)
        settings.write_text("nonsense =")
        process.send_signal(signal.SIGHUP)
        manager.until_said("READY", count=3)
        log = _end(process, manager, tmp_path)
    order = [name for message in manager.said for name in message if name in ("READY", "RELOADING")]
    assert order == ["READY", "RELOADING", "READY", "RELOADING", "READY"]
    assert "settings.reloaded" in log
    assert "settings.kept" in log


def test_a_hangup_before_the_station_listens_ends_nothing(tmp_path: Path) -> None:
    with listening(unheard_of()) as manager, _service(tmp_path, manager) as process:
        assert killing.wait_for(process, (tmp_path / "state" / "station.lock").exists)
        process.send_signal(signal.SIGHUP)
        manager.until_said("READY")
        _end(process, manager, tmp_path)


STUCK = """
import asyncio, sys
from agent.cli.main import main
from agent.devices.image import ImageSource
from agent.station.station import Station
first = ImageSource.devices
async def once(self):
    ImageSource.devices = never
    return await first(self)
async def never(self):
    await asyncio.Event().wait()
ImageSource.devices = once
sys.exit(main())
"""


def test_a_station_that_no_longer_looks_at_its_drives_is_silent(tmp_path: Path) -> None:
    """The loop runs on and the transfer goes on; what hangs is the reconcile alone."""
    with listening(unheard_of()) as manager, _service(tmp_path, manager, program=STUCK) as process:
        manager.until_said("READY")
        manager.listen(WATCHDOG_S / 3)
        beats = len(manager.values("WATCHDOG"))
        assert killing.wait_for(process, lambda: "Completed" in _state(tmp_path))
        manager.listen(WATCHDOG_S)
        assert len(manager.values("WATCHDOG")) == beats == 1


def _state(folder: Path) -> str:
    done = subprocess.run(
        killing.command("drive", "list", "--json"),
        env={**os.environ, "INGEST_AGENT_STATE": str(folder / "state"), "PYTHONPATH": str(killing.CHECKOUT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_without_a_manager_the_station_runs_as_well(tmp_path: Path) -> None:
    with _service(tmp_path, None) as process:
        assert killing.wait_for(process, lambda: "Completed" in _state(tmp_path))
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
    assert "station.stopped" in (tmp_path / "log").read_text()
