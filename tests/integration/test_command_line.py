"""The command as people use it: real processes, a real BitLocker disk image, the embedded store."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.volume.block import BytesSource
from agent.volume.ntfs import NtfsVolume
from fixtures import base_image, demo_disk
from tests.kit import images

AGENT = Path(sys.executable).with_name("ingest-agent")
FACTS = images.facts()
SERIAL = FACTS["serial"]
WAIT_S = 120
PARTITION_START = 2 << 20


@dataclass
class Station:
    """A state directory, and the commands run in it. Everything that was printed is kept."""

    folder: Path
    printed: str = ""

    def environment(self, **more: str) -> dict[str, str]:
        """As a person's, with the state elsewhere."""
        return os.environ | {"INGEST_AGENT_STATE": str(self.folder / "state")} | more

    def run(self, *arguments: str, code: int = 0, stdin: bytes = b"", **more: str) -> str:
        """Run the command; its standard output, after a look at its exit code."""
        done = subprocess.run(
            [AGENT, *arguments],
            env=self.environment(**more),
            input=stdin,
            capture_output=True,
            check=False,
            timeout=WAIT_S,
        )
        self.printed += (done.stdout + done.stderr).decode()
        self.said = done.stderr.decode()
        assert done.returncode == code, self.printed
        assert "Traceback" not in self.printed
        return done.stdout.decode()

    def error(self, *arguments: str, code: int, **more: Any) -> str:
        """Run a command that fails with one line."""
        self.run(*arguments, code=code, **more)
        (line,) = [line for line in self.said.splitlines() if line.startswith("error: ")]
        return line

    def drive(self, job: str = "box") -> dict[str, Any]:
        """The job's drive as JSON."""
        shown = json.loads(self.run("job", "show", job, "--json"))
        drive: dict[str, Any] = shown["properties"]["driveList"][0]
        return drive


@dataclass(frozen=True)
class Disk:
    image: Path
    key: Path


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Disk:
    folder = tmp_path_factory.mktemp("disk")
    made = Disk(folder / "disk.img", folder / "key.txt")
    demo_disk(made.image, key_out=made.key)
    return made


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


def _file_job(station: Station, disk: Disk, *more: str) -> None:
    station.run(
        *("job", "create", "box", "--drive", SERIAL, "--key-file", str(disk.key)),
        *("--manifest", FACTS["manifest_file"], "--manifest-hash", FACTS["manifest_md5"], *more),
    )


def test_the_main_job_runs_from_a_disk_image_to_verified_blobs(station: Station, disk: Disk) -> None:
    before = hashlib.sha256(disk.image.read_bytes()).digest()
    _file_job(station, disk, "--verbose-log")
    station.run("replay", str(disk.image), "--serial", SERIAL, code=3)
    drive = station.drive()
    assert (drive["state"], drive["copyStatus"]) == ("CompletedMoreInfo", "CompletedWithErrors")
    assert drive["percentComplete"] == 100
    counts = FACTS["counts"]
    # Nothing was there before, so the blob that the demo plants is made here.
    assert drive["tally"]["done"]["files"] == counts["created"] + counts["skipped"]
    assert drive["tally"]["failed"]["files"] == 2
    told = station.run("log", "show", "box")
    assert FACTS["corrupt"]["blob"] in told
    assert FACTS["missing"]["blob"] in told
    assert "May I erase my source? No" in told
    assert hashlib.sha256(disk.image.read_bytes()).digest() == before


