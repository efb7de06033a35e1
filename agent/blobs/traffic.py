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


def added(first: Traffic, second: Traffic) -> Traffic:
    """Of two ways to one service."""
    return Traffic(
        first.computing + second.computing,
        first.travelling + second.travelling,
        first.awaiting + second.awaiting,
        first.ended + second.ended,
        min(filter(None, (first.round_trip_s, second.round_trip_s)), default=0.0),
    )


def traffic_of(store: object) -> Traffic | None:
    """What a store that has ``traffic`` tells, else None. To be asked some times a second."""
    tell: Callable[[], Traffic | None] | None = getattr(store, "traffic", None)
    return tell() if tell is not None else None
