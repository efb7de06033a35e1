"""Queries on drives. Each takes the connection of an open transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select, update

from agent.catalog import jobs, rows, schema
from agent.catalog.connection import Connection
from agent.catalog.following import ended_with_errors
from agent.errors import SerialNotSpecified
from agent.model.identity import JobName, SerialNumber
from agent.model.job import Drive, Job
from agent.model.states import FINISHED_JOBS, OPEN_DRIVES, DriveState


async def load(
    connection: Connection, job_id: int, job: JobName, serial: SerialNumber, *, for_change: bool = False
) -> rows.AnyRow:
    """The drive's row, locked where writers do not take turns; raises SerialNotSpecified."""
    table = schema.drive
    query = select(table).where(table.c.job_id == job_id, table.c.serial == serial.normal)
    query = query.with_for_update() if for_change else query
    row = (await connection.execute(query)).first()
    if row is None:
        raise SerialNotSpecified(f"job {job} does not specify drive {serial}")
    return row


async def change(connection: Connection, row: rows.AnyRow, values: dict[str, Any]) -> None:
    """Sets columns of a drive."""
    await connection.execute(update(schema.drive).where(schema.drive.c.id == row.id).values(values))


async def any_with_errors(connection: Connection, job_id: int) -> bool:
    """Whether some drive of the job ended with errors."""
    table = schema.drive
    query = select(table.c.outcome, table.c.copy_status).where(table.c.job_id == job_id)
    return any(ended_with_errors(row.outcome, row.copy_status) for row in await connection.execute(query))


async def counted(connection: Connection) -> dict[DriveState, int]:
    """How many drives of all jobs are in each state."""
    state = schema.drive.c.state
    query = select(state.label("state"), func.count().label("drives")).group_by(state)
    return {DriveState(row.state): row.drives for row in await connection.execute(query)}


async def having(connection: Connection, serial: SerialNumber) -> list[tuple[Job, Drive]]:
    """Every job that specifies the serial: those that still wait for it first, then the newest."""
    specified = select(schema.drive.c.job_id).where(schema.drive.c.serial == serial.normal)
    query = select(schema.job).where(schema.job.c.id.in_(specified)).order_by(schema.job.c.id.desc())
    found = await jobs.with_drives(connection, (await connection.execute(query)).all())
    pairs = [(job, job.drive(serial)) for job in found]
    return sorted(pairs, key=lambda pair: not waits(*pair))


def waits(job: Job, drive: Drive) -> bool:
    """The drive still waits for its copy, in a job that will have it copied."""
    return drive.state in OPEN_DRIVES and job.state not in FINISHED_JOBS and not job.cancel_requested