def test_the_embedded_store_holds_ordinary_files(station: Station, disk: Disk) -> None:
    station.run(
        *("job", "create", "box", "--drive", SERIAL, "--key-file", str(disk.key), "--to", "data/box 1/")
    )
    station.run("replay", str(disk.image), "--serial", SERIAL)
    path = station.folder / "state/blobs/data/box 1/session-1/notes/Grüße aus Köln.txt"
    digest, _ = images.hashes("demo")["session-1/notes/Grüße aus Köln.txt"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert "May I erase my source? Yes" in station.run("log", "show", "box")


def test_a_finished_drive_is_not_worked_again(station: Station, disk: Disk) -> None:
    _file_job(station, disk)
    station.run("replay", str(disk.image), "--serial", SERIAL, code=3)
    assert "already processed" in station.error("replay", str(disk.image), "--serial", SERIAL, code=8)


def test_a_station_without_drives_and_bays_says_so(station: Station) -> None:
    assert "no drive is attached, and no bay is configured; devices.udev = true" in station.run("bays")


def test_an_unknown_serial_is_an_extra_drive(station: Station, disk: Disk) -> None:
    line = station.error("replay", str(disk.image), "--serial", "WD-UNKNOWN", code=8)
    assert "extra drive" in line
    assert "[policy: SerialNotSpecified]" in line


@pytest.mark.parametrize(
    ("key", "job_code", "said", "status"),
    [
        (b"000000-" * 7 + b"000011", 0, "[drive: BitLockerKeyInvalid]", "BitLockerKeyInvalid"),
        (b"wrong password", 0, "[drive: BitLockerProtectorNotFound]", "BitLockerProtectorNotFound"),
        (b"111111-222222-333334-444444-555555-666666-111111-222222", 2, "group 3", None),
        (b"-".join([b"000011"] * 7), 2, "8 groups", None),
        (b"", 2, "key is empty", None),
    ],
    ids=["wrong recovery password", "no such protector", "bad group", "too few groups", "empty"],
)
def test_a_key_that_does_not_fit_is_told_apart(
    station: Station, disk: Disk, key: bytes, job_code: int, said: str, status: str | None
) -> None:
    create = ("job", "create", "box", "--drive", SERIAL, "--key-file", "-", "--to", "data")
    if job_code:
        assert said in station.error(*create, code=job_code, stdin=key)
        return
    station.run(*create, stdin=key)
    assert said in station.error("replay", str(disk.image), "--serial", SERIAL, code=4)
    drive = station.drive()
    assert (drive["state"], drive["copyStatus"]) == ("CompletedMoreInfo", status)
    assert f'No: the drive was not imported ("{status}")' in station.run("log", "show", "box")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\0" * 2_000_000, "BitLockerVolumeNotFound"),
        (b"short", "BitLockerVolumeNotFound"),
    ],
    ids=["zeros", "tiny"],
)
def test_an_image_that_holds_no_volume_is_refused(
    station: Station, disk: Disk, content: bytes, said: str
) -> None:
    image = station.folder / "bad.img"
    image.write_bytes(content)
    _file_job(station, disk)
    assert said in station.error("replay", str(image), "--serial", SERIAL, code=4)
    assert station.drive()["state"] == "CompletedMoreInfo"


def test_a_truncated_image_says_where_it_ends(station: Station, disk: Disk) -> None:
    image = station.folder / "cut.img"
    with disk.image.open("rb") as whole:
        image.write_bytes(whole.read(10_000_000))
    _file_job(station, disk)
    line = station.error("replay", str(image), "--serial", SERIAL, code=4)
    assert "10000000" in line
    assert "[drive: DiskOperationFailed]" in line
    assert station.drive()["copyStatus"] == "DiskOperationFailed"


@pytest.mark.parametrize(
    ("option", "value", "status"),
    [
        ("--manifest-hash", "0" * 32, "ManifestCorrupted"),
        ("--manifest", "\\none.xml", "ManifestNotFound"),
        ("--manifest", "\\readme-first.txt", "ManifestCorrupted"),
    ],
)
def test_a_manifest_that_does_not_fit_ends_the_drive(
    station: Station, disk: Disk, option: str, value: str, status: str
) -> None:
    _file_job(station, disk, option, value)
    line = station.error("replay", str(disk.image), "--serial", SERIAL, code=4)
    assert f"[drive: {status}]" in line
    assert station.drive()["copyStatus"] == status


