"""What a drive says of its own condition, and what that means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from agent.devices.identity import SmartIdentity

HOT_C: Final = 60
"""Drives for desktops are specified up to 60 °C."""
REALLOCATED, PENDING, UNCORRECTABLE, CRC_ERRORS = 5, 197, 198, 199
"""Attributes that all makers of ATA disks number alike."""


class Verdict(StrEnum):
    """``WORN``: to be watched; ``FAILING``: parts of it cannot be read, or it is about to die."""

    HEALTHY = "healthy"
    WORN = "worn"
    FAILING = "failing"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Health:
    """A snapshot. Counts are of sectors, ``crc_errors`` of transfers over the cable; None: not told."""

    verdict: Verdict
    reasons: tuple[str, ...]
    identity: SmartIdentity = field(default_factory=SmartIdentity)
    temperature_c: int | None = None
    reallocated: int | None = None
    pending: int | None = None
    uncorrectable: int | None = None
    crc_errors: int | None = None

    @property
    def is_failing(self) -> bool:
        """Whether what can be read should be read before what cannot."""
        return self.verdict is Verdict.FAILING

    def line(self) -> str:
        """One line for the technician: verdict, why, and the counts."""
        counts = {
            "reallocated": self.reallocated,
            "pending": self.pending,
            "uncorrectable": self.uncorrectable,
            "cable errors": self.crc_errors,
        }
        told = [f"{self.temperature_c} °C"] if self.temperature_c is not None else []
        told += [f"{name} {count}" for name, count in counts.items() if count is not None]
        return "; ".join((f"{self.verdict}: {', '.join(self.reasons)}", *told))


def unknown(why: str) -> Health:
    """Nobody answered."""
    return Health(Verdict.UNKNOWN, (why,))


def read_health(report: Mapping[str, Any]) -> Health:
    """From ``smartctl --json -i -H -A``; what is missing or of another type counts as not told."""
    passed = _at(report, "smart_status", "passed")
    counts = {number: _raw(report, number) for number in (REALLOCATED, PENDING, UNCORRECTABLE, CRC_ERRORS)}
    reallocated = counts[REALLOCATED]
    if reallocated is None:
        reallocated = _count(_at(report, "scsi_grown_defect_list"))
    temperature = _count(_at(report, "temperature", "current"))
    failing = _failing(report, passed, counts)
    worn = _worn(reallocated, temperature)
    verdict, reasons = _judge(passed, failing, worn, _said(report))
    return Health(
        verdict,
        reasons,
        _identity(report),
        temperature,
        reallocated,
        counts[PENDING],
        counts[UNCORRECTABLE],
        counts[CRC_ERRORS],
    )


def _judge(passed: object, failing: list[str], worn: list[str], said: str) -> tuple[Verdict, tuple[str, ...]]:
    if failing:
        return Verdict.FAILING, (*failing, *worn)
    if worn:
        return Verdict.WORN, tuple(worn)
    if passed is True:
        return Verdict.HEALTHY, ("the drive's own test of its attributes passed",)
    return Verdict.UNKNOWN, (said or "the drive does not tell its condition",)


def _failing(report: Mapping[str, Any], passed: object, counts: Mapping[int, int | None]) -> list[str]:
    found = ["the drive predicts its own failure"] if passed is False else []
    for row in _table(report):
        if row.get("when_failed") == "now":
            found.append(f"attribute {_count(row.get('id'))} is below its threshold")
    if counts[PENDING]:
        found.append(f"{counts[PENDING]} sectors wait to be read or replaced")
    if counts[UNCORRECTABLE]:
        found.append(f"{counts[UNCORRECTABLE]} sectors could not be corrected")
    media = _count(_at(report, "nvme_smart_health_information_log", "media_errors"))
    if media:
        found.append(f"{media} media errors")
    return found


def _worn(reallocated: int | None, temperature: int | None) -> list[str]:
    found = []
    if reallocated:
        found.append(f"{reallocated} sectors were replaced by spare ones")
    if temperature is not None and temperature >= HOT_C:
        found.append(f"{temperature} °C is too hot")
    return found


def _identity(report: Mapping[str, Any]) -> SmartIdentity:
    serial, wwn = report.get("serial_number"), report.get("wwn")
    parts = [_count(wwn.get(name)) for name in ("naa", "oui", "id")] if isinstance(wwn, dict) else []
    text = ""
    if len(parts) == 3 and None not in parts:
        naa, oui, own = (part or 0 for part in parts)
        text = f"0x{naa:x}{oui:06x}{own:09x}"
    return SmartIdentity(serial[:128] if isinstance(serial, str) else "", text)


def _said(report: Mapping[str, Any]) -> str:
    """The first message of smartctl itself, which is about a device that it could not talk to."""
    messages = _at(report, "smartctl", "messages")
    first = messages[0] if isinstance(messages, list) and messages else None
    text = first.get("string") if isinstance(first, dict) else None
    if not isinstance(text, str):
        return ""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())[:200]


def _table(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    table = _at(report, "ata_smart_attributes", "table")
    return [row for row in table[:256] if isinstance(row, dict)] if isinstance(table, list) else []


def _raw(report: Mapping[str, Any], number: int) -> int | None:
    """The low 32 bits of the raw value: some makers keep something else in the upper ones."""
    for row in _table(report):
        if row.get("id") == number:
            value = _count(_at(row, "raw", "value"))
            return None if value is None else value & 0xFFFFFFFF
    return None


def _at(report: Mapping[str, Any], *names: str) -> object:
    value: object = report
    for name in names:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64 else None
