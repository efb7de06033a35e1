"""Whether the station is alive, and whether it could take a drive now; each No has its sentence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agent.station.view import View

ROUND_WITHIN_S = 120.0
"""A look at everything takes longer only when something hangs."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``reason`` is one line; it stands for a yes as well."""

    ok: bool
    reason: str


def alive(view: View, *, catalog_answers: bool) -> Verdict:
    """Whether to go on with this process: its loop goes round, and the catalog answers."""
    age = view.round_age_s
    if age is None:
        return Verdict(False, "starting: the first look at the drives is under way")
    if age > ROUND_WITHIN_S:
        return Verdict(False, f"the drives were last looked at {age:.0f} s ago")
    if not catalog_answers:
        return Verdict(False, "the catalog does not answer")
    return Verdict(True, "alive")


def ready(view: View, *, catalog_answers: bool, now: datetime) -> Verdict:
    """Whether a drive that is plugged in now would be worked. ``now`` is UTC."""
    if view.is_draining:
        return Verdict(False, "stopping")
    verdict = alive(view, catalog_answers=catalog_answers)
    if not verdict.ok:
        return verdict
    if view.trouble:
        return Verdict(False, f"the last look at the drives failed: {view.trouble}")
    if view.credential_ends is not None and now >= view.credential_ends:
        return Verdict(False, "the store's credential has expired")
    return Verdict(True, "ready")
