"""What processes cost: wall and processor time, reads, peak memory, taken by the kernel's own books."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

SAMPLE_MS = 20
"""Between looks at the peak memory; the kernel keeps the peak, so only the last moment can be missed."""
DEADLINE_S = 3600
TICKS = os.sysconf("SC_CLK_TCK")
_STOP_S = 10
_TOLD_BYTES = 4096


class PartyFailed(Exception):
    """A process of a party ended wrongly, or not at all. The text names it and says what it said last."""


@dataclass(frozen=True, slots=True)
class Member:
    """One process of a family: its command, the most memory it ever had, and what of it others have too."""

    command: str
    peak_bytes: int
    shared_bytes: int
    cpu_s: float

    def after(self, earlier: Member | None) -> Member:
        """With the peaks of both looks: what is shared may be let go before the end."""
        if earlier is None:
            return self
        shared = max(self.shared_bytes, earlier.shared_bytes)
        return Member(self.command, max(self.peak_bytes, earlier.peak_bytes), shared, self.cpu_s)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process and those that it started took from its start to its end.

    ``reads`` and ``writes`` are system calls and ``disk_bytes`` came from a device and not from the page
    cache, of the one process; None where the system does not let us look. ``cpu_s`` is of all that it
    waited for; ``members`` tells of each process as it was seen last, which may miss its last moments,
    and ``course`` is (moment of the monotonic clock, processor time of all so far), look by look.
    """

    cpu_s: float
    peak_bytes: int
    reads: int | None
    writes: int | None
    disk_bytes: int | None
    members: tuple[Member, ...] = ()
    course: tuple[tuple[float, float], ...] = ()

    def cpu_s_between(self, begun: float, ended: float) -> float:
        """Processor time between two moments, as near to them as it was looked at."""
        return self._cpu_s_at(ended) - self._cpu_s_at(begun)

    def _cpu_s_at(self, moment: float) -> float:
        before = [cpu_s for at, cpu_s in self.course if at <= moment]
        return before[-1] if before else 0.0


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
        environment: Mapping[str, str] | None = None,
        holds_stdin: bool = False,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """``stdin`` fits into a pipe, which ``holds_stdin`` keeps open until the end.

        ``name`` is for messages; raises PartyFailed without the program.
        """
        self.name = name
        self._deadline_s = deadline_s
        self.begun = time.monotonic()
        self.first_said: float | None = None
        self.ended: float | None = None
        self._told = b""
        self._members: dict[int, Member] = {}
        self._course: list[tuple[float, float]] = []
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=subprocess.PIPE,
                cwd=folder,
                env=environment,
            )
        except OSError as error:
            raise PartyFailed(f"{name} cannot be started: {error.strerror}") from None
        self.pid = self._process.pid
        self._pidfd = os.pidfd_open(self.pid)
        assert self._process.stdin is not None
        assert self._process.stderr is not None
        self._process.stdin.write(stdin)
        if not holds_stdin:
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
        assert self._process.stdin is not None
        assert self._process.stderr is not None
        self._process.stdin.close()
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
        """Take the peak memory of it and its children as of now, and what it has said."""
        if self.ended is None:
            for pid in family(self.pid):
                if (member := look_at(pid)) is not None:
                    self._members[pid] = member.after(self._members.get(pid))
            taken = sum(member.cpu_s for member in self._members.values())
            self._course.append((time.monotonic(), taken))
        self._listen()

    def wait(self, others: Iterable[Child] = ()) -> None:
        """Until it is over, looking at it and at ``others`` now and then."""
        watched = (self, *others)
        deadline = self.begun + self._deadline_s
        while not self.is_over():
            for child in watched:
                child.look()
            if time.monotonic() > deadline:
                raise PartyFailed(f"{self.name} took more than {self._deadline_s:g} s")
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
            lines = self._told.decode("utf-8", "replace").splitlines()
            said = next((line for line in reversed(lines) if any(map(str.isalnum, line))), "nothing")
            raise PartyFailed(f"{self.name} ended with {self._process.returncode} and said: {said}")
        return Cost(
            cpu_s=usage.ru_utime + usage.ru_stime,
            peak_bytes=together(self._members.values()),
            reads=counted.get("syscr"),
            writes=counted.get("syscw"),
            disk_bytes=counted.get("read_bytes"),
            members=tuple(self._members.values()),
            course=tuple(self._course),
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


def io_counts(pid: int) -> dict[str, int]:
    """/proc/PID/io of a process, which may be over and not yet waited for; empty where it is closed to us."""
    try:
        text = Path(f"/proc/{pid}/io").read_text("ascii")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: int(value) for name, _, value in pairs}


def family(pid: int) -> list[int]:
    """A process and all that came from it and are still there."""
    found = [pid]
    for each in found:
        for tasks in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                found += [
                    child for child in map(int, tasks.read_text("ascii").split()) if _is_own(child, each)
                ]
            except OSError:
                continue
    return found


def _is_own(child: int, parent: int) -> bool:
    """Whether it has a program of its own: until then it is a fork, whose memory is its parent's."""
    commands = [Path(f"/proc/{each}/cmdline").read_bytes() for each in (child, parent)]
    return commands[0] != commands[1]


def look_at(pid: int) -> Member | None:
    """A process as of now; None when it is over. VmHWM is kept by the kernel, so no peak is missed."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        cpu_s = processor_seconds(pid)
    except (OSError, ValueError):
        return None
    sizes = dict(line.split(":", 1) for line in status.splitlines() if line.endswith(" kB"))
    if "VmHWM" not in sizes:
        return None
    peak, shared = (int(sizes[name].split()[0]) << 10 for name in ("VmHWM", "RssShmem"))
    return Member(command, peak, shared, cpu_s)


def processor_seconds(pid: int) -> float:
    """Of a process that runs, its children left out. Raises OSError when it is over."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def together(members: Iterable[Member]) -> int:
    """Peak memory of a family: the sum of each one's peak, memory that they share counted once.

    What is shared (``RssShmem``) is taken to be one piece, as the ring of a drive is.
    """
    known = list(members)
    shared = [member.shared_bytes for member in known]
    return sum(member.peak_bytes for member in known) - sum(shared) + max(shared, default=0)
