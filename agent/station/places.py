"""Where a station keeps what belongs to one drive of one job."""

from __future__ import annotations

from pathlib import Path

from agent.model.identity import JobName, SerialNumber


def journal_of(state_dir: Path, job: JobName, serial: SerialNumber) -> Path:
    """The journal's file."""
    return state_dir / "journals" / str(job) / f"{_file_name(serial)}.sqlite"


def spool_of(state_dir: Path, job: JobName, serial: SerialNumber) -> Path:
    """The folder of the drive's logs."""
    return state_dir / "logs" / str(job) / _file_name(serial)


def hold_of(state_dir: Path, serial: SerialNumber) -> Path:
    """What a process of this station locks while it works the drive for a fleet."""
    return state_dir / "held" / f"{_file_name(serial)}.lock"


def board_of(state_dir: Path) -> Path:
    """The file of the limits that all processes of a station share."""
    return state_dir / "shared" / "limits-1.json"


def _file_name(serial: SerialNumber) -> str:
    """Whatever could mean something to a file system is escaped."""
    return "".join(ch if ch.isalnum() or ch in "-_" else f"%{ord(ch):02X}" for ch in serial.normal)
