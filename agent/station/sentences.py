"""Where a drive stands, in one sentence for the technician, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agent.catalog.events import Event
from agent.errors import DriveError, catalogue
from agent.model.job import Drive, Job
from agent.model.states import FINISHED_JOBS, DriveEvent, DriveState, JobState
from agent.station.pauses import newest_pause

NOTHING: Final = "Nothing to do."
BY_STATE: Final[Mapping[DriveState, tuple[str, str]]] = {
    DriveState.SPECIFIED: ("it was not seen yet", "Put it into a bay when it comes."),
    DriveState.RECEIVED: ("it is here, and waits to begin", NOTHING),
    DriveState.NEVER_RECEIVED: ("it was not in the box", "If it turns up, put it into a bay."),
    DriveState.TRANSFERRING: ("it is being copied", NOTHING),
    DriveState.COMPLETED: ("everything is in the store and verified", "Ship it back: `drive ship-back`."),
    DriveState.COMPLETED_MORE_INFO: (
        "it is done, with findings",
        "`log show` tells what is missing; then ship it back: `drive ship-back`.",
    ),
    DriveState.SHIPPED_BACK: ("it was shipped back", NOTHING),
    DriveState.FAULTED: (
        "it makes no progress",
        "Mend the cause, then `drive resolve`; with --give-up if it cannot be mended.",
    ),
}
"""What a state says by itself; a pause, a fault or the job may say more."""
BY_JOB: Final[Mapping[JobState, tuple[str, str]]] = {
    JobState.CREATING: ("its job is not shipped yet", "`job ship` it, and the drive is worked."),
    JobState.FAULTED: ("its job is Faulted", "`job show` and `job history` tell why; then `job resolve`."),
}
"""Of a drive that is not begun, where its job is what it waits for."""
IN_ITS_BAY: Final = (
    "it is in its bay, and no station has begun it",
    "See that the station runs: `ingest-agent run`.",
)
OUT_OF_ITS_BAY: Final = ("it is in no bay, and its copy is not finished", "Put it into any bay: it goes on.")
_UNBEGUN: Final = frozenset({DriveState.SPECIFIED, DriveState.RECEIVED, DriveState.NEVER_RECEIVED})
_FAULT: Final = f"drive.{DriveEvent.FAULT.name.lower()}"
_FINISH: Final = f"drive.{DriveEvent.FINISH_WITH_FINDINGS.name.lower()}"
ENDED_BY: Final[Mapping[str, str]] = {
    str(error.status): error.next_step
    for error in reversed(catalogue())
    if issubclass(error, DriveError) and error.next_step
}
"""Copy statuses of drives that ended by an error of their own, to what the first such error advises."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """``since`` is UTC, of a pause or a fault."""

    text: str
    next_step: str
    since: datetime | None = None

    def line(self) -> str:
        """All of it."""
        since = f" (since {self.since:%Y-%m-%d %H:%M} UTC)" if self.since is not None else ""
        return f"{self.text}{since}. {self.next_step}"


def sentence_of(job: Job, drive: Drive, events: Sequence[Event], *, is_in_bay: bool | None) -> Sentence:
    """``events`` are the drive's history, oldest first; ``is_in_bay`` is None where nobody looked."""
    own = [event for event in events if event.job == job.name.text]
    if drive.state is DriveState.FAULTED:
        fault = _newest(own, _FAULT)
        why, next_step = BY_STATE[DriveState.FAULTED]
        return Sentence(fault.detail or why, next_step, fault.at) if fault else Sentence(why, next_step)
    pause = newest_pause(own)
    stands = drive.state is DriveState.RECEIVED or (
        drive.state is DriveState.TRANSFERRING and drive.going.bytes_per_s is None
    )
    if pause is not None and stands:
        text, _, next_step = pause.detail.rpartition("]. ")
        return Sentence(f"{text}]" if text else pause.detail, next_step or NOTHING, pause.at)
    if drive.state in _UNBEGUN and job.state in BY_JOB:
        return Sentence(*BY_JOB[job.state])
    if drive.state in _UNBEGUN and job.state in FINISHED_JOBS:
        return Sentence("its job has ended", NOTHING)
    if drive.state is DriveState.TRANSFERRING and is_in_bay is False:
        return Sentence(*OUT_OF_ITS_BAY)
    if drive.state is DriveState.SPECIFIED and is_in_bay:
        return Sentence(*IN_ITS_BAY)
    if drive.state is DriveState.COMPLETED_MORE_INFO:
        return _with_findings(drive, _newest(own, _FINISH))
    text, next_step = BY_STATE[drive.state]
    if drive.copy_status and drive.copy_status.startswith("waiting: "):
        text += f", and waits for the store ({drive.copy_status.removeprefix('waiting: ')})"
    return Sentence(text, next_step)


def _with_findings(drive: Drive, finish: Event | None) -> Sentence:
    """What one has to know who has the drive in hand: the error that ended it, or how much is missing."""
    text, next_step = BY_STATE[DriveState.COMPLETED_MORE_INFO]
    status, detail = drive.copy_status or "", finish.detail if finish is not None else ""
    if status in ENDED_BY:
        return Sentence(f"it ended early: {detail or 'its log tells no more'} [{status}]", ENDED_BY[status])
    missing = [
        f"{count.files} {what}"
        for count, what in ((drive.tally.failed, "failed"), (drive.tally.skipped, "skipped"))
        if count.files
    ]
    told = f"{text} ({': '.join(filter(None, (status, ', '.join(missing))))})"
    return Sentence(f"{told}: {detail}" if detail else told, next_step)


def _newest(events: Sequence[Event], what: str) -> Event | None:
    return next((event for event in reversed(events) if event.what == what), None)
