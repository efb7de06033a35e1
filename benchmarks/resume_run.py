"""A station whose runs are watched by its store: when writes come, and what processors did until then."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.drives_images import Drive
from benchmarks.processes import DEADLINE_S, Child, Member, PartyFailed, family, look_at
from benchmarks.resume_figures import Resume, Start, is_log
from benchmarks.resume_server import serving
from benchmarks.resume_store import Put, RememberingStore
from benchmarks.transfer_own import CONTAINER, JOB, SERIAL, Station, station
from benchmarks.volume_images import PASSWORD

_SETTLED_S = 1.0
"""After a kill, for what was on its way to the store."""


@dataclass(frozen=True, slots=True)
class Watched:
    """One drive at one station."""

    drive: Drive
    store: RememberingStore
    station: Station

    def start_cold(self) -> Start:
        """Until the first byte of a drive that nobody has seen before; then it is killed."""
        with self._running() as (child, first_new):
            start = self._first(child, first_new, self.drive.about)
            _kill(child)
        return start

    def resume(self, part: float) -> Resume:
        """Kill when that part of the files (of a single one, of its bytes) is written, and run it again.

        Raises PartyFailed when not all is there at the end.
        """
        before, killed = self._killed(part)
        count = len(self.store.puts)
        known = {put.key for put in before if put.ended is not None}
        with self._running(known) as (child, first_new):
            start = self._first(child, first_new, self.drive.about)
            child.cost()
        if self.store.kept(CONTAINER) != (self.drive.files, self.drive.file_bytes):
            raise PartyFailed(f"{self.drive.about}: the store has {self.store.kept(CONTAINER)} at the end")
        after = self.store.puts[count:]
        return Resume.of(self.drive.about, before, killed, after, start)

    def _killed(self, part: float) -> tuple[list[Put], float]:
        """What was written by a run that was killed, and when it was."""
        is_one = self.drive.files == 1
        wanted = part * (self.drive.file_bytes if is_one else self.drive.files)
        reached, written = threading.Event(), 0.0

        def count(put: Put) -> None:
            nonlocal written
            if not is_log(put):
                written += put.body_bytes if is_one else 1
            if written >= wanted:
                reached.set()

        self.store.ended = count
        with self._running() as (child, _):
            _await(reached, child)
            killed = _kill(child)
        time.sleep(_SETTLED_S)
        self.store.ended = lambda put: None
        return list(self.store.puts), killed

    @contextmanager
    def _running(
        self, known: Container[tuple[str, str, str]] = ()
    ) -> Iterator[tuple[Child, threading.Event]]:
        """The command, and an event: a write began that is not ``known``."""
        first_new = threading.Event()

        def began(put: Put) -> None:
            if not first_new.is_set() and put.key not in known and not is_log(put):
                first_new.set()

        self.store.began = began
        with self.station.replay(self.drive.path) as child:
            yield child, first_new

    @staticmethod
    def _first(child: Child, first_new: threading.Event, about: str) -> Start:
        _await(first_new, child)
        wall_s = time.monotonic() - child.begun
        members = [found for pid in family(child.pid) if (found := look_at(pid)) is not None]
        parts = tuple((_name(member), member.cpu_s) for member in members)
        return Start(about, wall_s, sum(cpu_s for _, cpu_s in parts), parts)


def _await(event: threading.Event, child: Child) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not event.wait(0.1):
        if child.is_over() or time.monotonic() > deadline:
            raise PartyFailed("the run ended before the store saw what was waited for")


def _kill(child: Child) -> float:
    """All processes of a run at once, without warning; gives when."""
    killed = time.monotonic()
    for pid in family(child.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while not child.is_over():
        time.sleep(0.01)
    return killed


def _name(member: Member) -> str:
    return next(
        (name for name in ("reader", "uploader") if f"agent.transfer.{name}" in member.command), "station"
    )


@contextmanager
def watched(work: Path, drive: Drive) -> Iterator[Watched]:
    """A new station with a job for ``drive``, and a store of its own."""
    store = RememberingStore()
    with serving(store) as endpoint, station(endpoint, state=work) as made:
        key = made.folder / "password"
        key.write_text(PASSWORD, "utf-8")
        made.file_job(JOB, SERIAL, key)
        yield Watched(drive, store, made)
