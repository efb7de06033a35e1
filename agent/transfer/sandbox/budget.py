"""How much a process that reads one drive may use."""

from __future__ import annotations

from agent.transfer.sandbox.limits import MIB

MEMORY_BYTES = 768 * MIB
"""Beyond the ring and the libraries. Some 30 MiB are used; a file in a million pieces takes 300 MiB."""
CPU_BASE_S = 1800
SLOWEST_BYTES_PER_S = 1_000_000
"""No format takes longer: the slowest, LZX, gives several times as much for a second of CPU time."""
SCRATCH_BASE_BYTES = 64 * MIB
SCRATCH_SHARE = 1
"""What waits for a later record spills some 300 bytes of its 1024; records that extend others, all of theirs.
So a hostile drive that is nearly all $MFT may need its own size."""


def cpu_s_for(drive_bytes: int) -> int:
    """Seconds of CPU time that reading a drive of that size may take; a backstop, not a forecast."""
    return CPU_BASE_S + drive_bytes // SLOWEST_BYTES_PER_S


def scratch_bytes_for(drive_bytes: int) -> int:
    """How large the scratch file of a scan may become."""
    return SCRATCH_BASE_BYTES + drive_bytes // SCRATCH_SHARE
