"""What happened, in order, never changed. See ``agent.catalog.chain`` for how that is held to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Row, Select, insert, select

from agent.catalog import head, schema
from agent.catalog.chain import NO_HASH, link
from agent.catalog.connection import Connection
from agent.catalog.keybox import KeyBox
from agent.model.printable import printable

MAX_DETAIL_CHARS = 2000
MAX_NAME_CHARS = 200


@dataclass(frozen=True, slots=True)
class Event:
    """``at`` is UTC. ``job`` and ``serial`` are texts: an event may tell of a drive of no job.

    ``what`` is a stable name such as ``drive.begin`` or ``job.all_processed``; ``detail`` says why, and
    ``origin`` from where it was done. ``was`` and ``now`` are the states of a move.
    """

    at: datetime
    who: str
    job: str | None
    serial: str | None
    what: str
    detail: str
    origin: str = ""
    was: str | None = None
    now: str | None = None
    id: int = 0
    previous: str = NO_HASH
    hash: str = NO_HASH


async def append(connection: Connection, box: KeyBox, told: Event) -> Event:
    """As it stands now. Texts become one line each that any log can carry."""
    end = await head.load(connection)
    told = replace(
        told,
        who=_one_line(told.who, MAX_NAME_CHARS),
        origin=_one_line(told.origin, MAX_NAME_CHARS),
        detail=_one_line(told.detail, MAX_DETAIL_CHARS),
        id=end.event_id + 1,
        previous=end.hash,
    )
    told = replace(told, hash=link(told.previous, told))
    columns = {name: getattr(told, name) for name in Event.__dataclass_fields__}
    await connection.execute(insert(schema.event).values(columns))
    await head.advance(connection, box, end, told.id, told.hash)
    return told


async def of_job(connection: Connection, job: str) -> list[Event]:
    """Oldest first."""
    return await _read(connection, select(schema.event).where(schema.event.c.job == job))


async def of_serial(connection: Connection, serial: str) -> list[Event]:
    """Oldest first, over all jobs and none."""
    return await _read(connection, select(schema.event).where(schema.event.c.serial == serial))


async def after(connection: Connection, event_id: int, job: str | None, limit: int) -> list[Event]:
    """Those that follow on an event, oldest first."""
    query = select(schema.event).where(schema.event.c.id > event_id)
    if job is not None:
        query = query.where(schema.event.c.job == job)
    return await _read(connection, query.limit(limit))


async def _read(connection: Connection, query: Select[tuple[object, ...]]) -> list[Event]:
    return [_event(row) for row in await connection.execute(query.order_by(schema.event.c.id))]


def _event(row: Row[tuple[object, ...]]) -> Event:
    found = row._mapping
    return Event(**{name: found[name] for name in Event.__dataclass_fields__})


def _one_line(text: str, most: int) -> str:
    shown = printable(text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"
