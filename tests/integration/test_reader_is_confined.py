"""The real reader behind its walls: what the kernel says of it, and what its death looks like.

Hostile code inside of the reader is played by a ``sitecustomize`` on PYTHONPATH: it waits for the audit
event of the sandbox, and then does what an attacker would, with all that the reader holds.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.catalog import Catalog, open_catalog
from agent.config import Settings, StoreSettings, TransferSettings
from agent.devices.fake import FakeSource
from agent.errors import WorkerLost
from agent.model.codes import Disposition
from agent.model.identity import JobName, SerialNumber
from agent.model.job import Destination, DriveSpec, JobSpec
from agent.model.keys import RecoveryPassword
from agent.model.states import DriveState
from agent.station import attempt as attempt_module
from agent.station.retries import MAX_CRASHES
from agent.station.visit import Visit
from agent.transfer.pair import Pair
from agent.transfer.sandbox.confinement import ENTERED
from fixtures import demo_disk
from tests.kit import images
from tests.kit.log import KeptLog

WAIT_S = 60
JOB, SERIAL = JobName.parse("box"), SerialNumber.parse("S1")
SECRET = "correct horse battery staple"


@dataclass
class Bench:
    """A catalog with one job for one drive that is plugged in."""

    catalog: Catalog
    source: FakeSource
    settings: Settings
    log: KeptLog = field(default_factory=KeptLog)

    async def visit(self) -> Visit:
        """Work the drive to its end, or until its workers were lost too often."""
        (device,) = await self.source.devices()
        job = await self.catalog.job(JOB)
        visit = Visit(self.catalog, self.source, self.settings, self.log, device, job, patient=False)
        async with asyncio.timeout(WAIT_S):
            await visit.run()
        return visit

    async def state(self) -> DriveState:
        return (await self.catalog.job(JOB)).drive(SERIAL).state

    @property
    def losses(self) -> list[str]:
        return [fields["detail"] for fields in self.log.named("worker.lost")]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    settings = Settings(
        state_dir=tmp_path / "state",
        store=StoreSettings("directory", str(tmp_path / "blobs")),
        transfer=TransferSettings(give_up_after_s=2),
    )
    spec = JobSpec(
        name=JOB,
        drives=(DriveSpec(SERIAL, None),),
        destination=Destination.parse("box-data"),
        disposition=Disposition.RENAME,
        allow_unencrypted=True,
    )
    source = FakeSource()
    source.plug("1", images.unpack("demo", tmp_path), "S1")
    async with open_catalog(tmp_path / "state/catalog.sqlite", tmp_path / "state/key") as catalog:
        await catalog.create_job(spec, ship=True, who="test")
        yield Bench(catalog, source, settings)


@dataclass
class Site:
    """A folder whose ``sitecustomize`` every worker runs; ``told`` is what it wrote."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def put(self, code: str) -> None:
        """Code that may use ``tell(text)`` and is run by all workers before anything else."""
        log = self.folder / "told"
        (self.folder / "sitecustomize.py").write_text(
            "import ctypes, os, sys\n"
            f"log = os.open({str(log)!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n"
            "def tell(text):\n    os.write(log, text.encode() + b'\\n')\n" + code
        )
        self.monkeypatch.setenv("PYTHONPATH", str(self.folder), prepend=os.pathsep)

    def strike(self, what: str, *, times: int, before: str = "") -> None:
        """The first readers do ``what`` (an expression) as soon as they are confined, ``before`` at once."""
        self.put(
            f"{before}\n"
            f"marks = [{str(self.folder)!r} + f'/mark{{n}}' for n in range({times})]\n"
            "def claim(path):\n"
            "    try:\n        os.close(os.open(path, os.O_CREAT | os.O_EXCL))\n"
            "    except FileExistsError:\n        return False\n"
            "    return True\n"
            "if 'agent.transfer.reader' in ' '.join(sys.orig_argv) and any(map(claim, marks)):\n"
            f"    def fail(error):\n        raise error\n"
            f"    def hook(event, arguments):\n        if event == {ENTERED!r}:\n            {what}\n"
            "    sys.addaudithook(hook)\n"
        )

    @property
    def told(self) -> list[str]:
        return (self.folder / "told").read_text("utf-8").splitlines()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    folder = tmp_path / "site"
    folder.mkdir()
    return Site(folder, monkeypatch)


