"""One station a state directory: a second one would take its sockets away and pause its drives."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import StateUnusable, StationRunning


@contextmanager
def only_station(state_dir: Path) -> Iterator[None]:
    """Hold the state directory, which is made if it is not there; commands beside the station do not ask.

    It is free again when this process is gone, however that came. Raises StationRunning when another station
    runs with it, and StateUnusable.
    """
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(state_dir / "station.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateUnusable(f"{state_dir} cannot be held: {error.strerror}") from None
    try:
        _lock(lock, state_dir)
        yield
    finally:
        os.close(lock)


def _lock(lock: int, state_dir: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StationRunning(f"another station runs with the state directory {state_dir}") from None
