"""The life cycle of jobs and drives: one table each, from which code, docs and diagram are made.

Source of the states: Microsoft's "Retrieving state information for an Import/Export job". A move
that is not in the table is refused; cancelling is a flag on the job, not a state (a cancelled job
skips the copy and walks the same states).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from agent.errors import MoveRefused


class JobState(StrEnum):
    """States of a job, as on the wire."""

    CREATING = "Creating"
    SHIPPING = "Shipping"
    RECEIVED = "Received"
    TRANSFERRING = "Transferring"
    PACKAGING = "Packaging"
    COMPLETED = "Completed"
    CLOSED = "Closed"
    FAULTED = "Faulted"


class DriveState(StrEnum):
    """States of a drive, as on the wire; Faulted stands in the life cycle but not in the API's enum."""

    SPECIFIED = "Specified"
    RECEIVED = "Received"
    NEVER_RECEIVED = "NeverReceived"
    TRANSFERRING = "Transferring"
    COMPLETED = "Completed"
    COMPLETED_MORE_INFO = "CompletedMoreInfo"
    SHIPPED_BACK = "ShippedBack"
    FAULTED = "Faulted"


class JobEvent(StrEnum):
    """What moves a job."""

    SHIP = "the customer ships the drives"
    ALL_RECEIVED = "all drives have arrived"
    FIRST_BEGUN = "the first drive has begun"
    ALL_PROCESSED = "all drives are processed"
    SHIPPED_BACK_CLEAN = "all drives are shipped back, no errors"
    SHIPPED_BACK_WITH_ERRORS = "all drives are shipped back, some errors"
    UNANSWERED = "30 days in Shipping without an answer"
    FAULT = "a drive stopped making progress"
    RESOLVE = "operators resolved the fault"


class DriveEvent(StrEnum):
    """What moves a drive."""

    ARRIVE = "the drive is seen in a bay"
    MISS = "the drive was not in the box"
    BEGIN = "the transfer begins"
    FINISH_CLEAN = "every byte is in the service and verified"
    FINISH_WITH_FINDINGS = "the transfer ended with errors, warnings or notes"
    SHIP_BACK = "the drive is shipped back"
    FAULT = "the drive stopped making progress"
    RESOLVE = "operators resolved the fault"


JOB_MOVES: Mapping[tuple[JobState, JobEvent], JobState] = {
    (JobState.CREATING, JobEvent.SHIP): JobState.SHIPPING,
    (JobState.SHIPPING, JobEvent.ALL_RECEIVED): JobState.RECEIVED,
    (JobState.SHIPPING, JobEvent.FIRST_BEGUN): JobState.TRANSFERRING,
    (JobState.SHIPPING, JobEvent.UNANSWERED): JobState.CLOSED,
    (JobState.RECEIVED, JobEvent.FIRST_BEGUN): JobState.TRANSFERRING,
    (JobState.TRANSFERRING, JobEvent.ALL_PROCESSED): JobState.PACKAGING,
    (JobState.TRANSFERRING, JobEvent.FAULT): JobState.FAULTED,
    (JobState.FAULTED, JobEvent.RESOLVE): JobState.TRANSFERRING,
    (JobState.PACKAGING, JobEvent.SHIPPED_BACK_CLEAN): JobState.COMPLETED,
    (JobState.PACKAGING, JobEvent.SHIPPED_BACK_WITH_ERRORS): JobState.CLOSED,
}

DRIVE_MOVES: Mapping[tuple[DriveState, DriveEvent], DriveState] = {
    (DriveState.SPECIFIED, DriveEvent.ARRIVE): DriveState.RECEIVED,
    (DriveState.SPECIFIED, DriveEvent.MISS): DriveState.NEVER_RECEIVED,
    (DriveState.NEVER_RECEIVED, DriveEvent.ARRIVE): DriveState.RECEIVED,
    (DriveState.RECEIVED, DriveEvent.BEGIN): DriveState.TRANSFERRING,
    (DriveState.TRANSFERRING, DriveEvent.FINISH_CLEAN): DriveState.COMPLETED,
    (DriveState.TRANSFERRING, DriveEvent.FINISH_WITH_FINDINGS): DriveState.COMPLETED_MORE_INFO,
    (DriveState.TRANSFERRING, DriveEvent.FAULT): DriveState.FAULTED,
    (DriveState.FAULTED, DriveEvent.RESOLVE): DriveState.RECEIVED,
    (DriveState.COMPLETED, DriveEvent.SHIP_BACK): DriveState.SHIPPED_BACK,
    (DriveState.COMPLETED_MORE_INFO, DriveEvent.SHIP_BACK): DriveState.SHIPPED_BACK,
}

PROCESSABLE_JOBS = frozenset({JobState.SHIPPING, JobState.RECEIVED, JobState.TRANSFERRING})
"""A job in another state is not processed even when its drives are there."""

CANCELLABLE_JOBS = frozenset(
    {JobState.CREATING, JobState.SHIPPING, JobState.RECEIVED, JobState.TRANSFERRING, JobState.FAULTED}
)
"""The sources disagree (docs/adr/0004-cancel-window.md); before Packaging, best effort."""

OPEN_DRIVES = frozenset(
    {
        DriveState.SPECIFIED,
        DriveState.RECEIVED,
        DriveState.NEVER_RECEIVED,
        DriveState.TRANSFERRING,
        DriveState.FAULTED,
    }
)
"""States in which a drive still waits for its copy; its serial belongs to one job alone."""


def move_job(state: JobState, event: JobEvent) -> JobState:
    """The state that follows; raises MoveRefused when the table has no such move."""
    try:
        return JOB_MOVES[state, event]
    except KeyError:
        raise MoveRefused(f"a job in {state} does not take the event: {event}") from None


def move_drive(state: DriveState, event: DriveEvent) -> DriveState:
    """The state that follows; raises MoveRefused when the table has no such move."""
    try:
        return DRIVE_MOVES[state, event]
    except KeyError:
        raise MoveRefused(f"a drive in {state} does not take the event: {event}") from None
