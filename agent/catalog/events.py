"""What happened, in order, never changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from agent.catalog import schema
from agent.model.printable import printable

MAX_DETAIL_CHARS = 2000


@dataclass(frozen=True, slots=True)
class Event:
    """``at`` is UTC. ``job`` and ``serial`` are texts: an event may tell of a drive of no job.

    ``what`` is a stable name such as ``drive.begin`` or ``job.all_processed``.
    """

    at: datetime
    who: str
    job: str | None
    serial: str | None
    what: str
    detail: str


async def append(connection: AsyncConnection, told: Event) -> None:
    """Texts become one line each that any log can carry."""
    await connection.execute(
        insert(schema.event).values(
            at=told.at,
            who=_one_line(told.who),
            job=told.job,
            serial=told.serial,
            what=told.what,
            detail=_one_line(told.detail),
        )
    )


async def of_job(connection: AsyncConnection, job: str) -> list[Event]:
    """Oldest first."""
    rows = await connection.execute(
        select(schema.event).where(schema.event.c.job == job).order_by(schema.event.c.id)
    )
    return [_event(row) for row in rows]


async def of_serial(connection: AsyncConnection, serial: str) -> list[Event]:
    """Oldest first, over all jobs and none."""
    rows = await connection.execute(
        select(schema.event).where(schema.event.c.serial == serial).order_by(schema.event.c.id)
    )
    return [_event(row) for row in rows]


def _event(row: Row[tuple[object, ...]]) -> Event:
    return Event(row.at, row.who, row.job, row.serial, row.what, row.detail)


def _one_line(text: str) -> str:
    shown = printable(text)
    return shown if len(shown) <= MAX_DETAIL_CHARS else shown[: MAX_DETAIL_CHARS - 1] + "…"
