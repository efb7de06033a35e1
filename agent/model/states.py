"""The life cycle of jobs and drives: one table each, from which code, docs and diagram are made.

Source of the states: Microsoft's "Retrieving state information for an Import/Export job". Every event
has an outcome in every state: a move, nothing to do, or a refusal with its reason. Where the sources
disagree or are silent, docs/adr/0004 and 0016 say what was decided. Cancelling is a flag on the
job, not a state (a cancelled job skips the copy and walks the same states).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from agent.errors import MoveRefused
from agent.model.moves import Move, NoOp, Outcome, Refused, Row, Table, table


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

    UPDATE_DRIVES = "the customer changes what is to be copied"
    UPDATE_OPTIONS = "the customer changes the log level or the manifest backup"
    UPDATE_PAPERS = "the customer changes addresses, packages or tags"
    SHIP = "the customer ships the drives"
    LATE = "two weeks without a drive that is expected"
    EXTEND = "operators wait longer"
    UNANSWERED = "nobody answered within 30 days of that"
    NOTHING_CAME = "the job is cancelled, and none of its drives came"
    ALL_RECEIVED = "all drives have arrived, or were given up"
    FIRST_BEGUN = "the first drive has begun"
    ALL_PROCESSED = "all drives are processed"
    TURNED_UP = "a drive that was given up arrives after all"
    SHIPPED_BACK_CLEAN = "all drives are shipped back, no errors"
    SHIPPED_BACK_WITH_ERRORS = "all drives are shipped back, some errors"
    CANCEL = "the job is cancelled"
    FAULT = "the job or a drive stopped making progress"
    RESOLVE_TO_SHIPPING = "the fault is resolved; it came in Shipping"
    RESOLVE_TO_RECEIVED = "the fault is resolved; it came in Received"
    RESOLVE_TO_TRANSFERRING = "the fault is resolved; it came in Transferring"
    RESOLVE_TO_PACKAGING = "the fault is resolved; it came in Packaging"
    EXPIRE = "its time is over"
    DELETE = "the customer deletes the job"


class DriveEvent(StrEnum):
    """What moves a drive."""

    ARRIVE = "the drive is seen in a bay, or operators received it"
    MISS = "the drive was not in the box, or is two weeks late"
    BEGIN = "the transfer begins"
    FINISH_CLEAN = "every byte is in the service and verified"
    FINISH_WITH_FINDINGS = "the transfer ended with errors, warnings or notes"
    SHIP_BACK = "the drive is shipped back"
    FAULT = "the drive stopped making progress"
    RESOLVE = "operators resolved the fault"
    GIVE_UP = "operators end the drive without a copy"


_ENDED = (JobState.COMPLETED, JobState.CLOSED)
_HERE = (JobState.RECEIVED, JobState.TRANSFERRING, JobState.PACKAGING)
_RUNNING = (JobState.SHIPPING, *_HERE)
_Why = Mapping[str, tuple[JobState, ...]]
_HAS_ENDED: _Why = {"has ended": _ENDED}
_FOLLOWS: _Why = {"follows its drives once the fault is resolved": (JobState.FAULTED,)}
_NO_FAULT: _Why = {"is not Faulted": (JobState.CREATING, *_RUNNING, *_ENDED)}
_NOT_SHIPPED: _Why = {"is not shipped yet": (JobState.CREATING,)}


def _resolve(event: JobEvent, to: JobState) -> Row[JobState, JobEvent]:
    return Row(event, moves={JobState.FAULTED: to}, refused=_NO_FAULT)


def _followed(event: JobEvent, *begins: JobState, to: JobState) -> Row[JobState, JobEvent]:
    """An event that the drives bring about: it is due in ``begins`` alone."""
    others = [state for state in _RUNNING if state not in begins]
    return Row(
        event,
        moves=dict.fromkeys(begins, to),
        refused={**_NOT_SHIPPED, "is past that or not there yet": others, **_HAS_ENDED, **_FOLLOWS},
    )


JOB_LIFE: Table[JobState, JobEvent] = table(
    JobState,
    JobEvent,
    (
        Row(
            JobEvent.UPDATE_DRIVES,
            stays=(JobState.CREATING,),
            refused={"is shipped: its drives are as they are": (*_RUNNING, JobState.FAULTED), **_HAS_ENDED},
        ),
        Row(
            JobEvent.UPDATE_OPTIONS,
            stays=(JobState.CREATING, JobState.SHIPPING, JobState.RECEIVED),
            refused={
                "may have a drive that began under the old settings": (
                    JobState.TRANSFERRING,
                    JobState.PACKAGING,
                    JobState.FAULTED,
                ),
                **_HAS_ENDED,
            },
        ),
        Row(
            JobEvent.UPDATE_PAPERS,
            stays=(JobState.CREATING, *_RUNNING, JobState.FAULTED),
            refused=_HAS_ENDED,
        ),
        Row(
            JobEvent.SHIP,
            moves={JobState.CREATING: JobState.SHIPPING},
            nothing={"is shipped already": (*_RUNNING, JobState.FAULTED)},
            refused=_HAS_ENDED,
        ),
        Row(
            JobEvent.LATE,
            stays=(*_RUNNING, JobState.FAULTED),
            refused={**_NOT_SHIPPED, **_HAS_ENDED},
        ),
        Row(
            JobEvent.EXTEND,
            stays=(JobState.CREATING, *_RUNNING, JobState.FAULTED),
            refused=_HAS_ENDED,
        ),
        Row(
            JobEvent.UNANSWERED,
            moves={JobState.SHIPPING: JobState.CLOSED},
            refused={
                **_NOT_SHIPPED,
                "has drives here": _HERE,
                "is Faulted and waits for operators": (JobState.FAULTED,),
                **_HAS_ENDED,
            },
        ),
        _followed(JobEvent.NOTHING_CAME, JobState.SHIPPING, to=JobState.COMPLETED),
        _followed(JobEvent.ALL_RECEIVED, JobState.SHIPPING, to=JobState.RECEIVED),
        _followed(JobEvent.FIRST_BEGUN, JobState.SHIPPING, JobState.RECEIVED, to=JobState.TRANSFERRING),
        _followed(JobEvent.ALL_PROCESSED, JobState.TRANSFERRING, to=JobState.PACKAGING),
        _followed(JobEvent.TURNED_UP, JobState.PACKAGING, to=JobState.TRANSFERRING),
        _followed(JobEvent.SHIPPED_BACK_CLEAN, JobState.PACKAGING, to=JobState.COMPLETED),
        _followed(JobEvent.SHIPPED_BACK_WITH_ERRORS, JobState.PACKAGING, to=JobState.CLOSED),
        Row(
            JobEvent.CANCEL,
            stays=(
                JobState.CREATING,
                JobState.SHIPPING,
                JobState.RECEIVED,
                JobState.TRANSFERRING,
                JobState.FAULTED,
            ),
            refused={"is copied already": (JobState.PACKAGING,), **_HAS_ENDED},
        ),
        Row(
            JobEvent.FAULT,
            moves=dict.fromkeys(_RUNNING, JobState.FAULTED),
            nothing={"is Faulted already": (JobState.FAULTED,)},
            refused={**_NOT_SHIPPED, **_HAS_ENDED},
        ),
        _resolve(JobEvent.RESOLVE_TO_SHIPPING, JobState.SHIPPING),
        _resolve(JobEvent.RESOLVE_TO_RECEIVED, JobState.RECEIVED),
        _resolve(JobEvent.RESOLVE_TO_TRANSFERRING, JobState.TRANSFERRING),
        _resolve(JobEvent.RESOLVE_TO_PACKAGING, JobState.PACKAGING),
        Row(
            JobEvent.EXPIRE,
            deletes=(JobState.CREATING, *_ENDED),
            refused={"has drives on their way or here": (*_RUNNING, JobState.FAULTED)},
        ),
        Row(
            JobEvent.DELETE,
            deletes=(JobState.CREATING, *_ENDED),
            refused={"has drives on their way or here": (*_RUNNING, JobState.FAULTED)},
        ),
    ),
)

_AWAY = (DriveState.SPECIFIED, DriveState.NEVER_RECEIVED)
_PROCESSED = (DriveState.COMPLETED, DriveState.COMPLETED_MORE_INFO)
_WhyDrive = Mapping[str, tuple[DriveState, ...]]
_NOT_HERE: _WhyDrive = {"has not arrived": _AWAY}
_IS_DONE: _WhyDrive = {"is processed already": _PROCESSED}
_IS_BACK: _WhyDrive = {"was shipped back": (DriveState.SHIPPED_BACK,)}
_WAITS: _WhyDrive = {"is Faulted and waits for operators": (DriveState.FAULTED,)}


def _finish(event: DriveEvent, to: DriveState) -> Row[DriveState, DriveEvent]:
    return Row(
        event,
        moves={DriveState.TRANSFERRING: to},
        refused={
            **_NOT_HERE,
            "has not begun its transfer": (DriveState.RECEIVED,),
            **_IS_DONE,
            **_IS_BACK,
            **_WAITS,
        },
    )


DRIVE_LIFE: Table[DriveState, DriveEvent] = table(
    DriveState,
    DriveEvent,
    (
        Row(
            DriveEvent.ARRIVE,
            moves=dict.fromkeys(_AWAY, DriveState.RECEIVED),
            nothing={
                "has arrived already": (
                    DriveState.RECEIVED,
                    DriveState.TRANSFERRING,
                    *_PROCESSED,
                    DriveState.FAULTED,
                )
            },
            refused=_IS_BACK,
        ),
        Row(
            DriveEvent.MISS,
            moves={DriveState.SPECIFIED: DriveState.NEVER_RECEIVED},
            nothing={"is marked so already": (DriveState.NEVER_RECEIVED,)},
            refused={
                "has arrived": (
                    DriveState.RECEIVED,
                    DriveState.TRANSFERRING,
                    *_PROCESSED,
                    DriveState.FAULTED,
                ),
                **_IS_BACK,
            },
        ),
        Row(
            DriveEvent.BEGIN,
            moves={DriveState.RECEIVED: DriveState.TRANSFERRING},
            refused={
                **_NOT_HERE,
                "is being transferred already": (DriveState.TRANSFERRING,),
                **_IS_DONE,
                **_IS_BACK,
                **_WAITS,
            },
        ),
        _finish(DriveEvent.FINISH_CLEAN, DriveState.COMPLETED),
        _finish(DriveEvent.FINISH_WITH_FINDINGS, DriveState.COMPLETED_MORE_INFO),
        Row(
            DriveEvent.SHIP_BACK,
            moves=dict.fromkeys(_PROCESSED, DriveState.SHIPPED_BACK),
            nothing=_IS_BACK,
            refused={
                **_NOT_HERE,
                "is not processed: give it up first, if it is not to be copied": (
                    DriveState.RECEIVED,
                    DriveState.FAULTED,
                ),
                "is being transferred": (DriveState.TRANSFERRING,),
            },
        ),
        Row(
            DriveEvent.FAULT,
            moves=dict.fromkeys((DriveState.RECEIVED, DriveState.TRANSFERRING), DriveState.FAULTED),
            nothing={"is Faulted already": (DriveState.FAULTED,)},
            refused={**_NOT_HERE, **_IS_DONE, **_IS_BACK},
        ),
        Row(
            DriveEvent.RESOLVE,
            moves={DriveState.FAULTED: DriveState.RECEIVED},
            refused={
                "is not Faulted": (
                    *_AWAY,
                    DriveState.RECEIVED,
                    DriveState.TRANSFERRING,
                    *_PROCESSED,
                    DriveState.SHIPPED_BACK,
                )
            },
        ),
        Row(
            DriveEvent.GIVE_UP,
            moves=dict.fromkeys((DriveState.RECEIVED, DriveState.FAULTED), DriveState.COMPLETED_MORE_INFO),
            refused={
                "has not arrived: mark it never received": _AWAY,
                "is being transferred: mark it Faulted first": (DriveState.TRANSFERRING,),
                **_IS_DONE,
                **_IS_BACK,
            },
        ),
    ),
)

RESOLVE_TO: Mapping[JobState, JobEvent] = {
    JobState.SHIPPING: JobEvent.RESOLVE_TO_SHIPPING,
    JobState.RECEIVED: JobEvent.RESOLVE_TO_RECEIVED,
    JobState.TRANSFERRING: JobEvent.RESOLVE_TO_TRANSFERRING,
    JobState.PACKAGING: JobEvent.RESOLVE_TO_PACKAGING,
}
"""How a job leaves Faulted, by the state in which the fault came."""

PROCESSABLE_JOBS = frozenset(
    {JobState.SHIPPING, JobState.RECEIVED, JobState.TRANSFERRING, JobState.PACKAGING}
)
"""A job in another state is not processed even when its drives are there.