def test_holes_of_a_rescued_image_cost_their_file_and_are_no_zeros(station: Station, disk: Disk) -> None:
    entry = NtfsVolume.open(BytesSource(base_image("demo").volume)).find("\\session-1\\video\\harbour.mp4")
    assert entry is not None
    place = entry.streams[0].extents[0][0]
    assert place is not None
    hole = PARTITION_START + place + 8192
    size = disk.image.stat().st_size
    mapfile = station.folder / "disk.map"
    mapfile.write_text(
        f"0x0 + 1\n0x0 {hole:#x} +\n{hole:#x} 0x1000 -\n{hole + 4096:#x} {size - hole - 4096:#x} +\n"
    )
    _file_job(station, disk)
    station.run("replay", str(disk.image), "--serial", SERIAL, "--mapfile", str(mapfile), code=3)
    assert station.drive()["tally"]["failed"]["files"] == 3
    told = station.run("log", "show", "box")
    assert "harbour.mp4" in told
    (log,) = (station.folder / "state/logs/box").glob("**/*_error.xml")
    assert f"bytes {hole}..{hole + 4096}" in log.read_text()


def test_a_mapfile_of_another_image_is_refused_and_the_place_kept(station: Station, disk: Disk) -> None:
    mapfile = station.folder / "disk.map"
    mapfile.write_text(f"0x0 + 1\n0x0 {disk.image.stat().st_size + 512:#x} +\n")
    _file_job(station, disk)
    said = station.error("replay", str(disk.image), "--serial", SERIAL, "--mapfile", str(mapfile), code=5)
    assert "is no mapfile of this image" in said
    assert station.drive()["state"] == "Transferring"


def test_an_unreachable_store_keeps_the_place(station: Station, disk: Disk) -> None:
    key, settings = station.folder / "store-key", station.folder / "agent.toml"
    key.write_text("a2V5")
    settings.write_text(
        f"""
        [store]
        kind = "azure"
        address = "http://127.0.0.1:9/account"
        credential_file = "{key}"
        [transfer]
        give_up_after_s = 1
        """
    )
    _file_job(station, disk)
    line = station.error("--config", str(settings), "replay", str(disk.image), "--serial", SERIAL, code=6)
    assert "127.0.0.1:9" in line
    assert "[network: StoreUnreachable]" in line
    assert station.drive()["state"] == "Transferring"
    station.run("replay", str(disk.image), "--serial", SERIAL, code=3)


def test_a_file_that_is_not_there_is_the_stations_trouble(station: Station, disk: Disk) -> None:
    _file_job(station, disk)
    line = station.error("replay", "/nowhere.img", "--serial", SERIAL, code=5)
    assert "[station: DeviceUnavailable]" in line


