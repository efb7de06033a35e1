"""What the processors of this station do of a transfer's work: on one core, and on all at once.

Each core has a process of its own, as drives have. Speeds are bytes for a second of processor time, so
that what else runs here does not count; what cores take from each other does.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from agent.errors import IngestError, WorkerLost
from agent.station.benchmark.figures import CpuFigures, Speed, Trouble, Work

MOST_PROCESSES = 64
START_WITHIN_S = 60.0
ANSWER_WITHIN_S = 30.0
"""Beside the seconds that were asked for; a machine may be busy with something else."""
_MODULE = "agent.station.benchmark.cpu_worker"


def usable_cores() -> int:
    """Those that this process may run on."""
    return len(os.sched_getaffinity(0))


async def measure_cpu(
    seconds: float,
    told: Callable[[str], None] = lambda what: None,
    kinds: Sequence[Work] = tuple(Work),
    cores: int | None = None,
) -> CpuFigures:
    """For about so many seconds, all kinds together. What failed is in the troubles."""
    cores = cores or min(usable_cores(), MOST_PROCESSES)
    share = seconds / (2 * len(kinds)) if cores > 1 else seconds / len(kinds)
    speeds: dict[Work, Speed] = {}
    try:
        async with _workers(cores) as workers:
            for kind in kinds:
                told(kind)
                one = await _speed(workers[:1], kind, share)
                speeds[kind] = Speed(one, await _speed(workers, kind, share) if cores > 1 else one)
    except IngestError as error:
        return CpuFigures(cores, speeds, (Trouble.of("processors", error),))
    return CpuFigures(cores, speeds)


async def _speed(workers: Sequence[Process], kind: Work, seconds: float) -> float:
    return sum(await asyncio.gather(*[_asked(worker, kind, seconds) for worker in workers]))


async def _asked(worker: Process, kind: Work, seconds: float) -> float:
    assert worker.stdin is not None
    with suppress(ConnectionError):
        worker.stdin.write(f"{seconds:.3f} {kind}\n".encode())
        await worker.stdin.drain()
    answer = json.loads(await _line(worker, seconds + ANSWER_WITHIN_S, f"measuring {kind}"))
    return float(answer["bytes"]) / max(float(answer["cpu_s"]), 1e-6)


async def _line(worker: Process, within_s: float, what: str) -> bytes:
    assert worker.stdout is not None
    try:
        async with asyncio.timeout(within_s):
            line = await worker.stdout.readline()
    except TimeoutError:
        raise WorkerLost(f"a process that was {what} gave no answer in {within_s:.0f} s") from None
    if not line:
        raise WorkerLost(f"a process that was {what} ended")
    return line


@asynccontextmanager
async def _workers(count: int) -> AsyncIterator[list[Process]]:
    """They are ready, and gone when the block ends, however it ends."""
    started: list[Process] = []
    try:
        for _ in range(count):
            started.append(await _start())
        await asyncio.gather(*[_line(worker, START_WITHIN_S, "started") for worker in started])
        yield started
    finally:
        for worker in started:
            with suppress(ProcessLookupError):
                worker.kill()
        await asyncio.gather(*[worker.wait() for worker in started])


async def _start() -> Process:
    """In a session of its own: a Ctrl-C at the terminal is for us alone. It sends to itself, by no proxy."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment = {**kept, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            _MODULE,
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise WorkerLost(f"no process can be started to measure with: {error.strerror}") from None
