"""Who reads a BitLocker volume in the benchmark, and how each is started, watched and ended."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Protocol

from agent import __version__
from benchmarks.processes import Child, Cost, PartyFailed
from benchmarks.volume_images import Image
from benchmarks.volume_measure import Run

CHECKOUT = Path(__file__).parents[1]
OPEN_S = 60
"""For a mount to stand."""
BUSY_S = 10
"""For the kernel to let go of a mount."""
_POLL_S = 0.002


class Work(StrEnum):
    """What is asked of a reader."""

    FILES = "files"
    """The SHA-256 of every file, with its path, on standard output."""
    VOLUME = "volume"
    """The plain bytes of the volume on standard output."""


class Party(Protocol):
    """A reader, with all processes that it takes."""

    name: str

    def missing(self) -> str | None:
        """Why it cannot run here, and what would mend that; None when it can."""
        ...

    def versions(self) -> str:
        """Of all parts. Only asked when nothing is missing."""
        ...

    def run(self, work: Work, image: Image, out: IO[bytes] | int) -> Run:
        """Do ``work`` on ``image`` from nothing to the last byte on ``out``. Raises PartyFailed."""
        ...


def parties() -> tuple[Party, ...]:
    """Ours first."""
    return Own(), FusePair(), Libyal()


class Own:
    """``ingest-agent volume hash`` and ``volume decrypt``, as a technician starts them."""

    name = "ingest-agent"

    def __init__(self) -> None:
        self._start: Cost | None = None

    def missing(self) -> str | None:
        return None

    def versions(self) -> str:
        found = (f"{name} {version(name)}" for name in ("cryptography", "numpy"))
        return f"{__version__} ({', '.join(found)})"

    def run(self, work: Work, image: Image, out: IO[bytes] | int) -> Run:
        if self._start is None:
            self._start = _cost(self.name, self._command("--help"))
        verb = "hash" if work is Work.FILES else "decrypt"
        command = self._command(verb, str(image.path), "--key-file", "-")
        return _run(self.name, command, image.password, out).less_reads(self._start.reads)

    def _command(self, *rest: str) -> list[str]:
        run = "from agent.cli.main import main; main()"
        return [sys.executable, "-c", run, "volume", *rest]


class Libyal:
    """libbde and libfsntfs in one Python process: both through their own bindings."""

    name = "libbde + libfsntfs"

    def __init__(self) -> None:
        self._start: Cost | None = None

    def missing(self) -> str | None:
        absent = [name for name in ("libbde-python", "libfsntfs-python") if not _has_package(name)]
        return f"install {' and '.join(absent)} with pip" if absent else None

    def versions(self) -> str:
        return f"{version('libbde-python')}, {version('libfsntfs-python')}"

    def run(self, work: Work, image: Image, out: IO[bytes] | int) -> Run:
        if self._start is None:
            self._start = _cost(self.name, [sys.executable, "-c", "import benchmarks.volume_libyal"])
        command = [sys.executable, "-m", "benchmarks.volume_libyal", work.value, str(image.path)]
        return _run(self.name, command, image.password, out).less_reads(self._start.reads)


class FusePair:
    """dislocker-fuse shows the volume as a file, ntfs-3g mounts that, and a process reads the files."""

    name = "dislocker + ntfs-3g"

    def missing(self) -> str | None:
        absent = [name for name in ("dislocker-fuse", "ntfs-3g") if shutil.which(name) is None]
        if absent:
            return f"no {' and no '.join(absent)}; install the packages dislocker and ntfs-3g"
        if os.geteuid() != 0:
            return "mounting needs root"
        try:
            os.close(os.open("/dev/fuse", os.O_RDWR))
        except OSError as error:
            return f"/dev/fuse: {error.strerror}"
        return None

    def versions(self) -> str:
        dislocker = _first_line("dislocker-fuse", "--help").rpartition(", v")[2].partition(" ")[0]
        return f"{dislocker}, {_first_line('ntfs-3g', '--version').split()[1]}"

    def run(self, work: Work, image: Image, out: IO[bytes] | int) -> Run:
        begun = time.monotonic()
        with ExitStack() as children, ExitStack() as mounts:
            dislocker, target = _dislocked(image, children, mounts)
            helpers = [dislocker]
            if work is Work.FILES:
                ntfs, target = _mounted(target, children, mounts)
                helpers.append(ntfs)
            opened = time.monotonic()
            command = [sys.executable, "-m", "benchmarks.volume_walk", work.value, str(target)]
            reader = children.enter_context(
                Child(f"the reader over {self.name}", command, stdout=out, folder=CHECKOUT)
            )
            reader.wait(helpers)
            for helper in helpers:
                helper.look()
            costs = [reader.cost()]
            mounts.close()
            of_image = _less_requests(dislocker.cost())
            costs += [helper.cost() for helper in helpers[1:]]
        assert reader.ended is not None
        return Run.of(opened - begun, reader.ended - begun, of_image, costs)


def _dislocked(image: Image, children: ExitStack, mounts: ExitStack) -> tuple[Child, Path]:
    """dislocker-fuse in the foreground, and the file that it shows. The fixture's password is no secret."""
    folder = Path(mounts.enter_context(tempfile.TemporaryDirectory()))
    command: list[str | Path] = [
        "dislocker-fuse",
        "--readonly",
        "--volume",
        image.path,
        f"--user-password={image.password}",
        "--",
        "-f",
        folder,
    ]
    child = children.enter_context(Child("dislocker-fuse", command))
    mounts.callback(_unmount, folder)
    _await_mount(child, folder)
    return child, folder / "dislocker-file"


