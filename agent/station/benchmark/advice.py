"""How many drives at once make sense, and what limits them: the rule, from figures alone.

A byte of a drive is decrypted once, has a CRC-64 and is sent; so processors carry as many bytes a second
as the sum of these costs allows. The account takes what its best round showed. Drives that run at once
give what all of them gave together, where that was less than the sum of each alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from agent.station.benchmark.figures import MEGABYTE, AccountFigures, CpuFigures, DrivesFigures, Work
from agent.transfer.bottleneck import Limit

TYPICAL_BYTES_PER_S = 200.0 * MEGABYTE
"""Of a hard disk of some terabytes, over its whole length; where none was measured."""
MOST_DRIVES = 1000
TOGETHER_LESS = 0.85
"""What drives give together is less than what they give alone only when it is clearly less."""
KEEPS_UP = 0.95
"""A drive that gets so much of what it can give is not held up."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What something carries, in bytes a second; None: it was not measured."""

    limit: Limit
    bytes_per_s: float | None


@dataclass(frozen=True, slots=True)
class Advice:
    """``drives`` run at full speed at once; ``limit`` holds up more than those, and ``of_one`` a single one.

    ``with_hashes``: the same where each file has an MD5. None where there is nothing to say it from.
    """

    drive_bytes_per_s: float
    is_drive_measured: bool
    capacities: tuple[Capacity, ...]
    drives: int | None
    with_hashes: int | None
    limit: Limit | None
    of_one: Limit | None


def advise(drives: DrivesFigures, cpu: CpuFigures, account: AccountFigures | None) -> Advice:
    """From what was measured, be it all or a part."""
    rates = [each.bytes_per_s for each in drives.drives if each.bytes_per_s]
    rate = median(rates) if rates else TYPICAL_BYTES_PER_S
    found = (
        Capacity(Limit.CPU, cpu_bytes_per_s(cpu, drives, account)),
        Capacity(_way(account), _account_bytes_per_s(account)),
        Capacity(Limit.DRIVE, _bus_bytes_per_s(drives, sum(rates))),
    )
    hashed = (Capacity(Limit.CPU, cpu_bytes_per_s(cpu, drives, account, hashes=(Work.MD5,))), *found[1:])
    narrowest = _narrowest(found)
    is_held_up = narrowest is not None and narrowest.bytes_per_s < rate * KEEPS_UP
    return Advice(
        drive_bytes_per_s=rate,
        is_drive_measured=bool(rates),
        capacities=found,
        drives=_count(found, rate),
        with_hashes=_count(hashed, rate),
        limit=narrowest.limit if narrowest is not None else None,
        of_one=narrowest.limit if narrowest is not None and is_held_up else Limit.DRIVE if rates else None,
    )


@dataclass(frozen=True, slots=True)
class _Known:
    limit: Limit
    bytes_per_s: float


def _narrowest(found: Iterable[Capacity]) -> _Known | None:
    known = [_Known(each.limit, each.bytes_per_s) for each in found if each.bytes_per_s is not None]
    return min(known, key=lambda each: each.bytes_per_s, default=None)


def _count(found: Iterable[Capacity], rate: float) -> int | None:
    """At least one: a drive that is held up is ingested all the same."""
    narrowest = _narrowest(found)
    if narrowest is None:
        return None
    return max(1, min(MOST_DRIVES, int(narrowest.bytes_per_s / (rate * KEEPS_UP))))


def cpu_bytes_per_s(
    cpu: CpuFigures,
    drives: DrivesFigures,
    account: AccountFigures | None,
    *,
    cipher: Work = Work.XTS_128,
    hashes: Iterable[Work] = (),
) -> float | None:
    """What all cores carry of drives with this cipher; None when something that counts was not measured.

    Sending costs what it cost on the way to the account, CRC-64 and all, or what TLS and CRC-64 did here.
    """
    parts = [cipher, *hashes]
    best = account.best if account is not None else None
    whole = 0.0
    if best is not None and best.bytes and best.cpu_s:
        whole += best.cpu_s / best.bytes / cpu.cores
    else:
        parts += [Work.CRC_64, Work.TLS]
    if any(part not in cpu.speeds for part in parts):
        return None
    whole += sum(1 / cpu.speeds[part].all_cores for part in parts)
    whole += _reading_s_per_byte(drives) / cpu.cores
    return 1 / whole


def _reading_s_per_byte(drives: DrivesFigures) -> float:
    read = sum(each.first.bytes + each.last.bytes for each in drives.drives)
    return sum(each.first.cpu_s + each.last.cpu_s for each in drives.drives) / read if read else 0.0


def _way(account: AccountFigures | None) -> Limit:
    """What held up the best round, where it is not this station's own processors."""
    best = account.best if account is not None else None
    if best is not None and best.limited_by:
        return Limit(best.limited_by)
    return Limit.NETWORK if account is None or account.is_remote else Limit.SERVICE


def _account_bytes_per_s(account: AccountFigures | None) -> float | None:
    best = account.best if account is not None else None
    return best.bytes_per_s if best is not None and best.bytes else None


def _bus_bytes_per_s(drives: DrivesFigures, alone: float) -> float | None:
    together = drives.together_bytes_per_s
    return together if together is not None and together < alone * TOGETHER_LESS else None
