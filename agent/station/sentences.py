"""Where a drive stands, in one sentence for the technician, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agent.catalog.events import Event
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
OUT_OF_ITS_BAY: Final = ("it is in no bay, and its copy is not finished", "Put it into any bay: it goes on.")
_UNBEGUN: Final = frozenset({DriveState.SPECIFIED, DriveState.RECEIVED, DriveState.NEVER_RECEIVED})
_FAULT: Final = f"drive.{DriveEvent.FAULT.name.lower()}"


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


def sentence_of(job: Job, drive: Drive, events: Sequence[Event], *, is_in_bay: bool) -> Sentence:
    """``events`` are the drive's history, oldest first."""
    own = [event for event in events if event.job == job.name.text]
    if drive.state is DriveState.FAULTED:
        fault = next((event for event in reversed(own) if event.what == _FAULT), None)
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
    if drive.state is DriveState.TRANSFERRING and not is_in_bay:
        return Sentence(*OUT_OF_ITS_BAY)
    text, next_step = BY_STATE[drive.state]
    status = drive.copy_status
    if status and drive.state is DriveState.COMPLETED_MORE_INFO:
        text += f" ({status})"
    elif status and status.startswith("waiting: "):
        text += f", and waits for the store ({status.removeprefix('waiting: ')})"
    return Sentence(text, next_step)
