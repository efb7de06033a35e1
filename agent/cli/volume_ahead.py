"""Reading ahead: the next pieces are read and decrypted while this one is hashed or written."""

from __future__ import annotations

import mmap
import signal
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

READERS = 2
"""One waits for the drive while the other decrypts, or both decrypt what a fast drive gives."""
AHEAD = 4
"""Pieces that are read or waiting to be taken."""

Result = TypeVar("Result")


class Here(Generic[Result]):
    """A job for which no thread is worth while, as it is many small steps and waits for nothing.

    The steps of two threads stand in each other's way: both together then take longer than one after the
    other (measured).
    """

    def __init__(self, job: Callable[[], Result]) -> None:
        self._job = job

    def __call__(self) -> Result:
        return self._job()


def ahead(jobs: Iterator[Callable[[], Result]]) -> Iterator[Result]:
    """The results of ``jobs`` in their order; what one raises is raised in its place.

    Jobs are made here. They run on READERS threads, or here when it is their turn if they are ``Here``; at
    most AHEAD + 1 results are alive, the one that was given last among them.
    """
    waiting: deque[Callable[[], Result]] = deque()
    with ThreadPoolExecutor(READERS, "reader") as readers:
        try:
            for job in jobs:
                waiting.append(job if isinstance(job, Here) else _begun(readers, job))
                if len(waiting) > AHEAD:
                    yield waiting.popleft()()
            while waiting:
                yield waiting.popleft()()
        finally:
            readers.shutdown(cancel_futures=True)


def _begun(readers: ThreadPoolExecutor, job: Callable[[], Result]) -> Callable[[], Result]:
    with _undisturbed():
        return readers.submit(job).result


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Signals wait: an exception raised amid the locks of a pool that grows would leave one held.

    Its threads are born with these signals blocked, so they always interrupt the one that can act.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGXCPU))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Buffers:
    """Page-aligned buffers in turn: each is free again when AHEAD + 1 others have been given out."""

    def __init__(self, size_bytes: int) -> None:
        self._buffers = [memoryview(mmap.mmap(-1, size_bytes)) for _ in range(AHEAD + 2)]
        self._next = 0

    def take(self) -> memoryview:
        """The next one."""
        self._next = (self._next + 1) % len(self._buffers)
        return self._buffers[self._next]
