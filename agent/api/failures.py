"""How often an address may fail to say who it is: a bucket of tries that fills up again slowly."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

TRIES = 10
REFILL_EVERY_S = 6.0
MAX_ADDRESSES = 4096
TELL_EVERY_S = 3600.0
MAX_TOLD_OF_ONE, MAX_TOLD = 2, 100
"""So often in that time somebody is told of one address, and of all: what is told stands in the history."""


@dataclass(slots=True)
class _Address:
    """``failed`` is what counted at ``at``."""

    failed: float = 0.0
    at: float = 0.0
    told: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_TOLD_OF_ONE))


class Failures:
    """Counts per address (IPv6: per /64); the oldest ones are forgotten when there are too many."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._failed: OrderedDict[str, _Address] = OrderedDict()
        self._told: deque[float] = deque(maxlen=MAX_TOLD)

    def wait_s(self, address: str) -> int:
        """How long until it may try again; 0: now."""
        found = self._failed.get(address_group(address))
        failed = 0.0 if found is None else self._failed_now(found)
        return math.ceil((failed - TRIES + 1) * REFILL_EVERY_S) if failed > TRIES - 1 else 0

    def add(self, address: str) -> bool:
        """One more; True when somebody should know: it is the first in a while, or the last that counts."""
        group = address_group(address)
        found = self._failed.setdefault(group, _Address())
        before, now = self._failed_now(found), self._seconds()
        found.failed, found.at = before + 1, now
        self._failed.move_to_end(group)
        if len(self._failed) > MAX_ADDRESSES:
            self._failed.popitem(last=False)
        is_news = before == 0 or before <= TRIES - 1 < before + 1
        return is_news and _takes(found.told, now) and _takes(self._told, now)

    def _failed_now(self, found: _Address) -> float:
        return max(0.0, found.failed - (self._seconds() - found.at) / REFILL_EVERY_S)


def _takes(told: deque[float], now: float) -> bool:
    """Whether there is room for one more in the hour."""
    if len(told) == told.maxlen and now - told[0] < TELL_EVERY_S:
        return False
    told.append(now)
    return True


def address_group(address: str) -> str:
    """Who has one IPv6 address has a whole /64 of them."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
