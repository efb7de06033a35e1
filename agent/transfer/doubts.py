"""Why what is on a drive may not be all that the customer put there, although all of it is copied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

DOUBTS: Final = {
    "dirty": "the volume is dirty: Windows did not finish writing to it; it is read as it lies",
    "hibernated": "Windows is hibernated on this volume: what it had not written yet is not on the drive",
    "log_open": "the volume was not dismounted: its newest files and changes may be missing",
    "has_others": "the drive has further data volumes: nothing of them is copied",
}
"""By the field of ``opened`` that raises it."""

CHANGED: Final = (
    "somebody wrote to the drive since it was here last: it is listed anew, and what was made of files that "
    "were changed since stays or is replaced, as the job says"
)
NO_FILES: Final = "the volume has no file that is to be copied"


def doubts_of(opened: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each."""
    return (why for state, why in DOUBTS.items() if opened.get(state) is True)
