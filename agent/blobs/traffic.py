"""Where the requests to a store stand at one moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Traffic(NamedTuple):
    """Requests under way, by what they wait for.

    ``computing``: for a processor of ours. ``travelling``: for the line, more of them than its last two
    segments has not arrived. ``awaiting``: for the answer to what arrived. ``ended`` counts those that are
    over, since the store was opened. ``round_trip_s`` is the shortest way there and back that was seen.
    """

    computing: int
    travelling: int
    awaiting: int
    ended: int
    round_trip_s: float


def traffic_of(store: object) -> Traffic | None:
    """What a store that has ``traffic`` tells, else None. To be asked some times a second."""
    tell: Callable[[], Traffic | None] | None = getattr(store, "traffic", None)
    return tell() if tell is not None else None