def test_no_secret_is_printed_kept_or_passed_in_an_argument(station: Station, disk: Disk) -> None:
    _file_job(station, disk, "--verbose-log", "--backup-manifest")
    process = subprocess.Popen(
        [AGENT, "replay", str(disk.image), "--serial", SERIAL],
        env=station.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    seen = b""
    while process.poll() is None:
        seen += _arguments_and_environments()
        time.sleep(0.05)
    assert b"agent.transfer.reader" in seen
    station.run("job", "show", "box")
    station.run("job", "list", "--json")
    secrets = [disk.key.read_text().strip().encode(), FACTS["placeholder_account_key"].encode()]
    kept = {path: path.read_bytes() for path in (station.folder / "state").rglob("*") if path.is_file()}
    for secret in secrets:
        assert secret not in seen
        assert secret.decode() not in station.printed
        assert [str(path) for path, content in kept.items() if secret in content] == []


def _arguments_and_environments() -> bytes:
    found = b""
    for folder in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                found += (folder / name).read_bytes() + b"\n"
            except OSError:
                continue
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order_and_the_next_run_goes_on(
    station: Station, disk: Disk, number: signal.Signals
) -> None:
    _file_job(station, disk)
    process = subprocess.Popen(
        [AGENT, "replay", str(disk.image), "--serial", SERIAL],
        env=station.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("opened"):
            break
    process.send_signal(number)
    _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 128 + number, said
    assert "the place is kept" in said
    assert "Traceback" not in said
    assert station.drive()["state"] == "Transferring"
    station.run("replay", str(disk.image), "--serial", SERIAL, code=3)
    assert station.drive()["tally"]["discovered"]["files"] == FACTS["counts"]["blobs_listed"]


def test_killed_at_any_moment_it_goes_on_and_loses_nothing(station: Station, disk: Disk) -> None:
    station.run(
        *("job", "create", "box", "--drive", SERIAL, "--key-file", str(disk.key), "--to", "data"),
        *("--disposition", "rename"),
    )
    for pause_s in (1.5, 2.0, 2.5, 3.0):
        process = subprocess.Popen(
            [AGENT, "replay", str(disk.image), "--serial", SERIAL],
            env=station.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(pause_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if station.drive()["state"] != "Completed":
        station.run("replay", str(disk.image), "--serial", SERIAL)
    assert station.drive()["state"] == "Completed"
    expected = {
        path: digest
        for path, (digest, _) in images.hashes("demo").items()
        if not path.startswith("System Volume Information/")
    }
    root = station.folder / "state/blobs/data"
    stored = {
        str(path.relative_to(root)).replace("%25", "%"): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }
    assert stored == expected


def test_a_job_can_be_filed_from_a_request_shown_listed_and_cancelled(station: Station) -> None:
    request = {
        "properties": {
            "jobType": "Import",
            "state": "Shipping",
            "driveList": [{"driveId": "A 1", "bitLockerKey": "000011-" * 7 + "000011"}],
        }
    }
    text = json.dumps(request).encode()
    station.run("job", "create", "box", "--from", "-", "--to", "data", stdin=text)
    assert json.loads(station.run("job", "show", "box", "--json"))["properties"]["state"] == "Shipping"
    assert "box" in station.run("job", "list")
    assert "A 1" in station.run("drive", "list")
    assert "cancel requested" in station.run("job", "cancel", "box")
    assert "JobExists" in station.error(
        "job", "create", "box", "--from", "-", "--to", "d-2", stdin=text, code=8
    )
    assert "000011" not in station.printed


def test_a_draft_waits_until_it_is_released(station: Station, disk: Disk) -> None:
    _file_job(station, disk, "--draft")
    assert "is in Creating" in station.error("replay", str(disk.image), "--serial", SERIAL, code=8)
    assert "Shipping" in station.run("job", "ship", "box")


def test_a_cancelled_job_copies_nothing_and_walks_the_same_states(station: Station, disk: Disk) -> None:
    _file_job(station, disk)
    station.run("job", "cancel", "box")
    station.run("replay", str(disk.image), "--serial", SERIAL, code=3)
    drive = station.drive()
    assert (drive["state"], drive["copyStatus"]) == ("CompletedMoreInfo", "Cancelled")
    assert not (station.folder / "state/blobs/demo").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("job", "create", "Bad_Name", "--drive", "A", "--to", "data", "--allow-unencrypted"),
        ("job", "create", "box", "--drive", "A", "--to", "Bad_Container", "--allow-unencrypted"),
        ("job", "create", "box", "--drive", "A", "--to", "data"),
        ("job", "create", "box", "--drive", "A", "--allow-unencrypted"),
        ("job", "create", "box"),
        ("job", "show"),
        ("replay",),
        ("nonsense",),
    ],
    ids=" ".join,
)
def test_wrong_use_is_told_in_words_with_exit_code_2(station: Station, arguments: tuple[str, ...]) -> None:
    station.run(*arguments, code=2)
    assert station.said.strip()


def test_help_is_there_for_every_command(station: Station) -> None:
    for arguments in ((), ("job",), ("job", "create"), ("drive",), ("replay",), ("run",), ("log", "show")):
        assert "Usage" in station.run(*arguments, "--help")


def test_a_wrong_store_setting_is_found_before_the_drive_is_touched(station: Station, disk: Disk) -> None:
    _file_job(station, disk)
    settings, key = station.folder / "agent.toml", station.folder / "key"
    key.write_text("a2V5")
    settings.write_text(f'[store]\nkind = "azure"\naddress = "blah"\ncredential_file = "{key}"\n')
    line = station.error("--config", str(settings), "replay", str(disk.image), "--serial", SERIAL, code=5)
    assert "[station: ConfigInvalid]" in line
    assert station.drive()["state"] == "Specified"


def test_a_log_that_was_cut_off_tells_what_it_can_and_says_no(station: Station, disk: Disk) -> None:
    _file_job(station, disk)
    station.run("replay", str(disk.image), "--serial", SERIAL, code=3)
    (log,) = (station.folder / "state/logs/box").glob("*/*_error.xml")
    cut = station.folder / "cut.xml"
    cut.write_bytes(log.read_bytes()[:-60])
    told = station.run("log", "show", str(cut), code=2)
    assert FACTS["missing"]["blob"] in told
    assert "May I erase my source? No: the log is damaged or ends too early" in told


def test_a_log_that_is_not_there_yet_is_told_with_the_drives_state(station: Station, disk: Disk) -> None:
    _file_job(station, disk)
    assert "the drive is Specified" in station.error("log", "show", "box", code=8)
    assert "neither a file nor" in station.error("log", "show", "Nothing.xml", code=8)


def test_operators_record_what_becomes_of_a_drive(station: Station, disk: Disk) -> None:
    _file_job(station, disk)
    assert "NeverReceived" in station.run("drive", "never-received", SERIAL, "--note", "not in the box")
    station.run("replay", str(disk.image), "--serial", SERIAL, code=3)
    assert "ShippedBack; job box is Closed" in station.run("drive", "ship-back", SERIAL)
    assert "MoveRefused" in station.error("drive", "resolve", SERIAL, "--note", "mended", code=8)
    told = station.run("job", "history", "box")
    assert "not in the box" in told
    events = json.loads(station.run("drive", "history", SERIAL, "--json"))["value"]
    assert [e["what"] for e in events][-1] == "drive.ship_back"


def test_options_beside_a_request_are_not_dropped(station: Station) -> None:
    drive = {"driveId": "A1", "bitLockerKey": "-".join(["000011"] * 8)}
    text = json.dumps({"properties": {"jobType": "Import", "driveList": [drive]}}).encode()
    options = ("--to", "data", "--diagnostics", "my-logs", "--verbose-log", "--backup-manifest")
    printed = station.run("job", "create", "box", "--from", "-", *options, stdin=text)
    assert "drive A1 opens with a recovery password" in printed
    properties = json.loads(station.run("job", "show", "box", "--json"))["properties"]
    assert properties["diagnosticsPath"] == "my-logs"
    assert properties["logLevel"] == "Verbose"
    assert properties["backupDriveManifest"] is True
    line = station.error("job", "create", "box2", "--from", "-", "--drive", "X", stdin=text, code=2)
    assert "leave out --drive" in line


@pytest.mark.parametrize(
    "options",
    [
        ("--manifest", "\\m.xml", "--to", "data"),
        ("--manifest", "", "--to", "data"),
        ("--manifest-hash", "0" * 32, "--to", "data"),
    ],
    ids=["both", "empty", "hash alone"],
)
def test_contradicting_options_are_refused(station: Station, options: tuple[str, ...]) -> None:
    station.error("job", "create", "box", "--drive", "A", "--allow-unencrypted", *options, code=2)


def test_an_empty_image_is_not_a_drive(station: Station, disk: Disk) -> None:
    image = station.folder / "empty.img"
    image.touch()
    _file_job(station, disk)
    assert "is empty" in station.error("replay", str(image), "--serial", SERIAL, code=5)
    assert station.drive()["state"] == "Specified"


def test_an_output_that_is_full_or_closed_is_no_bug(station: Station) -> None:
    for redirect, code in ((">&-", 0), (">/dev/full", 5)):
        done = subprocess.run(
            ["bash", "-c", f'"{AGENT}" job list {redirect}'],
            env=station.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert "bug" not in done.stderr
