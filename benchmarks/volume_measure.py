"""What processes cost: wall and processor time, reads, peak memory, taken by the kernel's own books."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO

SAMPLE_MS = 20
"""Between looks at the peak memory; the kernel keeps the peak, so only the last moment can be missed."""
DEADLINE_S = 3600
_STOP_S = 10
_TOLD_BYTES = 4096


class PartyFailed(Exception):
    """A process of a party ended wrongly, or not at all. The text names it and says what it said last."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process took from its start to its end.

    ``reads`` and ``writes`` are system calls and ``disk_bytes`` came from a device and not from the page
    cache; None where the system does not let us look.
    """

    cpu_s: float
    peak_bytes: int
    reads: int | None
    writes: int | None
    disk_bytes: int | None


@dataclass(frozen=True, slots=True)
class Run:
    """One timed run of a party: until its first byte (``open_s``), until its end, and all its processes."""

    open_s: float
    wall_s: float
    cpu_s: float
    peak_bytes: int
    reads: int | None
    disk_bytes: int | None

    @classmethod
    def of(cls, open_s: float, wall_s: float, reader: Cost, helpers: Sequence[Cost] = ()) -> Run:
        """Sums over ``reader`` and ``helpers``; ``reads`` are those of ``reader``."""
        costs = (reader, *helpers)
        disk = [cost.disk_bytes for cost in costs]
        return cls(
            open_s=open_s,
            wall_s=wall_s,
            cpu_s=sum(cost.cpu_s for cost in costs),
            peak_bytes=sum(cost.peak_bytes for cost in costs),
            reads=reader.reads,
            disk_bytes=None if None in disk else sum(filter(None, disk)),
        )

    def less_reads(self, reads: int | None) -> Run:
        """Without ``reads`` that were not of the image."""
        if self.reads is None or reads is None:
            return replace(self, reads=None)
        return replace(self, reads=max(0, self.reads - reads))


class Child:
    """A process from its start to its cost; as a context manager it is ended at the latest on leaving."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        stdin: bytes = b"",
        stdout: int | IO[bytes] = subprocess.DEVNULL,
        folder: Path | None = None,
    ) -> None:
        """``stdin`` fits into a pipe. ``name`` is for messages; raises PartyFailed without the program."""
        self.name = name
        self.begun = time.monotonic()
        self.first_said: float | None = None
        self.ended: float | None = None
        self._told = b""
        self._peak_bytes = 0
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.PIPE, cwd=folder
            )
        except OSError as error:
            raise PartyFailed(f"{name} cannot be started: {error.strerror}") from None
        self.pid = self._process.pid
        self._pidfd = os.pidfd_open(self.pid)
        assert self._process.stdin is not None
        assert self._process.stderr is not None
        self._process.stdin.write(stdin)
        self._process.stdin.close()
        self._stderr = self._process.stderr.fileno()
        os.set_blocking(self._stderr, False)

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()
        os.close(self._pidfd)

    @property
    def stdout(self) -> IO[bytes]:
        """What it writes, if ``stdout`` was a pipe."""
        assert self._process.stdout is not None
        return self._process.stdout

    def is_over(self) -> bool:
        """Whether it ended; its cost can still be asked for."""
        if self.ended is None and select.select([self._pidfd], [], [], 0)[0]:
            self.ended = time.monotonic()
        return self.ended is not None

    def look(self) -> None:
        """Take the peak memory as of now, and what it has said."""
        if self.ended is None:
            self._peak_bytes = max(self._peak_bytes, peak_bytes(self.pid))
        self._listen()

    def wait(self, others: Iterable[Child] = ()) -> None:
        """Until it is over, looking at it and at ``others`` now and then."""
        watched = (self, *others)
        deadline = self.begun + DEADLINE_S
        while not self.is_over():
            for child in watched:
                child.look()
            if time.monotonic() > deadline:
                raise PartyFailed(f"{self.name} took more than {DEADLINE_S} s")
            self._wait_for_news()
        self._listen()

    def _wait_for_news(self) -> None:
        """Its end, its first words, or the time for another look."""
        awaited = [self._pidfd] if self.first_said is not None else [self._pidfd, self._stderr]
        select.select(awaited, [], [], SAMPLE_MS / 1000)

    def cost(self) -> Cost:
        """Waits for its end. Raises PartyFailed when that was not a success."""
        self.wait()
        counted = io_counts(self.pid)
        _, status, usage = os.wait4(self.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        if self._process.returncode:
            lines = self._told.decode("utf-8", "replace").strip().splitlines()
            said = lines[-1] if lines else "nothing"
            raise PartyFailed(f"{self.name} ended with {self._process.returncode} and said: {said}")
        return Cost(
            cpu_s=usage.ru_utime + usage.ru_stime,
            peak_bytes=self._peak_bytes,
            reads=counted.get("syscr"),
            writes=counted.get("syscw"),
            disk_bytes=counted.get("read_bytes"),
        )

    def _listen(self) -> None:
        """The last of what it wrote to standard error is kept."""
        while True:
            try:
                said = os.read(self._stderr, _TOLD_BYTES)
            except BlockingIOError:
                return
            if not said:
                return
            self.first_said = self.first_said or time.monotonic()
            self._told = (self._told + said)[-_TOLD_BYTES:]


def peak_bytes(pid: int) -> int:
    """The most memory that a process ever had resident; 0 when it is over."""
    try:
        text = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    except OSError:
        return 0
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return int(value.removesuffix("kB")) * 1024
    return 0


def io_counts(pid: int) -> dict[str, int]:
    """/proc/PID/io of a process, which may be over and not yet waited for; empty where it is closed to us."""
    try:
        text = Path(f"/proc/{pid}/io").read_text("ascii")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: int(value) for name, _, value in pairs}
