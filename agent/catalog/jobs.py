"""Queries on jobs. Each takes the connection of an open transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, insert, select, tuple_, update

from agent.catalog import rows, schema
from agent.catalog.connection import Connection
from agent.catalog.keybox import KeyBox
from agent.errors import JobExists, JobNotFound, MalformedInput, SerialConflict
from agent.model.identity import JobName
from agent.model.job import DriveSpec, Job, JobSpec
from agent.model.papers import Papers
from agent.model.states import FINISHED_JOBS, OPEN_DRIVES, DriveState, JobState
from agent.model.tally import Tally
from agent.model.waiting import due_on_entering

OPEN_STATES = tuple(state.value for state in OPEN_DRIVES)
FINISHED_STATES = tuple(state.value for state in FINISHED_JOBS)


async def create(connection: Connection, spec: JobSpec, papers: Papers, box: KeyBox, now: datetime) -> None:
    """In Creating. Raises JobExists, SerialConflict, MalformedInput for what cannot be stored."""
    _refuse_malformed(spec.drives)
    if (await connection.execute(_by_name(spec.name))).first() is not None:
        raise JobExists(f"there is a job {spec.name} already")
    await _refuse_taken_serials(connection, spec.drives, None)
    begun = {
        "state": JobState.CREATING.value,
        "cancel_requested": False,
        "created": now,
        "due": due_on_entering(JobState.CREATING, now, None, awaits=True),
    }
    columns = _job_columns(spec, now) | rows.papers_columns(papers) | begun
    job_id = await connection.insert(insert(schema.job).values(columns))
    await _insert_drives(connection, job_id, spec.name, spec.drives, box, {}, spec.allow_unencrypted)


async def replace_spec(
    connection: Connection, job_id: int, spec: JobSpec, papers: Papers, box: KeyBox, now: datetime
) -> None:
    """Everything that was asked for, for something else. Raises SerialConflict, MalformedInput."""
    columns = _job_columns(spec, now) | rows.papers_columns(papers)
    await change(connection, job_id, **columns)
    await replace_drives(connection, job_id, spec.name, spec.drives, box, spec.allow_unencrypted)


async def replace_drives(
    connection: Connection,
    job_id: int,
    name: JobName,
    drives: Sequence[DriveSpec],
    box: KeyBox,
    allow_unencrypted: bool,
) -> None:
    """All drives of a job for others; one without a credential keeps what is stored for its serial.

    Raises SerialConflict, and MalformedInput for one that has none then and needs one.
    """
    _refuse_malformed(drives)
    await _refuse_taken_serials(connection, drives, job_id)
    table = schema.drive
    kept = await connection.execute(
        select(table.c.serial, table.c.sealed_key).where(table.c.job_id == job_id)
    )
    keys = {row.serial: row.sealed_key for row in kept}
    await connection.execute(delete(table).where(table.c.job_id == job_id))
    await _insert_drives(connection, job_id, name, drives, box, keys, allow_unencrypted)


async def _insert_drives(
    connection: Connection,
    job_id: int,
    name: JobName,
    drives: Sequence[DriveSpec],
    box: KeyBox,
    keys: Mapping[str, bytes | None],
    allow_unencrypted: bool,
) -> None:
    columns = []
    for place, one in enumerate(drives):
        sealed = keys.get(one.serial.normal)
        if one.credential is not None:
            sealed = box.seal(one.credential, name, one.serial)
        if sealed is None and not allow_unencrypted:
            raise MalformedInput(f"drive {one.serial} has no BitLocker key")
        columns.append(_drive_columns(job_id, place, one, sealed))
    await connection.execute(insert(schema.drive), columns)


async def load(connection: Connection, name: JobName) -> tuple[rows.AnyRow, Job]:
    """The row and the job; raises JobNotFound."""
    row = (await connection.execute(_by_name(name))).first()
    if row is None:
        raise JobNotFound(f"there is no job {name}")
    return row, (await with_drives(connection, [row]))[0]


async def page(
    connection: Connection,
    after: tuple[datetime, int] | None,
    size: int,
    conditions: Iterable[ColumnElement[bool]] = (),
) -> tuple[list[Job], tuple[datetime, int] | None]:
    """Up to ``size`` jobs in the order they were created, and where the next page begins."""
    table = schema.job
    query = select(table).where(*conditions).order_by(table.c.created, table.c.id).limit(size)
    if after is not None:
        query = query.where(tuple_(table.c.created, table.c.id) > after)
    found = (await connection.execute(query)).all()
    last = (found[-1].created, found[-1].id) if len(found) == size else None
    return await with_drives(connection, found), last


async def with_drives(connection: Connection, found: Sequence[rows.AnyRow]) -> list[Job]:
    """Jobs of these rows, in their order, each with its drives in the order of the request."""
    table = schema.drive
    query = select(table).where(table.c.job_id.in_([row.id for row in found])).order_by(table.c.position)
    drives: dict[int, list[rows.AnyRow]] = {row.id: [] for row in found}
    for one in await connection.execute(query):
        drives[one.job_id].append(one)
    return [rows.job(row, drives[row.id]) for row in found]


async def change(connection: Connection, job_id: int, **values: Any) -> None:
    """Sets columns of a job."""
    await connection.execute(update(schema.job).where(schema.job.c.id == job_id).values(**values))


async def reach(connection: Connection, job_id: int, percent: int) -> None:
    """The job's percent, unless it was further already."""
    table = schema.job
    behind = (table.c.id == job_id) & (table.c.percent_reached < percent)
    await connection.execute(update(table).where(behind).values(percent_reached=percent))


