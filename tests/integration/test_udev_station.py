"""The daemon on drives that a real udevd describes: loop devices dressed as SATA drives, in bays."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.devices.rules import bay_rules
from fixtures import demo_disk
from tests.kit import images, udevd
from tests.kit.udevd import LoopDrive, Machine, until

pytestmark = pytest.mark.skipif(udevd.missing() is not None, reason=str(udevd.missing()))

EXPECTED = sorted(
    digest for path, (digest, _) in images.hashes("demo").items() if not path.startswith("System Volume")
)
WAIT_S = 90
BAYS = {"lab-bay-1": "1", "lab-bay-2": "2", "lab-bay-3": "3"}


def _sata(serial: str, bay: str, **more: str) -> dict[str, str]:
    """What udev tells of a SATA drive (recorded in a guest with an AHCI controller)."""
    return {
        "ID_ATA": "1",
        "ID_ATA_SATA": "1",
        "ID_BUS": "ata",
        "ID_TYPE": "disk",
        "ID_MODEL": "WDC_WD40EFRX-68N32N0",
        "ID_SERIAL": f"WDC_WD40EFRX-68N32N0_{serial}",
        "ID_SERIAL_SHORT": serial,
        "ID_PATH": f"lab-bay-{bay}",
    } | more


@dataclass
class Station:
    """A state directory, and the daemon as a service in it."""

    folder: Path
    machine: Machine
    key: Path
    process: subprocess.Popen[bytes] | None = None
    store: str = ""
    _log: Path = field(init=False)

    def __post_init__(self) -> None:
        self._log = self.folder / "log"
        self._log.touch()
        self.configure()

    def configure(self, more: str = "") -> None:
        bays = "\n".join(f'"{path}" = "{label}"' for path, label in BAYS.items())
        (self.folder / "agent.toml").write_text(
            f'state_dir = "{self.folder}/state"\n'
            f"[devices]\nudev = true\nloop_devices = true\n[bays]\n{bays}\n{self.store}\n{more}\n"
        )

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            self.machine.inside(*udevd.agent("--config", str(self.folder / "agent.toml"), *arguments)),
            env=os.environ | {"PYTHONPATH": str(udevd.CHECKOUT)},
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def file_job(self, name: str, serial: str) -> None:
        self.run(
            *("job", "create", name, "--drive", serial, "--key-file", str(self.key)),
            *("--to", f"{name}-data"),
        )

    def stored(self, job: str) -> list[str]:
        """SHA-256 of what is in the job's container of the directory store."""
        root = self.folder / "state/blobs" / f"{job}-data"
        return sorted(
            hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*") if path.is_file()
        )

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self.machine.inside(
                    *udevd.agent("--config", str(self.folder / "agent.toml"), "run", "--json")
                ),
                env=os.environ | {"PYTHONPATH": str(udevd.CHECKOUT)},
                stdout=log,
                stderr=log,
            )
        self.logged("station.started")

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(WAIT_S) == 0, self._log.read_text()
            self.process = None

    def lines(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """What the daemon logged under this name."""
        found = []
        for text in self._log.read_text().splitlines():
            line = json.loads(text) if text.startswith("{") else {}
            if line.get("event") == event and fields.items() <= line.items():
                found.append(line)
        return found

    def logged(self, event: str, **fields: object) -> dict[str, Any]:
        """The first such line, when it is there."""
        assert self.process is not None
        process = self.process
        with suppress(TimeoutError):
            until(lambda: bool(self.lines(event, **fields)) or process.poll() is not None, WAIT_S)
        found = self.lines(event, **fields)
        assert found, f"no {event} {fields} in\n{self._log.read_text()}"
        return found[0]

    def drive(self, job: str) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self.run("job", "show", job, "--json"))
        drive: dict[str, Any] = shown["properties"]["driveList"][0]
        return drive

    def history(self, serial: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run("drive", "history", serial, "--json"))["value"]
        return found


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with udevd.machine(tmp_path_factory.mktemp("udevd"), bay_rules(BAYS)) as made:
        yield made


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("disk")
    demo_disk(folder / "disk.img", key_out=folder / "key.txt")
    return folder / "disk.img", folder / "key.txt"


@pytest.fixture
def station(tmp_path: Path, box: Machine, disk: tuple[Path, Path]) -> Iterator[Station]:
    made = Station(tmp_path, box, disk[1])
    yield made
    made.stop()


Insert = Callable[..., LoopDrive]


@pytest.fixture
def insert(box: Machine, disk: tuple[Path, Path]) -> Iterator[Insert]:
    """Puts the demo drive in; what is still in when the test ends is pulled, after the station's end."""
    inserted: list[LoopDrive] = []

    def put(properties: dict[str, str], *, partitions: bool = False) -> LoopDrive:
        inserted.append(box.insert(disk[0], properties, partitions=partitions))
        return inserted[-1]

    yield put
    for drive in inserted:
        if drive.image.stat().st_size:
            box.pull(drive)


@pytest.fixture
def serial() -> str:
    """Nobody else's on this machine."""
    return f"WD-{uuid.uuid4().hex[:12].upper()}"


def test_an_inserted_drive_is_recognised_kept_from_writes_and_ingested(
    station: Station, insert: Insert, serial: str
) -> None:
    station.file_job("box", serial)
    station.start()
    drive = insert(_sata(serial, "2"), partitions=True)
    before = hashlib.sha256(drive.image.read_bytes()).digest()
    finished = station.logged("drive.finished", drive=serial)
    assert (finished["job"], finished["bay"]) == ("box", "2")
    assert finished["status"] == "Completed"
    assert station.drive("box")["percentComplete"] == 100
    assert station.stored("box") == EXPECTED
    proof = station.logged("drive.read_only", drive=serial)
    assert proof["proven"] is True
    parts = ", ".join(drive.node.name + part for part in ("", "p1", "p2"))
    assert proof["detail"] == f"the kernel refuses writes to {parts} (BLKROGET, and ro in sysfs)"
    told = [event["what"] for event in station.history(serial)]
    assert "drive.read_only" in told
    assert hashlib.sha256(drive.image.read_bytes()).digest() == before
