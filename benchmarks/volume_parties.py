"""Who reads a BitLocker volume in the benchmark, and how each is started, watched and ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Protocol

from agent import __version__
from benchmarks.fuse_mounts import dislocked, fuse_versions, ntfs_mounted, why_no_mounts
from benchmarks.processes import Child, Cost
from benchmarks.volume_images import Image
from benchmarks.volume_measure import Run

CHECKOUT = Path(__file__).parents[1]


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
        return why_no_mounts()

    def versions(self) -> str:
        return fuse_versions()

    def run(self, work: Work, image: Image, out: IO[bytes] | int) -> Run:
        begun = time.monotonic()
        with ExitStack() as children, ExitStack() as mounts:
            dislocker, target = dislocked(image.path, [f"--user-password={image.password}"], children, mounts)
            helpers = [dislocker]
            if work is Work.FILES:
                ntfs, target = ntfs_mounted(target, children, mounts)
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