In Packaging the one drive that can still come is one that was given up.
"""

CANCELLABLE_JOBS = frozenset(
    state for state in JobState if isinstance(JOB_LIFE[state, JobEvent.CANCEL], Move)
)
"""The sources disagree (docs/adr/0004-cancel-window.md); before Packaging, best effort."""

FINISHED_JOBS = frozenset(_ENDED)
"""Nothing moves these any more; they are kept for 90 days."""

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


def job_outcome(state: JobState, event: JobEvent) -> Outcome[JobState]:
    """What becomes of a job."""
    return JOB_LIFE[state, event]


def drive_outcome(state: DriveState, event: DriveEvent) -> Outcome[DriveState]:
    """What becomes of a drive."""
    return DRIVE_LIFE[state, event]


def move_job(state: JobState, event: JobEvent) -> JobState | None:
    """The state that follows, None for a job that is deleted; raises MoveRefused with the reason."""
    match JOB_LIFE[state, event]:
        case Move(to):
            return to
        case NoOp():
            return state
        case Refused(why):
            raise MoveRefused(f"a job in {state} {why}; it does not take the event: {event}")


def move_drive(state: DriveState, event: DriveEvent) -> DriveState:
    """The state that follows; raises MoveRefused with the reason."""
    match DRIVE_LIFE[state, event]:
        case Move(to) if to is not None:
            return to
        case Refused(why):
            raise MoveRefused(f"a drive in {state} {why}; it does not take the event: {event}")
    return state
