"""Which drives the station works at this moment: by the locks of their journals. Nothing is changed."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from agent.errors import StateUnusable
from agent.model.identity import JobName, SerialNumber
from agent.station.places import journal_of

_ANY_JOB = JobName("any")


def is_worked(state_dir: Path, serial: SerialNumber) -> bool:
    """Whether a process has this drive under way. Raises StateUnusable where this user may not look."""
    return any(map(_is_locked, _locks(state_dir, journal_of(state_dir, _ANY_JOB, serial).name)))


def worked_drives(state_dir: Path) -> int:
    """How many are under way. Raises as ``is_worked``."""
    return sum(map(_is_locked, _locks(state_dir, "*.sqlite")))


def _locks(state_dir: Path, journals: str) -> list[Path]:
    folder = journal_of(state_dir, _ANY_JOB, SerialNumber.parse("any")).parents[1]
    if not os.access(state_dir, os.R_OK | os.X_OK) and state_dir.exists():
        raise StateUnusable(f"this user may not look into {state_dir}, which tells what the station reads")
    name = journals if journals == "*.sqlite" else _literally(journals)
    return list(folder.glob(f"*/{name}.lock"))


def _literally(name: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


def _is_locked(lock: Path) -> bool:
    """Held for some microseconds when nobody has it; a visit that meets that tries again."""
    try:
        fd = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
