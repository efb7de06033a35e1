"""How a job follows its drives: what the drives say, put to the job's own table of moves."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from agent.errors import MoveRefused
from agent.model.codes import DriveStatus
from agent.model.identity import JobName
from agent.model.states import (
    FINISHED_JOBS,
    OPEN_DRIVES,
    PROCESSABLE_JOBS,
    RESOLVE_TO,
    DriveEvent,
    DriveState,
    JobEvent,
    JobState,
)

GIVEN_UP = frozenset({DriveState.NEVER_RECEIVED})
NOT_BEGUN = GIVEN_UP | {DriveState.SPECIFIED, DriveState.RECEIVED}
UNDER_WAY = OPEN_DRIVES - GIVEN_UP
"""What a job waits for before it is packed. A drive that never came does not hold it up."""

CLEAN_STATUSES = frozenset({DriveStatus.COMPLETED.value, DriveStatus.COMPLETED_WITH_WARNINGS.value})
"""Copy statuses of a drive with findings that are no errors."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a job's next move depends on.

    ``with_errors``: some drive ended with errors, or never came, which decides how the job ends.
    ``is_held``: operators faulted the job itself. ``faulted_from``: where it was when it faulted.
    """

    state: JobState
    drives: Collection[DriveState]
    with_errors: bool
    is_cancelled: bool
    is_held: bool
    faulted_from: JobState


def admit(name: JobName, state: JobState, event: DriveEvent) -> None:
    """Raises MoveRefused when the job's state does not let its drives take the event.

    Source: "a job not in Shipping cannot be processed even when the drives are there".
    """
    if state is JobState.CREATING:
        raise MoveRefused(f"job {name} is in Creating: its drives are handled once it is shipped")
    if state in FINISHED_JOBS:
        raise MoveRefused(f"job {name} is in {state}: its drives are not handled any more")
    if event is DriveEvent.BEGIN and state not in PROCESSABLE_JOBS:
        raise MoveRefused(f"job {name} is in {state}: no drive of it may begin")


def due(job: Standing) -> JobEvent | None:
    """The move that brings the job nearer to where its drives are; None when it is there."""
    match job.state:
        case JobState.SHIPPING | JobState.RECEIVED:
            return _before_the_copy(job)
        case JobState.TRANSFERRING | JobState.PACKAGING:
            return _from_the_copy_on(job)
        case JobState.FAULTED if DriveState.FAULTED not in job.drives and not job.is_held:
            return RESOLVE_TO[job.faulted_from]
    return None


def _before_the_copy(job: Standing) -> JobEvent | None:
    present = set(job.drives)
    if DriveState.FAULTED in present:
        return JobEvent.FAULT
    if present - NOT_BEGUN:
        return JobEvent.FIRST_BEGUN
    if job.state is JobState.RECEIVED:
        return None
    if present == GIVEN_UP:
        return JobEvent.NOTHING_CAME if job.is_cancelled else None
    return None if DriveState.SPECIFIED in present else JobEvent.ALL_RECEIVED


def _from_the_copy_on(job: Standing) -> JobEvent | None:
    present = set(job.drives)
    if job.state is JobState.TRANSFERRING:
        if DriveState.FAULTED in present:
            return JobEvent.FAULT
        return None if present & UNDER_WAY else JobEvent.ALL_PROCESSED
    if present & UNDER_WAY:
        return JobEvent.TURNED_UP
    if present <= GIVEN_UP | {DriveState.SHIPPED_BACK}:
        return JobEvent.SHIPPED_BACK_WITH_ERRORS if job.with_errors else JobEvent.SHIPPED_BACK_CLEAN
    return None


def ended_with_errors(outcome: str | None, copy_status: str | None) -> bool:
    """Whether a processed drive counts as one with errors."""
    return outcome == DriveState.COMPLETED_MORE_INFO and copy_status not in CLEAN_STATUSES
