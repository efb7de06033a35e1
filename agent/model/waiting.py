"""How long a job waits in its states, and what happens then. Pure; the clock is the caller's.

Source of the times: Microsoft's "Retrieving state information for an Import/Export job". Where they
are counted from is said in docs/adr/0017-clocks-of-a-job.md.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from agent.model.states import FINISHED_JOBS, JobEvent, JobState

CREATING_KEPT = timedelta(days=14)
"""A job that is not shipped; each update begins the time anew."""
DRIVES_AWAITED = timedelta(days=14)
"""A shipped job without all of its drives, until operators are told."""
ANSWER_AWAITED = timedelta(days=30)
"""Since operators were told of a job of which no drive came, until it is closed."""
ENDED_KEPT = timedelta(days=90)
"""A job that is Completed or Closed."""
IDLE_DRIVE_KEPT = timedelta(days=14)
"""A drive that belongs to no shipped job, until operators are told to return it."""

MAX_EXTENSION_DAYS = 365


class Notice(StrEnum):
    """What operators are told of; each stands in the history as ``notice.<value>``."""

    LATE = "late"
    """Two weeks after it was shipped nothing of a job came."""
    MISSING = "missing"
    """Two weeks after it was shipped some drives of a job are missing: it goes on without them."""
    UNANSWERED = "unanswered"
    """A job was closed, for none of its drives came and nobody answered."""
    FAULTED = "faulted"
    """A job, or a drive of it, makes no progress."""
    EXPIRED = "expired"
    """A job was deleted, for its time was over."""
    EXTRA = "extra"
    """A drive arrived that no job specifies."""
    NOT_SHIPPED = "not_shipped"
    """A drive arrived, and its job still is in Creating."""
    UNCLAIMED = "unclaimed"
    """Such a drive is here for two weeks: return it."""
    PAUSED = "paused"
    """A drive stands still for long."""
    CREDENTIAL = "credential"
    """The store's credential ends soon, or has ended."""
    HISTORY = "history"
    """The history is not what was written."""


def due_on_entering(state: JobState, now: datetime, due: datetime | None, *, awaits: bool) -> datetime | None:
    """When the clock of a job runs out that just came into the state.

    ``due`` is that of the state before. ``awaits``: some of its drives are still expected.
    """
    if state is JobState.CREATING:
        return now + CREATING_KEPT
    if state is JobState.SHIPPING:
        return now + DRIVES_AWAITED
    if state in FINISHED_JOBS:
        return now + ENDED_KEPT
    return due if awaits else None


def event_at_due(state: JobState, *, is_told: bool) -> JobEvent:
    """What happens to a job whose clock ran out. ``is_told``: operators were told that nothing of it came."""
    if state is JobState.CREATING or state in FINISHED_JOBS:
        return JobEvent.EXPIRE
    if state is JobState.SHIPPING and is_told:
        return JobEvent.UNANSWERED
    return JobEvent.LATE
