"""What receivers are told: one letter an event of the history, without what is nobody else's business."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from agent.catalog.events import Event
from agent.catalog.turn import NOTICE
from agent.config.notify import Hook, Kind
from agent.model.waiting import Notice

TYPES = {
    Kind.COMPLETED: ("drive.completed", "The drive is finished: every byte is in the service."),
    Kind.COMPLETED_MORE_INFO: ("drive.completed_more_info", "The drive is finished; its logs have findings."),
    Kind.FAULTED: ("station.faulted", "A drive or job makes no progress and waits for operators."),
    Kind.PAUSED: ("drive.paused", "The drive stands still for long."),
    Kind.OPERATOR: ("operator.needed", "Operators have something to do."),
    Kind.HISTORY: ("history.broken", "The history is not what was written."),
    Kind.CREDENTIAL: ("credential.expires", "The store's credential ends soon, or has ended."),
}
"""Name on the wire, and the sentence."""
TEST = "station.test"
SEEN_FROM = "station on "
"""How the origin of a station's own events begins; its name follows."""

_KINDS = {
    "drive.finish_clean": Kind.COMPLETED,
    "drive.finish_with_findings": Kind.COMPLETED_MORE_INFO,
    f"{NOTICE}{Notice.FAULTED}": Kind.FAULTED,
    f"{NOTICE}{Notice.PAUSED}": Kind.PAUSED,
    f"{NOTICE}{Notice.HISTORY}": Kind.HISTORY,
    f"{NOTICE}{Notice.CREDENTIAL}": Kind.CREDENTIAL,
}


@dataclass(frozen=True, slots=True)
class Letter:
    """To one hook. ``message`` is the same whenever and by whomever the event is told."""

    hook: str
    message: str
    type: str
    body: str


def kind_of(event: Event) -> Kind | None:
    """None for what nobody is told."""
    found = _KINDS.get(event.what)
    return Kind.OPERATOR if found is None and event.what.startswith(NOTICE) else found


def letter(hook: Hook, event: Event, station: str) -> Letter | None:
    """None when the hook does not want it. Who did it is not told, and what was said only if asked."""
    kind = kind_of(event)
    if kind is None or kind not in hook.events:
        return None
    named, sentence = TYPES[kind]
    # Every station of a fleet tells of an event, and a receiver hears the first: it names whose it is.
    own = event.origin.removeprefix(SEEN_FROM) if event.origin.startswith(SEEN_FROM) else station
    data: dict[str, object] = {"event": event.id, "station": own, "summary": sentence}
    data |= {name: value for name, value in (("job", event.job), ("drive", event.serial)) if value}
    if event.what.startswith(NOTICE):
        data["reason"] = event.what.removeprefix(NOTICE)
    if event.now is not None:
        data["state"] = event.now
    if hook.details and event.detail:
        data["detail"] = event.detail
    return Letter(hook.name, f"evt_{event.id}_{event.hash[:16]}", named, _body(named, event.at, data))


def trial(hook: Hook, station: str, now: datetime, number: str) -> Letter:
    """One that tells of nothing. ``number`` makes it another one than the one before."""
    data: dict[str, object] = {"station": station, "summary": "This is a test; nothing happened."}
    return Letter(hook.name, f"test_{number}", TEST, _body(TEST, now, data))


def _body(named: str, at: datetime, data: dict[str, object]) -> str:
    return json.dumps({"type": named, "timestamp": at.isoformat(), "data": data}, separators=(",", ":"))
