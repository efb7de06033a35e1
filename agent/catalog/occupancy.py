"""Who has a catalog's file open: everybody together, or one alone, who replaces it or seals it anew.

The lock (``flock``) is on the folder: the file itself may be replaced, and SQLite has locks of its own there.
The kernel gives it back when a process ends, however that comes about.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from agent.errors import CatalogBusy

AGAIN_S = 0.05


def occupy(path: Path, patience_s: float, *, alone: bool) -> int:
    """A descriptor that holds the lock until it is closed. Blocking; raises CatalogBusy, and OSError."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    deadline = time.monotonic() + patience_s
    try:
        while not _locked(descriptor, kind):
            if time.monotonic() >= deadline:
                raise CatalogBusy(_said(path, alone))
            time.sleep(AGAIN_S)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _said(path: Path, alone: bool) -> str:
    if alone:
        return f"catalog {path} is in use by the station or by a command"
    return f"catalog {path} is being restored or sealed anew"
