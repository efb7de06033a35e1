"""How a job follows its drives: what the drives say, put to the job's own table of moves."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from agent.errors import MoveRefused
from agent.model.codes import DriveStatus
from agent.model.identity import JobName
from agent.model.states import (
    OPEN_DRIVES,
    PROCESSABLE_JOBS,
    DriveEvent,
    DriveState,
    JobEvent,
    JobState,
    move_job,
)

FINISHED_JOBS = frozenset({JobState.COMPLETED, JobState.CLOSED})
NOT_ARRIVED = frozenset({DriveState.SPECIFIED, DriveState.NEVER_RECEIVED})
NOT_BEGUN = NOT_ARRIVED | {DriveState.RECEIVED}

CLEAN_STATUSES = frozenset({DriveStatus.COMPLETED.value, DriveStatus.COMPLETED_WITH_WARNINGS.value})
"""Copy statuses of a drive with findings that are no errors."""


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


def follow(
    state: JobState, drives: Collection[DriveState], *, with_errors: bool
) -> Iterator[tuple[JobEvent, JobState]]:
    """The moves that bring the job to where its drives are, each with the state it leads to.

    ``with_errors``: some drive ended with errors, which decides how the job ends.
    """
    while (event := _due(state, drives, with_errors)) is not None:
        state = move_job(state, event)
        yield event, state


def _due(state: JobState, drives: Collection[DriveState], with_errors: bool) -> JobEvent | None:
    present = set(drives)
    match state:
        case JobState.SHIPPING | JobState.RECEIVED if present - NOT_BEGUN:
            return JobEvent.FIRST_BEGUN
        case JobState.SHIPPING if not present & NOT_ARRIVED:
            return JobEvent.ALL_RECEIVED
        case JobState.TRANSFERRING if DriveState.FAULTED in present:
            return JobEvent.FAULT
        case JobState.TRANSFERRING if not present & OPEN_DRIVES:
            return JobEvent.ALL_PROCESSED
        case JobState.FAULTED if DriveState.FAULTED not in present:
            return JobEvent.RESOLVE
        case JobState.PACKAGING if present == {DriveState.SHIPPED_BACK}:
            return JobEvent.SHIPPED_BACK_WITH_ERRORS if with_errors else JobEvent.SHIPPED_BACK_CLEAN
    return None


def ended_with_errors(outcome: str | None, copy_status: str | None) -> bool:
    """Whether a processed drive counts as one with errors."""
    return outcome == DriveState.COMPLETED_MORE_INFO and copy_status not in CLEAN_STATUSES
