"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """``Failed``: drives cannot be ingested like this. ``Warning``: they can, and somebody should look."""

    PASSED = "Passed"
    WARNING = "Warning"
    FAILED = "Failed"
    SKIPPED = "Skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """``detail`` and ``fix`` are a line each; a passed check needs no fix."""

    check: str
    outcome: Outcome
    detail: str
    fix: str = ""


def passed(check: str, detail: str) -> Finding:
    """All is well."""
    return Finding(check, Outcome.PASSED, detail)


def warning(check: str, detail: str, fix: str) -> Finding:
    """It works, and could be better."""
    return Finding(check, Outcome.WARNING, detail, fix)


def failed(check: str, detail: str, fix: str) -> Finding:
    """It does not work."""
    return Finding(check, Outcome.FAILED, detail, fix)


def skipped(check: str, detail: str, fix: str = "") -> Finding:
    """It does not apply, or cannot be looked at."""
    return Finding(check, Outcome.SKIPPED, detail, fix)
