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

from agent.devices.rules import FILE_NAME, bay_rules
from fixtures import demo_disk
from tests.kit import images, udevd
from tests.kit.udevd import LoopDrive, Machine, until

pytestmark = pytest.mark.skipif(udevd.missing() is not None, reason=str(udevd.missing()))

EXPECTED = sorted(
    digest for path, (digest, _) in images.hashes("demo").items() if not path.startswith("System Volume")
)
WAIT_S = 240
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

    def start(self, *prefix: str) -> None:
        """``prefix``: what starts the daemon with other rights."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self.machine.inside(
                    *prefix, *udevd.agent("--config", str(self.folder / "agent.toml"), "run", "--json")
                ),
                env=os.environ
                | {"PYTHONPATH": str(udevd.CHECKOUT), "PATH": f"{self.folder}:{os.environ['PATH']}"},
                stdout=log,
                stderr=log,
            )
        self.logged("station.started")

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(WAIT_S) == 0, self._log.read_text()
            self.process = None

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(WAIT_S)
        self.process = None

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

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
    with udevd.machine(tmp_path_factory.mktemp("udevd"), {FILE_NAME: bay_rules(BAYS)}) as made:
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
    try:
        made.stop()
    finally:
        if made.process is not None:
            made.process.kill()
            made.process.wait()


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


def _answering(folder: Path, serial: str, pending: int) -> None:
    """A smartctl that tells this of every drive."""
    report = {
        "serial_number": serial,
        "smart_status": {"passed": True},
        "temperature": {"current": 31},
        "ata_smart_attributes": {"table": [{"id": 197, "when_failed": "", "raw": {"value": pending}}]},
    }
    (folder / "smartctl").write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(report)}\nEND\n")
    (folder / "smartctl").chmod(0o755)


def test_an_inserted_drive_is_recognised_kept_from_writes_and_ingested(
    station: Station, insert: Insert, serial: str
) -> None:
    _answering(station.folder, serial, pending=12)
    station.file_job("box", serial)
    station.start()
    drive = insert(_sata(serial, "2"), partitions=True)
    before = hashlib.sha256(drive.image.read_bytes()).digest()
    finished = station.logged("drive.finished", drive=serial)
    assert (finished["job"], finished["bay"], finished["status"]) == ("box", "2", "Completed")
    assert station.drive("box")["percentComplete"] == 100
    assert station.stored("box") == EXPECTED
    assert hashlib.sha256(drive.image.read_bytes()).digest() == before
    parts = ", ".join(drive.node.name + part for part in ("", "p1", "p2"))
    smart = "failing: 12 sectors wait to be read or replaced; 31 °C; pending 12"
    told = {(event["what"], event["detail"]) for event in station.history(serial)}
    assert told >= {
        ("drive.smart", f"before: {smart}"),
        ("drive.read_only", f"the kernel refuses writes to {parts} (BLKROGET, and ro in sysfs)"),
        ("drive.smart", f"after: {smart}"),
    }
    gently = station.logged("drive.gently", drive=serial)["detail"]
    assert "is failing: 12 sectors wait to be read or replaced; it is read gently" in gently
    assert station.logged("opened", drive=serial)["reading"].startswith("it is read gently")


def test_a_drive_that_goes_in_the_middle_and_comes_back_in_another_bay_is_finished(
    station: Station, insert: Insert, box: Machine, serial: str
) -> None:
    station.file_job("box", serial)
    first = insert(_sata(serial, "1"))
    station.configure('[bandwidth]\nstation = "500 kB/s"\n')
    station.start()
    until(lambda: station.drive("box")["percentComplete"] > 0, WAIT_S)
    box.pull(first)
    station.logged("drive.pulled", bay="1")
    until(lambda: station.history(serial)[-1]["what"] == "drive.pulled", WAIT_S)
    assert not [event for event in station.history(serial) if event["what"] == "drive.paused"]
    rows = json.loads(station.run("drive", "list", "--json"))["value"]
    (note,) = [row["note"] for row in rows if row["serial"] == serial]
    assert note.startswith("the drive was pulled from bay 1; its place is kept [drive: Pulled] (since ")
    assert note.endswith("Put it into any bay: it goes on.")
    assert 0 < station.drive("box")["percentComplete"] < 100
    station.configure()
    assert station.process is not None
    station.signal(signal.SIGHUP)
    station.logged("settings.reloaded")
    box.restart_udevd()
    insert(_sata(serial, "3"))
    assert station.logged("drive.finished", bay="3")["status"] == "Completed"
    assert station.stored("box") == EXPECTED
    assert [event["detail"] for event in station.history(serial) if event["what"] == "drive.resumed"] == [
        "bay 3"
    ]


def test_a_station_that_is_killed_in_the_middle_goes_on_when_it_is_started_again(
    station: Station, insert: Insert, serial: str
) -> None:
    station.file_job("box", serial)
    insert(_sata(serial, "1"))
    station.configure('[bandwidth]\nstation = "500 kB/s"\n')
    station.start()
    until(lambda: station.drive("box")["percentComplete"] > 0, WAIT_S)
    station.kill()
    assert 0 < station.drive("box")["percentComplete"] < 100
    station.configure()
    station.start()
    # Nobody wrote between: the kernel still refuses it, and the dead station's claim is gone.
    assert station.logged("drive.finished", drive=serial)["status"] == "Completed"
    assert station.stored("box") == EXPECTED
    assert station.run("bays", "--rules") == bay_rules(BAYS)


def test_drives_that_must_not_be_touched_are_told_each_with_its_sentence(
    station: Station, insert: Insert, box: Machine, serial: str
) -> None:
    station.file_job("box", serial)
    for name in ("used", "usb", "raid"):
        station.file_job(name, f"{serial}-{name}")
    extra, twin = insert(_sata(f"{serial}-extra", "1")), insert(_sata(serial, "2"))
    used = insert(_sata(f"{serial}-used", "x"))
    insert(_sata(f"{serial}-usb", "usb", ID_BUS="usb", ID_ATA="0"))
    insert(
        _sata("35000c500a1b2c3d4", "raid", ID_BUS="scsi", ID_SCSI_SERIAL=f"{serial}-raid", ID_VENDOR="LSI")
    )
    insert(_sata("123456789012", "made-up"))
    twin = insert(_sata(serial, "3"))
    claim = os.open(used.node, os.O_RDONLY | os.O_EXCL)
    try:
        station.start()
        _left_alone(station, "SerialNotSpecified", "is an extra drive", drive=f"{serial}-extra", bay="1")
        for bay in ("2", "3"):
            said = f"2 attached drives say that their serial is {serial}"
            _left_alone(station, "SerialConflict", said, drive=serial, bay=bay)
        said_of_used = f"{used.node.name} is used by another program"
        _left_alone(station, "DriveInUse", said_of_used, drive=f"{serial}-used", bay="lab-bay-x")
        _left_alone(
            station, "SerialDoubtful", "may be the bridge's", drive=f"{serial}-usb", bay="lab-bay-usb"
        )
        _left_alone(station, "SerialDoubtful", "a RAID controller", drive=f"{serial}-raid")
        _left_alone(station, "SerialDoubtful", "which is made up", bay="lab-bay-made-up")
        if _runs_from_a_disk():
            _left_alone(station, "DriveInUse", " is mounted at /")
        assert not station.lines("drive.begin")
        listed = {row["serial"]: row for row in json.loads(station.run("bays", "--json"))["value"]}
        assert listed[f"{serial}-extra"]["bay"] == "1"
        assert said_of_used in listed[f"{serial}-used"]["note"]
    finally:
        os.close(claim)
    assert station.logged("drive.finished", drive=f"{serial}-used")["status"] == "Completed"
    box.pull(twin)
    assert station.logged("drive.finished", drive=serial, bay="2")["status"] == "Completed"
    assert (extra.folder / "ro").read_text() == "1\n"


def _runs_from_a_disk() -> bool:
    """Whether the root of this machine lies on a disk that udev shows; not on an overlay, say."""
    number = os.stat("/").st_dev
    folder = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    return folder.exists() and "/devices/virtual/" not in str(folder)


def _left_alone(station: Station, why: str, said: str, **fields: object) -> None:
    def told() -> bool:
        lines = station.lines("drive.left_alone", error=why, **fields)
        return any(said in line["detail"] and line["next"] for line in lines)

    until(told, WAIT_S)


def test_the_rules_alone_protect_a_drive_from_a_station_without_rights(
    station: Station, insert: Insert, serial: str
) -> None:
    for name in ("in", "out"):
        station.file_job(name, f"{serial}-{name}")
    inside, outside = insert(_sata(f"{serial}-in", "1")), insert(_sata(f"{serial}-out", "nowhere"))
    station.start("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
    assert station.logged("drive.read_only", drive=f"{serial}-in")["proven"] is True
    paused = station.logged("drive.paused", drive=f"{serial}-out")
    assert f"is not opened: the kernel does not refuse writes to {outside.node.name}" in paused["detail"]
    assert station.logged("drive.finished", drive=f"{serial}-in")["status"] == "Completed"
    assert not station.lines("drive.finished", drive=f"{serial}-out")
    info = subprocess.run(
        station.machine.inside("udevadm", "info", "-q", "property", str(inside.node)),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert {"UDISKS_IGNORE=1", "UDISKS_AUTO=0", "SYSTEMD_READY=0", "DRIVE_INGEST_READ_ONLY=1"} <= set(info)


def test_floods_of_events_and_a_udevd_that_was_away_change_nothing(
    station: Station, insert: Insert, box: Machine, serial: str
) -> None:
    for name in ("one", "two"):
        station.file_job(name, f"{serial}-{name}")
    station.start()
    first = insert(_sata(f"{serial}-one", "1"))
    for _ in range(30):
        box.trigger("--action=change", f"--name-match={first.node}")
    box.stop_udevd()
    assert station.logged("drive.finished", drive=f"{serial}-one")["status"] == "Completed"
    insert(_sata(f"{serial}-two", "2"), partitions=True)
    assert not station.lines("drive.arrive", drive=f"{serial}-two")
    box.start_udevd()
    box.trigger("--subsystem-match=block")  # as systemd-udev-trigger.service does
    assert station.logged("drive.finished", drive=f"{serial}-two")["status"] == "Completed"
    assert len(station.lines("drive.begin")) == 2
    assert not station.lines("drive.pulled")
