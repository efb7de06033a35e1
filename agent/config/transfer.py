"""The settings of how hard drives, the network and the account are worked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.config.tables import known, number
from agent.errors import ConfigInvalid, MalformedInput
from agent.model.bandwidth import NO_CAP, Cap
from agent.model.concurrency import SCOPES, Concurrency
from agent.model.identity import JobName
from agent.transfer.ring import SLOT_BYTES

MEBIBYTE = 1024 * 1024
_NAMES = ("ring_mib", "block_mib", "connections", "give_up_after_s", "keep_free_mib", "drive_state_mib")


@dataclass(frozen=True, slots=True)
class TransferSettings:
    """How hard a drive is worked. ``ring_bytes`` is a drive's share of memory.

    ``keep_free_bytes`` of the state disk are not used, and a drive may take ``drive_state_bytes`` of it.
    """

    ring_bytes: int = 64 * MEBIBYTE
    block_bytes: int = 4 * MEBIBYTE
    connections: int = 16
    give_up_after_s: float = 60.0
    keep_free_bytes: int = 256 * MEBIBYTE
    drive_state_bytes: int = 65_536 * MEBIBYTE

    @property
    def slot_count(self) -> int:
        """Slots of the ring."""
        return self.ring_bytes // SLOT_BYTES


@dataclass(frozen=True, slots=True)
class BandwidthSettings:
    """Caps for the station, for its storage account, and for jobs by name."""

    station: Cap = NO_CAP
    account: Cap = NO_CAP
    jobs: Mapping[str, Cap] = field(default_factory=dict)


def read_transfer(table: Any) -> TransferSettings:
    """From the table ``[transfer]``. Raises ConfigInvalid naming the setting."""
    known(table, "transfer", _NAMES)
    ring = number(table, "transfer", "ring_mib", 64, 32, 4096)
    block = number(table, "transfer", "block_mib", 4, 1, 64)
    if block * 4 > ring:
        raise ConfigInvalid("transfer.ring_mib must be at least four times transfer.block_mib")
    return TransferSettings(
        ring_bytes=ring * MEBIBYTE,
        block_bytes=block * MEBIBYTE,
        connections=number(table, "transfer", "connections", 16, 1, 256),
        give_up_after_s=float(number(table, "transfer", "give_up_after_s", 60, 0, 86_400)),
        keep_free_bytes=number(table, "transfer", "keep_free_mib", 256, 0, 1 << 20) * MEBIBYTE,
        drive_state_bytes=number(table, "transfer", "drive_state_mib", 65_536, 64, 1 << 24) * MEBIBYTE,
    )


def read_bandwidth(table: Any) -> BandwidthSettings:
    """From the table ``[bandwidth]``. Raises ConfigInvalid naming the setting."""
    known(table, "bandwidth", ("station", "account", "jobs"))
    jobs = table.get("jobs", {})
    if not isinstance(jobs, dict):
        raise ConfigInvalid("bandwidth.jobs must be a table of job names")
    for name in jobs:
        try:
            JobName.parse(name)
        except MalformedInput as error:
            raise ConfigInvalid(f"bandwidth.jobs: {error.detail}") from None
    return BandwidthSettings(
        station=_cap(table, "station", "bandwidth.station"),
        account=_cap(table, "account", "bandwidth.account"),
        jobs={name: _cap(jobs, name, f"bandwidth.jobs.{name}") for name in jobs},
    )


def read_concurrency(table: Any) -> Concurrency:
    """From the table ``[concurrency]``. Raises ConfigInvalid naming the setting."""
    known(table, "concurrency", {*SCOPES, "groups"})
    groups = table.get("groups", {})
    for name, group in groups.items() if isinstance(groups, dict) else ():
        known(group, f"concurrency.groups.{name}", {"bays", "at_once"})
    try:
        return Concurrency.parse(table)
    except MalformedInput as error:
        raise ConfigInvalid(error.detail) from None


def _cap(table: Mapping[str, Any], name: str, place: str) -> Cap:
    if name not in table:
        return NO_CAP
    try:
        return Cap.parse(table[name])
    except MalformedInput as error:
        raise ConfigInvalid(f"{place}: {error.detail}") from None