def _by_name(name: JobName) -> Select[Any]:
    return select(schema.job).where(schema.job.c.name == name.text)


async def _refuse_taken_serials(connection: Connection, drives: Sequence[DriveSpec], own: int | None) -> None:
    query = (
        select(schema.drive.c.serial_shown, schema.job.c.name)
        .join(schema.job, schema.job.c.id == schema.drive.c.job_id)
        .where(
            schema.drive.c.serial.in_([one.serial.normal for one in drives]),
            schema.drive.c.state.in_(OPEN_STATES),
            schema.job.c.state.not_in(FINISHED_STATES),
            schema.job.c.cancel_requested.is_(False),
        )
    )
    if own is not None:
        query = query.where(schema.job.c.id != own)
    taken = (await connection.execute(query)).first()
    if taken is not None:
        raise SerialConflict(f"drive {taken.serial_shown} is already specified by the open job {taken.name}")


def _refuse_malformed(drives: Sequence[DriveSpec]) -> None:
    for one in drives:
        for text in (one.manifest_file, one.header_hash):
            if any("\ud800" <= ch <= "\udfff" for ch in text or ""):
                raise MalformedInput(f"drive {one.serial}: {ascii(text)[:80]} holds half a character")


def _job_columns(spec: JobSpec, now: datetime) -> dict[str, Any]:
    place = spec.destination
    return {
        "name": spec.name.text,
        "destination_container": place.container.text if place else None,
        "destination_prefix": place.prefix if place else None,
        "disposition": spec.disposition.value,
        "diagnostics": spec.diagnostics.text,
        "log_level": spec.log_level.value,
        "backup_manifest": spec.backup_manifest,
        "allow_unencrypted": spec.allow_unencrypted,
        "upload_streams": spec.upload_streams,
        **rows.treatment_columns(spec.treatment),
        "updated": now,
    }


def _drive_columns(job_id: int, place: int, one: DriveSpec, sealed: bytes | None) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "position": place,
        "serial": one.serial.normal,
        "serial_shown": one.serial.shown,
        "state": DriveState.SPECIFIED.value,
        "sealed_key": sealed,
        "manifest_file": one.manifest_file,
        "manifest_hash": one.manifest_hash,
        "header_hash": one.header_hash,
        "percent_complete": 0,
        **rows.tally_columns(Tally()),
    }
