"""Programs of this machine that mount what is plugged in."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agent.devices.usage import PROC

NAMES: Final = frozenset(
    {
        *("udisksd", "udisks-daemon", "gvfs-udisks2-vo", "udiskie"),
        *("udevil", "devmon", "usbmount", "automount"),
    }
)
"""As /proc/PID/comm has them: 15 characters at most."""
NEXT_STEP: Final = "Ship 59- and 60-drive-ingest.rules, which keep them off the bays, or remove them."


def automounters(proc: Path = PROC) -> list[str]:
    """Names of those that run, sorted; blocks. They are no hindrance: a drive that is mounted is."""
    found = set()
    for process in proc.glob("[0-9]*"):
        try:
            found.add((process / "comm").read_text("utf-8", "replace").strip())
        except OSError:
            continue
    return sorted(found & NAMES)