async def test_the_walls_of_the_reader_stand_in_the_station_s_log(bench: Bench) -> None:
    visit = await bench.visit()
    assert visit.outcome is None
    assert await bench.state() is DriveState.COMPLETED
    (opened,) = bench.log.named("opened")
    said = opened["confinement"]
    assert said.startswith("no new privileges, no core dumps, ends with its parent, memory <= ")
    if "lacking" not in said:
        assert "Landlock ABI " in said
        assert "seccomp (" in said


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RecoveryPassword]:
    folder = tmp_path_factory.mktemp("disk")
    demo_disk(folder / "disk.img", key_out=folder / "key.txt")
    return folder / "disk.img", RecoveryPassword.parse((folder / "key.txt").read_text("ascii").strip())


async def test_the_kernel_says_that_the_reader_is_confined(bench: Bench, site: Site) -> None:
    """The reader waits behind its walls, at a pipe, until it has been looked at."""
    gate = site.folder / "gate"
    os.mkfifo(gate)
    opened_gate = f"gate = os.open({str(gate)!r}, os.O_RDWR)"
    site.strike("tell(str(os.getpid())); os.read(gate, 1)", times=1, before=opened_gate)
    visit = asyncio.create_task(bench.visit())
    while not (site.folder / "told").exists() or not site.told:  # noqa: ASYNC110 - another process writes it
        await asyncio.sleep(0.05)
    place = Path("/proc") / site.told[0]
    status = dict(line.split(":\t", 1) for line in (place / "status").read_text("ascii").splitlines())
    limits = (place / "limits").read_text("ascii")
    gate.write_bytes(b"x")
    await visit
    (opened,) = bench.log.named("opened")
    if "lacking" in opened["confinement"]:
        pytest.skip(f"this machine does not have all walls: {opened['confinement']}")
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert int(status["CapEff"], 16) == 0
    assert status["Threads"] == "1", "what runs before the walls is not behind all of them"
    rows = {row[:26].strip(): row[26:].split()[0] for row in limits.splitlines()[1:]}
    assert rows["Max core file size"] == "0"
    assert "unlimited" not in {
        rows[name] for name in ("Max cpu time", "Max file size", "Max address space", "Max open files")
    }


HELD = """
import fcntl, json, stat
def held(fd):
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    mode = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
    return [stat.S_ISREG(status.st_mode), status.st_nlink, status.st_ino, mode]
"""


async def test_the_reader_holds_nothing_open_but_the_drive_read_only_and_files_without_a_name(
    bench: Bench, site: Site
) -> None:
    site.strike(
        "tell(json.dumps([held(fd) for fd in range(3, 4096) if fd != log and held(fd)]))",
        times=1,
        before=HELD,
    )
    (device,) = await bench.source.devices()
    fd = await bench.source.open(device)
    inode = os.fstat(fd).st_ino
    os.close(fd)
    await bench.visit()
    (told,) = site.told
    named = [held[2:] for held in json.loads(told) if held[0] and held[1] > 0]
    assert named == [[inode, os.O_RDONLY]]


