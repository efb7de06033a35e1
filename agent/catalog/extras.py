"""Drives that are here and belong to no shipped job.

Source: "the drive will be marked as an extra drive and will be returned to the customer when the job
associated with the original package is completed". One whose job is in Creating waits the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select, update

from agent.catalog import drives, jobs, rows, schema
from agent.catalog.connection import Connection
from agent.catalog.turn import Turn
from agent.errors import SerialNotSpecified
from agent.model.identity import JobName, SerialNumber
from agent.model.states import FINISHED_JOBS, OPEN_DRIVES, JobState
from agent.model.waiting import IDLE_DRIVE_KEPT, Notice


@dataclass(frozen=True, slots=True)
class Extra:
    """``came_with`` is the job whose box it was in, if that is known; times are UTC."""

    serial: SerialNumber
    came_with: JobName | None
    seen: datetime
    returned: datetime | None


async def note(turn: Turn, serial: SerialNumber, came_with: JobName | None, detail: str) -> None:
    """Once; later only with what job it came, when that was not known. Raises JobNotFound."""
    if came_with is not None:
        await jobs.load(turn.connection, came_with)
    known = await _here(turn.connection, serial)
    if known is None:
        await _insert(turn, serial, came_with)
        await turn.note("drive.extra", came_with, serial, detail)
        waits_for = await _in_creating(turn, serial)
        notice = Notice.EXTRA if waits_for is None else Notice.NOT_SHIPPED
        await turn.notice(notice, waits_for or came_with, serial, detail)
    elif known.came_with is None and came_with is not None:
        table = schema.extra
        query = update(table).where(table.c.id == known.id).values(came_with=came_with.text)
        await turn.connection.execute(query)
        await turn.note("drive.extra", came_with, serial, detail)


async def note_idle(turn: Turn, serial: SerialNumber, detail: str) -> None:
    """As ``note``, if the drive is one: other drives that nobody works have their reasons in their jobs."""
    found = await drives.having(turn.connection, serial)
    waiting = await _in_creating(turn, serial)
    if waiting is not None or all(job.state in FINISHED_JOBS for job, _ in found):
        await note(turn, serial, waiting, detail)


async def listed(connection: Connection, job: JobName | None) -> list[Extra]:
    """Those that are here first, then the newest."""
    table = schema.extra
    query = select(table).order_by(table.c.returned.is_not(None), table.c.id.desc())
    if job is not None:
        query = query.where(table.c.came_with == job.text)
    return [_extra(row) for row in await connection.execute(query)]


async def give_back(turn: Turn, serial: SerialNumber, detail: str) -> None:
    """Raises SerialNotSpecified when there is none of this serial here."""
    row = await _here(turn.connection, serial)
    if row is None:
        raise SerialNotSpecified(f"drive {serial} is not here as an extra drive")
    await _close(turn, row, detail)


async def return_all(turn: Turn, job: JobName, detail: str) -> None:
    """Those that came with the job go back with it."""
    table = schema.extra
    query = select(table).where(table.c.came_with == job.text, table.c.returned.is_(None))
    for row in (await turn.connection.execute(query)).all():
        await _close(turn, row, detail)


async def tell_unclaimed(turn: Turn, limit: int) -> int:
    """Tell of those that are here too long, once each; gives their number."""
    table = schema.extra
    query = select(table).where(table.c.due <= turn.now).order_by(table.c.due).limit(limit)
    found = (await turn.connection.execute(query)).all()
    for row in found:
        await turn.connection.execute(update(table).where(table.c.id == row.id).values(due=None))
        extra = _extra(row)
        why = f"here since {extra.seen:%Y-%m-%d} without a shipped job: return it"
        await turn.notice(Notice.UNCLAIMED, extra.came_with, extra.serial, why)
    return len(found)


async def _insert(turn: Turn, serial: SerialNumber, came_with: JobName | None) -> None:
    values = {
        "serial": serial.normal,
        "serial_shown": serial.shown,
        "came_with": came_with.text if came_with is not None else None,
        "seen": turn.now,
        "due": turn.now + IDLE_DRIVE_KEPT,
    }
    await turn.connection.execute(insert(schema.extra).values(values))


async def _close(turn: Turn, row: rows.AnyRow, detail: str) -> None:
    table = schema.extra
    query = update(table).where(table.c.id == row.id).values(returned=turn.now, due=None)
    await turn.connection.execute(query)
    extra = _extra(row)
    await turn.note("drive.extra_returned", extra.came_with, extra.serial, detail)


async def _here(connection: Connection, serial: SerialNumber) -> rows.AnyRow | None:
    table = schema.extra
    query = select(table).where(table.c.serial == serial.normal, table.c.returned.is_(None))
    return (await connection.execute(query)).first()


async def _in_creating(turn: Turn, serial: SerialNumber) -> JobName | None:
    """The job that specifies the drive and is not shipped."""
    for job, drive in await drives.having(turn.connection, serial):
        if job.state is JobState.CREATING and drive.state in OPEN_DRIVES:
            return job.name
    return None


def _extra(row: rows.AnyRow) -> Extra:
    came_with = JobName.parse(row.came_with) if row.came_with is not None else None
    return Extra(SerialNumber.parse(row.serial_shown), came_with, row.seen, row.returned)
