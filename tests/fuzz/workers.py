"""Worker processes, watched from outside: who hangs or dies is replaced, and the image it was at is kept."""

from __future__ import annotations

import os
import re
import signal
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import TracebackType

from tests.fuzz.image import Image
from tests.fuzz.verdict import Finding, Verdict
from tests.fuzz.worker import Prepare, Task, serve

LIMIT_S = 30.0
"""An image that takes longer is a hang."""

START_LIMIT_S = 120.0
"""A worker that is not ready by then is no finding but a broken station."""

BATCH = 4
_SPAWN = get_context("spawn")
_FRAME = re.compile(r'File "(.+?)", line (\d+) in (\S+)')


class WorkerBroken(Exception):
    """An image could not be made, or a worker ended before it was at any: the fuzzer's own trouble."""


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    pipe: Connection
    trace: Path
    since: float
    is_ready: bool = False
    tasks: deque[Task] = field(default_factory=deque)
    at: tuple[int, Image] | None = None


Result = tuple[int, Image, Verdict]


class Workers:
    """As many processes as ``jobs``; ``prepare`` is run in each of them first. A context manager."""

    def __init__(self, jobs: int, *, limit_s: float = LIMIT_S, prepare: Prepare | None = None) -> None:
        self._limit_s = limit_s
        self._prepare = prepare
        self._folder = tempfile.TemporaryDirectory(prefix="fuzz-")
        self._count = 0
        self._workers = [self._start() for _ in range(jobs)]

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            self._end(worker)
        self._folder.cleanup()

    def run(self, tasks: Iterable[Task]) -> Iterator[Result]:
        """The verdict on each, in the order in which they come. Raises WorkerBroken."""
        todo = iter(tasks)
        again: deque[Task] = deque()
        while True:
            for worker in self._workers:
                if worker.is_ready and not worker.tasks:
                    self._hand_out(worker, todo, again)
            if not any(worker.tasks for worker in self._workers) and all(w.is_ready for w in self._workers):
                return
            yield from self._listen(again)

    def _hand_out(self, worker: _Worker, todo: Iterator[Task], again: deque[Task]) -> None:
        while len(worker.tasks) < BATCH:
            task = again.popleft() if again else next(todo, None)
            if task is None:
                break
            worker.tasks.append(task)
        if worker.tasks:
            worker.pipe.send(list(worker.tasks))
            worker.since = time.monotonic()

    def _listen(self, again: deque[Task]) -> Iterator[Result]:
        by_pipe = {worker.pipe: worker for worker in self._workers}
        ready = set(wait(list(by_pipe), timeout=0.2))
        for worker in list(self._workers):
            if worker.pipe in ready:
                try:
                    message = worker.pipe.recv()
                except (EOFError, OSError):
                    yield from self._lost(worker, "", again)
                    continue
                yield from self._take(worker, message, again)
            elif self._is_overdue(worker):
                yield from self._lost(worker, "Hang", again)

    def _is_overdue(self, worker: _Worker) -> bool:
        waited_s = time.monotonic() - worker.since
        if not worker.is_ready:
            return waited_s > START_LIMIT_S
        return bool(worker.tasks) and waited_s > self._limit_s

    def _take(self, worker: _Worker, message: object, again: deque[Task]) -> Iterator[Result]:
        worker.since = time.monotonic()
        if message == "ready":
            worker.is_ready = True
            return
        assert isinstance(message, tuple)
        if message[0] == "begin":
            worker.at = message[1], message[2]
            return
        if message[0] == "broken":
            raise WorkerBroken(f"image {message[1]}: {message[2]}")
        assert worker.at is not None
        worker.tasks.popleft()
        number, image = worker.at
        verdict: Verdict = message[2]
        worker.at = None
        if verdict.finding is not None and verdict.finding.kind in ("Memory", "MemoryError"):
            again.extend(worker.tasks)
            self._replace(worker)
        yield number, image, verdict

    def _lost(self, worker: _Worker, kind: str, again: deque[Task]) -> Iterator[Result]:
        """A worker that hangs or is gone: who it was at is told, the rest goes to others."""
        said = self._stacks(worker) if kind else ""
        code = self._end(worker)
        said = said or worker.trace.read_text("utf-8", "replace")
        where = _deepest(said)
        if worker.at is None:
            raise WorkerBroken(f"a worker ended ({code}) before any image: {said[:2000]}")
        number, image = worker.at
        finding = Finding(kind or "Crash", where, f"{kind or f'ended with {code}'} in {where}; {_way(said)}")
        worker.tasks.popleft()
        again.extend(worker.tasks)
        self._replace(worker, is_ended=True)
        yield number, image, Verdict(finding, cpu_s=self._limit_s if kind else 0.0)

    def _stacks(self, worker: _Worker) -> str:
        if worker.process.pid is not None and worker.process.is_alive():
            os.kill(worker.process.pid, signal.SIGUSR1)
        for _ in range(20):
            time.sleep(0.05)
            text = worker.trace.read_text("utf-8", "replace")
            if "File" in text:
                return text
        return ""

    def _start(self) -> _Worker:
        ours, theirs = _SPAWN.Pipe()
        self._count += 1
        trace = Path(self._folder.name) / f"{self._count}.txt"
        trace.touch()
        process = _SPAWN.Process(target=serve, args=(theirs, str(trace), self._prepare), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours, trace, time.monotonic())

    def _replace(self, worker: _Worker, *, is_ended: bool = False) -> None:
        if not is_ended:
            self._end(worker)
        self._workers[self._workers.index(worker)] = self._start()

    @staticmethod
    def _end(worker: _Worker) -> int | None:
        """By its own handle, so that no other process can be meant."""
        worker.pipe.close()
        worker.process.join(0.2)
        worker.process.kill()
        worker.process.join()
        return worker.process.exitcode


def _deepest(stacks: str) -> str:
    """The innermost function of the agent's that the stack names."""
    frames = _FRAME.findall(stacks)
    ours = [(path, name) for path, _, name in frames if "/agent/" in path]
    if not ours:
        ours = [(path, name) for path, _, name in frames[:1]]
    return f"{'/'.join(Path(ours[0][0]).parts[-3:])}:{ours[0][1]}" if ours else "nowhere"


def _way(stacks: str) -> str:
    frames = [f"{'/'.join(Path(path).parts[-2:])}:{line}" for path, line, _ in _FRAME.findall(stacks)]
    return " < ".join(frames[:6])