async def test_the_reader_s_environment_holds_no_credential_and_no_proxy(
    bench: Bench, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:word@proxy.invalid")
    monkeypatch.setenv("INGEST_AGENT_STORE_CREDENTIAL_FILE", "/nowhere")
    site.strike("tell(' '.join([*os.environ, *sys.orig_argv]))", times=1)
    await bench.visit()
    (names,) = site.told
    assert "OPENBLAS_NUM_THREADS" in names
    assert "PROXY" not in names
    assert "INGEST_AGENT" not in names


LATE = f"""
confined = False
def hook(event, arguments):
    global confined
    if event == {ENTERED!r}:
        confined = True
        tell('entered')
    elif confined and event in ('import', 'open'):
        tell(event + ' ' + str(arguments[0]))
sys.addaudithook(hook)
"""


async def test_the_reader_imports_and_opens_nothing_once_it_is_confined(bench: Bench, site: Site) -> None:
    """A module that is imported late is one that is missing, on some drive, some day."""
    site.put(LATE)
    await bench.visit()
    assert await bench.state() is DriveState.COMPLETED
    assert site.told == ["entered"]


async def test_nor_does_it_for_a_bitlocker_disk_with_trouble(
    bench: Bench, site: Site, disk: tuple[Path, RecoveryPassword]
) -> None:
    site.put(LATE)
    image, credential = disk
    other = SerialNumber.parse("S2")
    spec = JobSpec(
        name=JobName.parse("box2"),
        drives=(DriveSpec(other, credential),),
        destination=Destination.parse("box2-data"),
        disposition=Disposition.RENAME,
    )
    await bench.catalog.create_job(spec, ship=True, who="test")
    bench.source.pull("1")
    bench.source.plug("2", image, "S2")
    (device,) = await bench.source.devices()
    job = await bench.catalog.job(spec.name)
    visit = Visit(bench.catalog, bench.source, bench.settings, bench.log, device, job, patient=False)
    await visit.run()
    assert visit.outcome is None
    assert site.told == ["entered"]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (
            "os.execv('/bin/sh', ['sh'])",
            "signal 31 (SIGSYS): it asked the kernel for what its sandbox forbids",
        ),
        ("ctypes.string_at(8)", "signal 11 (SIGSEGV): it crashed"),
        ("bytearray(1 << 40)", "it needed more memory than it may have in sitecustomize, line "),
        (f"fail(ValueError({SECRET!r}))", "a bug of ingest-agent: ValueError in sitecustomize, line "),
    ],
    ids=["attack", "crash", "memory", "bug"],
)
async def test_a_reader_that_dies_is_one_event_with_a_sentence_and_is_tried_again(
    bench: Bench, site: Site, what: str, words: str
) -> None:
    site.strike(what, times=1)
    visit = await bench.visit()
    (loss,) = bench.losses
    assert loss.startswith(f"the reader process ended: {words}")
    assert SECRET not in str(bench.log.lines)
    assert visit.outcome is None
    assert await bench.state() is DriveState.COMPLETED


async def test_a_drive_that_kills_every_reader_is_one_finding_on_that_drive(bench: Bench, site: Site) -> None:
    site.strike("os.execv('/bin/sh', ['sh'])", times=MAX_CRASHES)
    visit = await bench.visit()
    assert len(bench.losses) == MAX_CRASHES
    assert isinstance(visit.outcome, WorkerLost)
    assert "SIGSYS" in visit.outcome.line()
    assert "`drive resolve`" in visit.outcome.line()
    assert await bench.state() is DriveState.FAULTED


def _let_the_first_reader_die_of(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [number]
    real = Pair.start

    async def start(*arguments: Any) -> Pair:
        pair = await real(*arguments)
        if left:
            os.kill(_reader_pid(), left.pop())
        return pair

    monkeypatch.setattr(attempt_module.Pair, "start", start)


def _reader_pid() -> int:
    """The child of this process that is, or is about to become, a reader."""
    while True:
        for place in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((place / "stat").read_text("ascii", "replace").rpartition(")")[2].split()[1])
                if parent == os.getpid() and b"agent.transfer.reader" in (place / "cmdline").read_bytes():
                    return int(place.name)
            except OSError:
                continue


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGKILL, "signal 9 (SIGKILL): it was killed from outside, or by the kernel"),
        (signal.SIGSYS, "signal 31 (SIGSYS): it asked the kernel"),
    ],
)
async def test_a_reader_that_is_killed_is_one_event_that_names_the_signal(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    _let_the_first_reader_die_of(number, monkeypatch)
    visit = await bench.visit()
    (loss,) = bench.losses
    assert loss.startswith(f"the reader process ended: {words}")
    assert visit.outcome is None
    assert await bench.state() is DriveState.COMPLETED
