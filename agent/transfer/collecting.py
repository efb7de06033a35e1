"""How seldom the workers look for reference cycles."""

from __future__ import annotations

import gc

MOST_NEW_OBJECTS = 50_000
"""Some megabytes. By default it is 700, and a drive of small files makes as many with each dozen: to look
so often took a seventh of a worker's time (measured), and what a drive leaves behind has no cycles."""


def collect_seldom() -> None:
    """What is loaded by now stays, and is not looked over again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(MOST_NEW_OBJECTS, 10, 10)
