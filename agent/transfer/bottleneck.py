"""What a transfer waits for: the rule, without clocks and files.

A transfer is looked at some times a second, and each look is shared out among what the work under way
waited for at that moment:

- Where requests may not begin, it is the bandwidth ``cap``, or the ``service`` (it has no room), or the
  ``network`` (it does not answer).
- Where a processor is what is short, it is the ``cpu``: the thread that hands out the work is hardly ever
  idle, or the processors are not.
- While the reader owes bytes, idle connections are the ``drive``'s; or the ``cpu``'s, when the reader
  computes all the time.
- Connections in use are the ``network``'s while their requests are on the line and the ``service``'s while
  it owes the answer. What is on the line is known of the kernel: what did not arrive yet, and for each
  answer the shortest round trip that was seen.

The one that most of the last WINDOW looks fell to is named, if that was two fifths of them; and it stays
named until another one is clearly ahead. A transfer in which little happens is limited by nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

WINDOW = 50
FEWEST = 10
"""Looks before anything is named."""

NAMED_FROM = 0.4
KEPT_FROM = 0.25
AHEAD_BY = 0.2
"""Shares of the window: to be named, to stay it, and to take another one's place."""


class Limit(StrEnum):
    """What holds a transfer up."""

    DRIVE = "drive"
    CPU = "cpu"
    NETWORK = "network"
    SERVICE = "service"
    CAP = "cap"


class Look(NamedTuple):
    """A transfer at one moment.

    ``fills`` are reads that the reader owes, ``requests`` those that the store owes, of as many as there
    are ``connections``; ``computing``, ``travelling`` and ``awaiting`` are how these divide (see
    ``agent.blobs.traffic``). ``held``: what keeps requests from beginning, if anything does.
    """

    fills: int
    requests: float
    connections: int
    computing: float = 0.0
    travelling: float = 0.0
    awaiting: float = 0.0
    held: Limit | None = None
    is_reader_computing: bool = False
    is_cpu_short: bool = False


def shared_out(look: Look) -> Mapping[Limit, float]:
    """The parts of the look, 1 in all; none when nothing is under way."""
    if look.held is not None:
        return {look.held: 1.0}
    if not (look.fills or look.requests):
        return {}
    if look.is_cpu_short:
        return {Limit.CPU: 1.0}
    parts = dict.fromkeys(Limit, 0.0)
    idle = max(0.0, 1 - look.requests / look.connections) if look.fills else 0.0
    parts[Limit.CPU if look.is_reader_computing else Limit.DRIVE] += idle
    known = look.computing + look.travelling + look.awaiting
    each = (1 - idle) / known if known else 0.0
    parts[Limit.CPU] += look.computing * each
    parts[Limit.NETWORK] += look.travelling * each
    parts[Limit.SERVICE] += look.awaiting * each if known else 1 - idle
    return parts


def divided(computing: float, travelling: float, awaiting: float, in_transit: float) -> tuple[float, ...]:
    """The same three, with at least ``in_transit`` requests on the line, taken from those awaited.

    By Little's law so many are: those answered in a second times the round trip's seconds. A small
    request is all sent at once, and looks as if it were there.
    """
    moved = max(0.0, min(awaiting, in_transit - travelling))
    return computing, travelling + moved, awaiting - moved


class Bottleneck:
    """The looks of the last while, and what they name."""

    def __init__(self) -> None:
        self._looks: deque[Mapping[Limit, float]] = deque(maxlen=WINDOW)
        self.named: Limit | None = None

    def take(self, look: Look) -> None:
        """One more."""
        self._looks.append(shared_out(look))
        self.named = self._judge()

    @property
    def shares(self) -> dict[Limit, float]:
        """Of the window, how much fell to each; what is missing to 1 to none."""
        count = len(self._looks)
        if not count:
            return {}
        return {limit: sum(look.get(limit, 0.0) for look in self._looks) / count for limit in Limit}

    def _judge(self) -> Limit | None:
        if len(self._looks) < FEWEST:
            return None
        shares = self.shares
        first = max(Limit, key=shares.__getitem__)
        kept = self.named
        if kept is not None and shares[kept] >= KEPT_FROM and shares[first] < shares[kept] + AHEAD_BY:
            return kept
        return first if shares[first] >= NAMED_FROM else None
