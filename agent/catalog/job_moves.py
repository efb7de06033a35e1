"""Moves of jobs: what the table says, put into the rows, with its event."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete

from agent.catalog import drives, jobs, rows, schema
from agent.catalog.following import Standing, due
from agent.catalog.turn import Turn
from agent.errors import MoveRefused
from agent.model.identity import JobName
from agent.model.job import Job
from agent.model.moves import NoOp, Outcome, Refused
from agent.model.states import DriveState, JobEvent, JobState, job_outcome, move_job
from agent.model.waiting import due_on_entering


async def job_event(turn: Turn, name: JobName, event: JobEvent, detail: str = "", **columns: Any) -> Job:
    """The job as it is then, or was before it was deleted; ``columns`` are set with a move.

    Raises JobNotFound, and MoveRefused with the reason of the table.
    """
    row, job = await jobs.load(turn.connection, name)
    if not await _move(turn, row, job, event, detail, **columns):
        return job
    return (await jobs.load(turn.connection, name))[1]


async def _move(
    turn: Turn, row: rows.AnyRow, job: Job, event: JobEvent, detail: str = "", **columns: Any
) -> bool:
    """Whether the row is there and another one now."""
    if isinstance(refuse_late(job, event), NoOp):
        return False
    to = move_job(job.state, event)
    now = to.value if to is not None else None
    await turn.note(f"job.{event.name.lower()}", job.name, None, detail, was=job.state.value, now=now)
    if to is None:
        await turn.connection.execute(delete(schema.job).where(schema.job.c.id == row.id))
        return False
    values = _entering(turn, job, to) if to is not job.state else {}
    await jobs.change(turn.connection, row.id, **{"updated": turn.now, **values, **columns})
    return True


def refuse_late(job: Job, event: JobEvent) -> Outcome[JobState]:
    """What becomes of the job by its table; raises MoveRefused with the reason."""
    outcome = job_outcome(job.state, event)
    if isinstance(outcome, Refused):
        raise MoveRefused(f"job {job.name} is in {job.state}: it {outcome.why}")
    return outcome


def _entering(turn: Turn, job: Job, to: JobState) -> dict[str, Any]:
    awaits = any(drive.state is DriveState.SPECIFIED for drive in job.drives)
    due_at = due_on_entering(to, turn.now, job.due, awaits=awaits)
    values: dict[str, Any] = {"state": to.value, "due": due_at, "told": None}
    faulted_from = job.state.value if to is JobState.FAULTED else None
    return values | {"faulted_from": faulted_from}


async def follow(turn: Turn, name: JobName) -> Job:
    """Bring the job to where its drives are, and its percent to what they say."""
    row, job = await jobs.load(turn.connection, name)
    while (event := due(await _standing(turn, row, job))) is not None:
        await _move(turn, row, job, event)
        row, job = await jobs.load(turn.connection, name)
    await jobs.change(turn.connection, row.id, updated=turn.now, percent_reached=job.percent_complete)
    return (await jobs.load(turn.connection, name))[1]


async def _standing(turn: Turn, row: rows.AnyRow, job: Job) -> Standing:
    states = [drive.state for drive in job.drives]
    faulty = DriveState.NEVER_RECEIVED in states or await drives.any_with_errors(turn.connection, row.id)
    return Standing(
        job.state,
        states,
        with_errors=faulty and not job.cancel_requested,
        is_cancelled=job.cancel_requested,
        is_held=job.fault_note is not None,
        faulted_from=rows.faulted_from(row),
    )
