"""Memory that holds keys: no core dump of it, and no other process of the user may look inside.

A reader does the same for itself, with more walls than a short command waits for: ``agent.transfer.sandbox``.
"""

from __future__ import annotations

import ctypes
import resource

_PR_SET_DUMPABLE = 4


def keep_to_ourselves() -> None:
    """For this process; those that it starts write no core dumps either."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0), ctypes.c_ulong(0), 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
