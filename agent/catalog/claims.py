"""Who works a drive: rows of the table ``claim``. Each query takes the connection of an open transaction.

A claim is a lease on the database's clock. A station renews it while it works; a claim that ran out may be
taken by any other one. Every taking over counts the epoch on, so that a station that was away can tell, and
its late reports are refused. Locks are taken claim first, drive second.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import TextClause, select, text

from agent.catalog import schema
from agent.catalog.connection import Connection
from agent.catalog.rows import AnyRow
from agent.catalog.server import Server
from agent.errors import DriveBusy
from agent.model.identity import JobName, SerialNumber

# Times are UTC by the server's clock at that very moment, not at the beginning of the transaction. The
# condition is looked at when the row's lock is there: of two at once, the second one sees the first's claim.
_TAKE = text("""
    INSERT INTO claim (serial, job, station, holder, epoch, taken, until)
    VALUES (:serial, :job, :station, :holder, 1, clock_timestamp() AT TIME ZONE 'UTC',
            clock_timestamp() AT TIME ZONE 'UTC' + make_interval(secs => :lease_s))
    ON CONFLICT (serial) DO UPDATE
        SET job = excluded.job, station = excluded.station, holder = excluded.holder,
            epoch = claim.epoch + 1, taken = clock_timestamp() AT TIME ZONE 'UTC',
            until = clock_timestamp() AT TIME ZONE 'UTC' + make_interval(secs => :lease_s)
        WHERE claim.until <= clock_timestamp() AT TIME ZONE 'UTC' OR claim.holder = excluded.holder
    RETURNING epoch
""")
_RENEW = text("""
    UPDATE claim SET until = clock_timestamp() AT TIME ZONE 'UTC' + make_interval(secs => :lease_s)
    WHERE serial = :serial AND holder = :holder AND epoch = :epoch RETURNING epoch
""")
_GIVE_UP = text("""
    UPDATE claim SET until = clock_timestamp() AT TIME ZONE 'UTC'
    WHERE serial = :serial AND holder = :holder AND epoch = :epoch RETURNING epoch
""")
# The epoch goes on, so that whoever held it is refused from now on.
_RELEASE = text("""
    UPDATE claim SET until = clock_timestamp() AT TIME ZONE 'UTC', epoch = epoch + 1
    WHERE serial = :serial AND until > clock_timestamp() AT TIME ZONE 'UTC'
    RETURNING serial, job, station, taken, until
""").columns(taken=schema.UtcTime, until=schema.UtcTime)
_HOLD = text("""
    SELECT epoch FROM claim
    WHERE serial = :serial AND holder = :holder AND epoch = :epoch FOR UPDATE
""")
_IN_FORCE = text("""
    SELECT serial, job, station, taken, until FROM claim
    WHERE until > clock_timestamp() AT TIME ZONE 'UTC' ORDER BY taken
""").columns(taken=schema.UtcTime, until=schema.UtcTime)


@dataclass(frozen=True, slots=True)
class Claim:
    """That of one station on one drive, taken with one epoch."""

    serial: SerialNumber
    job: JobName
    server: Server
    epoch: int


@dataclass(frozen=True, slots=True)
class ClaimShown:
    """A claim in force, for people; times are UTC by the database's clock."""

    serial: str
    job: str
    station: str
    taken: datetime
    until: datetime


async def take(connection: Connection, server: Server, job: JobName, serial: SerialNumber) -> Claim:
    """Raises DriveBusy while another station holds it."""
    values = _of(server, serial) | {"job": job.text, "station": server.station, "lease_s": server.lease_s}
    row = (await connection.execute(_with(_TAKE, values))).first()
    if row is None:
        raise DriveBusy(f"drive {serial} of job {job} is held by {await _holder(connection, serial)}")
    return Claim(serial, job, server, row.epoch)


async def renew(connection: Connection, claim: Claim) -> None:
    """From now on for a whole lease, also when it had run out. Raises DriveBusy as ``hold``."""
    await _mine(connection, claim, _with(_RENEW, _key(claim) | {"lease_s": claim.server.lease_s}))


async def give_up(connection: Connection, claim: Claim) -> None:
    """It ends now; nothing when it is another one's already."""
    await connection.execute(_with(_GIVE_UP, _key(claim)))


async def release(connection: Connection, serial: SerialNumber) -> ClaimShown | None:
    """It ends now, whoever holds it; None when nobody does."""
    row = (await connection.execute(_RELEASE.bindparams(serial=serial.normal))).first()
    return None if row is None else _shown(row)


async def hold(connection: Connection, claim: Claim) -> None:
    """Nobody else takes it before the transaction ends. Raises DriveBusy when somebody has."""
    await _mine(connection, claim, _with(_HOLD, _key(claim)))


async def in_force(connection: Connection) -> list[ClaimShown]:
    """All of them, the oldest first."""
    found = await connection.execute(_IN_FORCE)
    return [_shown(row) for row in found]


def _shown(row: AnyRow) -> ClaimShown:
    return ClaimShown(row.serial, row.job, row.station, row.taken, row.until)


async def _mine(connection: Connection, claim: Claim, query: TextClause) -> None:
    if (await connection.execute(query)).first() is None:
        by = await _holder(connection, claim.serial)
        raise DriveBusy(f"drive {claim.serial} of job {claim.job} went on in {by} while this one was away")


async def _holder(connection: Connection, serial: SerialNumber) -> str:
    query = select(schema.claim.c.station).where(schema.claim.c.serial == serial.normal)
    return f"station {(await connection.execute(query)).scalar()}"


def _key(claim: Claim) -> dict[str, Any]:
    return _of(claim.server, claim.serial) | {"epoch": claim.epoch}


def _of(server: Server, serial: SerialNumber) -> dict[str, Any]:
    return {"serial": serial.normal, "holder": server.holder}


def _with(query: TextClause, values: dict[str, Any]) -> TextClause:
    return query.bindparams(**values)
