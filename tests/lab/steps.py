"""Programs of this machine that build the guest."""

from __future__ import annotations

import subprocess
from typing import Final

from tests.lab.trouble import LabMissing, LabTrouble

STEP_WITHIN_S: Final = 900.0
_TAIL: Final = 2000


def fetch(*command: str, folder: str | None = None) -> str:
    """``run`` of what goes over the network: what fails twice cannot be had here, which is LabMissing."""
    try:
        return run(*command, folder=folder)
    except LabTrouble:
        pass
    try:
        return run(*command, folder=folder)
    except LabTrouble as trouble:
        raise LabMissing(str(trouble)) from None


def run(*command: str, folder: str | None = None) -> str:
    """What it said on standard output; raises LabTrouble with its last words when it fails."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=STEP_WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LabTrouble(f"{command[0]} took more than {STEP_WITHIN_S:.0f} s") from None
    if done.returncode:
        raise LabTrouble(f"{' '.join(command)[:200]}: ended with {done.returncode}: {done.stderr[-_TAIL:]}")
    return done.stdout
