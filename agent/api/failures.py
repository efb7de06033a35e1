"""How often an address may fail to say who it is: a bucket of tries that fills up again slowly."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

TRIES = 10
REFILL_EVERY_S = 6.0
MAX_ADDRESSES = 4096


class Failures:
    """Counts per address (IPv6: per /64); the oldest ones are forgotten when there are too many."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._failed: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, address: str) -> int:
        """How long until it may try again; 0: now."""
        failed = self._failed_now(address_group(address))
        return math.ceil((failed - TRIES + 1) * REFILL_EVERY_S) if failed > TRIES - 1 else 0

    def add(self, address: str) -> bool:
        """One more; True when somebody should know: it is the first in a while, or the last that counts."""
        group = address_group(address)
        before = self._failed_now(group)
        self._failed[group] = (before + 1, self._seconds())
        self._failed.move_to_end(group)
        if len(self._failed) > MAX_ADDRESSES:
            self._failed.popitem(last=False)
        return before == 0 or before <= TRIES - 1 < before + 1

    def _failed_now(self, group: str) -> float:
        failed, at = self._failed.get(group, (0.0, 0.0))
        return max(0.0, failed - (self._seconds() - at) / REFILL_EVERY_S)


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
