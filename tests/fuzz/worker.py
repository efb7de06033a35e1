"""The process in which images are exercised; it may die, and it says what it is at before it starts.

It sends ("begin", image number) and ("end", number, verdict) for each image that it gets.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from tests.fuzz.bases import base
from tests.fuzz.compose import make_image
from tests.fuzz.image import Image
from tests.fuzz.verdict import Finding, Verdict, judge

PEAK_BYTES = 256 << 20
"""What an image may make the process grow beyond what the bases take: half of what the sandbox allows."""

ADDRESS_BYTES = 2 << 30
"""Address space beyond what a fresh worker has; past it comes a MemoryError instead of a full station."""

Prepare = Callable[[], None]
Task = tuple[int, int] | tuple[int, Image]
"""Number of the image, and the seed it follows from or the image itself."""


def serve(pipe: Connection, trace_path: str, prepare: Prepare | None) -> None:
    """Answer until the pipe closes. The file gets the stacks of a crash, and of SIGUSR1."""
    warnings.simplefilter("error")
    trace = os.open(trace_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    faulthandler.enable(trace)
    faulthandler.register(signal.SIGUSR1, trace, all_threads=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    base("plain")
    _limit_addresses()
    if prepare is not None:
        prepare()
    pipe.send("ready")
    while True:
        try:
            tasks: Sequence[Task] = pipe.recv()
        except EOFError:
            return
        for number, what in tasks:
            try:
                image = what if isinstance(what, Image) else make_image(what, number)
                base(image.base)
            except Exception as error:
                pipe.send(("broken", number, f"{type(error).__name__} while making it: {error}"))
                raise
            pipe.send(("begin", number, image))
            pipe.send(("end", number, measured(image)))


def measured(image: Image) -> Verdict:
    """The verdict with CPU time and growth; growth past the bound is a finding too."""
    before = _resident_bytes()
    _reset_peak()
    start = time.process_time()
    verdict = judge(image)
    verdict.cpu_s = time.process_time() - start
    verdict.peak_bytes = max(0, _peak_bytes() - before)
    if verdict.finding is None and verdict.peak_bytes > PEAK_BYTES:
        verdict.finding = Finding(
            "Memory", verdict.stage, f"the process grew by {verdict.peak_bytes >> 20} MiB ({verdict.stage})"
        )
    return verdict


def _limit_addresses() -> None:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    limit = pages * resource.getpagesize() + ADDRESS_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()


def _reset_peak() -> None:
    """The kernel counts the peak anew (proc(5), clear_refs); where it may not, it goes on counting."""
    with suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def _peak_bytes() -> int:
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
