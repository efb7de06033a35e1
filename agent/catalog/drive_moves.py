"""Moves of drives: what the tables say, put into the rows, with its event. The job is not moved here."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sqlalchemy import update

from agent.catalog import drives, jobs, progress, rows, schema
from agent.catalog.following import admit
from agent.catalog.turn import Turn
from agent.errors import MoveRefused
from agent.model.going import Going
from agent.model.identity import JobName, SerialNumber
from agent.model.moves import NoOp, Refused
from agent.model.states import (
    PROCESSABLE_JOBS,
    DriveEvent,
    DriveState,
    drive_outcome,
    move_drive,
)
from agent.model.tally import Tally
from agent.model.verification import VerifiedCounts
from agent.model.waiting import Notice

CANCELLED = "Cancelled"
"""Copy status of a drive whose job was cancelled."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a move says of its drive besides; None leaves a field as it is."""

    copy_status: str | None = None
    tally: Tally | None = None
    percent_complete: int | None = None
    error_log_uri: str | None = None
    verbose_log_uri: str | None = None
    manifest_uri: str | None = None
    verified: VerifiedCounts | None = None
    going: Going | None = None


NOTHING_TOLD = Told()


async def drive_event(
    turn: Turn,
    job: JobName,
    serial: SerialNumber,
    event: DriveEvent,
    detail: str = "",
    told: Told = NOTHING_TOLD,
) -> None:
    """Raises JobNotFound, SerialNotSpecified, and MoveRefused with the reason of the table."""
    found_row, found = await jobs.load(turn.connection, job)
    row = await drives.load(turn.connection, found_row.id, job, serial)
    admit(job, found.state, event)
    before = DriveState(row.state)
    outcome = drive_outcome(before, event)
    if isinstance(outcome, Refused):
        raise MoveRefused(f"drive {serial} of job {job} is in {before}: it {outcome.why}")
    if isinstance(outcome, NoOp):
        return
    state = move_drive(before, event)
    values = progress.going_columns(told.going) if told.going is not None else {}
    values |= {"state": state.value, **progress.moved(row, event, told.tally, told.percent_complete)}
    values |= progress.outcome(event, state, told.copy_status)
    values |= {one: uri for one in _URIS if (uri := getattr(told, one)) is not None}
    values |= rows.verified_columns(told.verified) if told.verified is not None else {}
    await drives.change(turn.connection, row, values)
    await turn.note(f"drive.{event.name.lower()}", job, serial, detail, was=before.value, now=state.value)
    if event is DriveEvent.FAULT:
        await turn.notice(Notice.FAULTED, job, serial, detail)
    if event is DriveEvent.ARRIVE:
        await _is_no_extra(turn, serial)


_URIS = tuple(one.name for one in fields(Told) if one.name.endswith("_uri"))


async def skip_copies(turn: Turn, job: JobName) -> None:
    """Drives of a cancelled job that are here walk on to their end; those in a transfer end it themselves."""
    _, found = await jobs.load(turn.connection, job)
    if not found.cancel_requested or found.state not in PROCESSABLE_JOBS:
        return
    ended = Told(copy_status=CANCELLED, percent_complete=0)
    why = "the job was cancelled; nothing was copied"
    for drive in found.drives:
        if drive.state is DriveState.RECEIVED:
            await drive_event(turn, job, drive.serial, DriveEvent.BEGIN, why)
            await drive_event(turn, job, drive.serial, DriveEvent.FINISH_WITH_FINDINGS, why, ended)


async def _is_no_extra(turn: Turn, serial: SerialNumber) -> None:
    """A drive that was one belongs to a job by now."""
    table = schema.extra
    open_ones = (table.c.serial == serial.normal) & table.c.returned.is_(None)
    await turn.connection.execute(update(table).where(open_ones).values(returned=turn.now, due=None))
