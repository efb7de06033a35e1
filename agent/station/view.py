"""What the station knows of itself at this moment, for those who ask: the service manager, metrics, health.

It is written by the station and by the events of its visits, and read by the rest; all in one thread.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agent.errors import IngestError
from agent.model.identity import SerialNumber
from agent.model.tally import Tally
from agent.station.notices.outcome import Result
from agent.transfer.events import read_tally

RESULTS = ("done", "failed", "skipped")
REQUESTS = ("throttled_requests", "cut_requests")
"""Fields of ``progress`` that count from the begin of an uploader."""

Seconds = Callable[[], float]


@dataclass(slots=True)
class BayView:
    """A drive that is being worked. ``tally`` counts all visits, ``moved_at`` is monotonic, in seconds."""

    bay: str
    serial: SerialNumber
    tally: Tally
    percent: int
    moved_at: float
    phase: str = "opening"
    why: str = ""
    """One sentence on what it stands still for; empty while it moves."""
    waiting: str | None = None
    limited_by: str | None = None
    limit: int = 0
    bytes_per_s: int = 0
    counted: dict[str, int] = field(default_factory=dict)

    def line(self) -> str:
        """``WD-123 bay 3 41 %``, and what it waits for."""
        said = f"{self.serial.shown} bay {self.bay}"
        if self.phase != "moving":
            return f"{said} {self.phase}"
        waits = " waits for the store" if self.waiting else ""
        return f"{said} {self.percent} %{waits}"


class View:
    """Counts begin with the process and never go back."""

    def __init__(self, seconds: Seconds = time.monotonic) -> None:
        self.seconds = seconds
        self.bays: dict[str, BayView] = {}
        self.left_alone: dict[str, str] = {}
        """Keys of attached drives that nobody works, to the id of the error that says why."""
        self.files: Counter[str] = Counter(dict.fromkeys(RESULTS, 0))
        self.bytes: Counter[str] = Counter(dict.fromkeys(RESULTS, 0))
        self.requests: Counter[str] = Counter(dict.fromkeys(REQUESTS, 0))
        self.finished: Counter[str] = Counter()
        self.pauses: Counter[str] = Counter()
        self.notices: Counter[str] = Counter()
        """What operators were told, by reason."""
        self.notifications: Counter[str] = Counter(dict.fromkeys(Result, 0))
        """Tries to tell others, by what became of them."""
        self.crashes = 0
        self.unreadable_bytes = 0
        self.rounds: Counter[str] = Counter({"ok": 0, "failed": 0})
        self.round_at: float | None = None
        self.trouble = ""
        self.is_draining = False
        self.credential_ends: datetime | None = None

    def round_ended(self, error: Exception | None = None) -> None:
        """The station has looked at everything once, or could not: ``error``."""
        self.round_at = self.seconds()
        self.rounds["failed" if error is not None else "ok"] += 1
        self.trouble = ""
        if error is not None:
            self.trouble = error.detail if isinstance(error, IngestError) else type(error).__name__

    @property
    def round_age_s(self) -> float | None:
        """How long ago the last round ended; None before the first."""
        return None if self.round_at is None else self.seconds() - self.round_at

    def begin(self, key: str, bay: str, serial: SerialNumber, tally: Tally, percent: int) -> None:
        """A visit begins; ``tally`` is what the catalog knows of earlier ones, which is not counted again."""
        self.bays[key] = BayView(bay, serial, tally, percent, self.seconds())

    def end(self, key: str) -> None:
        """A visit is over."""
        self.bays.pop(key, None)

    def crashed(self) -> None:
        """A worker or a visit ended as it should not."""
        self.crashes += 1

    def take(self, key: str, event: Mapping[str, Any]) -> None:
        """What the uploader of a drive tells; see ``agent.transfer.events``."""
        bay = self.bays.get(key)
        if bay is None:
            return
        match event["event"]:
            case "opened":
                self._phase(bay, "opened")
                bay.counted.clear()
            case "inventory":
                self._phase(bay, "lists its files")
            case "progress":
                self._progress(bay, event)
            case "finished":
                self._count(bay, read_tally(event))
                self.finished[str(event["status"])] += 1
                bay.phase = "finished"
            case "waits":
                bay.phase, bay.why = "waits for a place", str(event["detail"])
            case "paused":
                self.pauses[str(event["error"])] += 1
                bay.phase, bay.why = "paused", str(event["detail"])
            case "worker.lost":
                self.crashes += 1
                bay.phase, bay.why = "begins again", str(event.get("detail", ""))
            case "drive.unreadable":
                self.unreadable_bytes += _whole(event, "bytes")

    def _phase(self, bay: BayView, phase: str) -> None:
        bay.phase, bay.why, bay.moved_at = phase, "", self.seconds()

    def _progress(self, bay: BayView, event: Mapping[str, Any]) -> None:
        tally = read_tally(event)
        if tally != bay.tally or bay.phase != "moving":
            self._phase(bay, "moving")
        self._count(bay, tally)
        bay.percent = _whole(event, "percent")
        bay.waiting, bay.limited_by = event.get("waiting"), event.get("limited_by")
        bay.limit, bay.bytes_per_s = _whole(event, "limit"), _whole(event, "bytes_per_s")
        for name in REQUESTS:
            self.requests[name] += _grown(bay.counted, name, _whole(event, name))

    def _count(self, bay: BayView, tally: Tally) -> None:
        for result in RESULTS:
            before, after = getattr(bay.tally, result), getattr(tally, result)
            self.files[result] += max(0, after.files - before.files)
            self.bytes[result] += max(0, after.bytes - before.bytes)
        bay.tally = tally

    def status(self) -> str:
        """One line that a person can read."""
        said = _counted(self.bays.values(), self.is_draining)
        if self.left_alone:
            said += f"; {len(self.left_alone)} left alone"
        return f"{said}; trouble: {self.trouble}" if self.trouble else said


def _counted(bays: Iterable[BayView], is_draining: bool) -> str:
    lines = sorted(bay.line() for bay in bays)
    if is_draining:
        return f"stopping, places are kept: {', '.join(lines)}" if lines else "stopping"
    if not lines:
        return "waits for drives"
    return f"{len(lines)} drive{'' if len(lines) == 1 else 's'}: {', '.join(lines)}"


def _whole(event: Mapping[str, Any], name: str) -> int:
    """A number of an event without its fraction; 0 where it does not tell it."""
    value = event.get(name)
    return int(value) if isinstance(value, int | float) and value > 0 else 0


def _grown(seen: dict[str, int], name: str, now: int) -> int:
    """By how much a count grew that begins anew with every uploader."""
    before, seen[name] = seen.get(name, 0), now
    return now - before if now >= before else now