def _mounted(plain: Path, children: ExitStack, mounts: ExitStack) -> tuple[Child, Path]:
    """ntfs-3g in the foreground on the file itself: a loop device between was no faster."""
    folder = Path(mounts.enter_context(tempfile.TemporaryDirectory()))
    command: list[str | Path] = ["ntfs-3g", "-o", "ro,no_detach", plain, folder]
    child = children.enter_context(Child("ntfs-3g", command))
    mounts.callback(_unmount, folder)
    _await_mount(child, folder)
    return child, folder


def _await_mount(child: Child, folder: Path) -> None:
    deadline = time.monotonic() + OPEN_S
    while not folder.is_mount():
        if child.is_over():
            child.cost()
            raise PartyFailed(f"{child.name} ended before its mount stood")
        if time.monotonic() > deadline:
            raise PartyFailed(f"{child.name} made no mount in {OPEN_S} s")
        time.sleep(_POLL_S)


def _unmount(folder: Path) -> None:
    """The kernel may need a moment to let go of the last file."""
    deadline = time.monotonic() + BUSY_S
    while folder.is_mount():
        done = subprocess.run(["umount", folder], capture_output=True, text=True)
        if done.returncode and time.monotonic() > deadline:
            raise PartyFailed(f"{folder} stays mounted: {done.stderr.strip()}")
        time.sleep(_POLL_S)


def _less_requests(dislocker: Cost) -> Cost:
    """Without the reads by which dislocker fetches requests from FUSE: it writes one answer to each."""
    if dislocker.reads is None or dislocker.writes is None:
        return dislocker
    return replace(dislocker, reads=max(0, dislocker.reads - dislocker.writes))


def _run(name: str, command: Sequence[str], password: str, out: IO[bytes] | int) -> Run:
    with Child(name, command, stdin=password.encode(), stdout=out, folder=CHECKOUT) as child:
        cost = child.cost()
        assert child.ended is not None
        opened = child.first_said or child.begun
        return Run.of(opened - child.begun, child.ended - child.begun, cost)


def _cost(name: str, command: Sequence[str]) -> Cost:
    with Child(name, command, folder=CHECKOUT) as child:
        return child.cost()


def _has_package(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().partition("\n")[0]
