"""A new key for a catalog: every secret in it is sealed anew, in one transaction.

The new key waits in a file beside the old one, is flushed to the disk, and counts from the moment in which
the transaction is committed: the catalog says by the mark of the key which of the two it needs. Then the new
file takes the place of the old one. So whoever opens the catalog finds the right key at every moment between,
and a rotation that was cut off is ended by giving it again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import bindparam, delete, insert, select, text, update

from agent.catalog import events, head, schema
from agent.catalog.connection import Connection
from agent.catalog.database import Database, open_database
from agent.catalog.events import Event
from agent.catalog.keybox import KeyBox, ensure_key_file, pending_file
from agent.catalog.server import Server
from agent.catalog.trouble import told
from agent.errors import CatalogBusy, StateUnusable
from agent.model.identity import JobName, SerialNumber

BUSY_TIMEOUT_S = 10.0

_OTHERS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND application_name LIKE 'ingest-agent %' AND pid <> pg_backend_pid()"
)


@dataclass(frozen=True, slots=True)
class Author:
    """Who does it, from where and when."""

    who: str
    origin: str
    now: datetime

    async def tell(self, connection: Connection, box: KeyBox, what: str, detail: str) -> None:
        """Into the history."""
        await events.append(connection, box, Event(self.now, self.who, None, None, what, detail, self.origin))


@dataclass(frozen=True, slots=True)
class Rotation:
    """``resealed`` drive keys are sealed with the new key; ``damaged`` ones opened with none and stay so.

    ``kept`` is where the old key is now.
    """

    old_id: str
    new_id: str
    resealed: int
    damaged: int
    kept: Path | None


async def rotate(place: Path | Server, key_file: Path, author: Author, *, keep_old: bool = True) -> Rotation:
    """Raises CatalogBusy when another process or station uses the catalog, and StateUnusable."""
    async with open_database(place, key_file, BUSY_TIMEOUT_S, alone=True) as (database, box):
        with told(f"key file {key_file}"):
            old = KeyBox.from_file(key_file)
            new = _next_key(key_file)
        resealed = damaged = 0
        if box.mark != new.mark:
            async with database.write() as connection:
                await _only_user(connection, database)
                resealed, damaged = await reseal(connection, box, new)
                detail = f"from key {box.key_id} to key {new.key_id}, {resealed} drive keys"
                await author.tell(connection, new, "keys.rotated", detail)
        # The log of writes still holds what was overwritten.
        await database.checkpoint()
    with told(f"key file {key_file}"):
        return Rotation(old.key_id, new.key_id, resealed, damaged, _take_over(key_file, old, keep_old))


async def reseal(connection: Connection, old: KeyBox, new: KeyBox) -> tuple[int, int]:
    """Seals all keys anew and signs the head of the history: how many keys were, and how many are damaged.

    Raises StateUnusable when none opens: then the key is the wrong one.
    """
    found = await _sealed_anew(connection, old, new)
    changes = [one for one in found if one["sealed"] is not None]
    if found and not changes:
        raise StateUnusable(f"none of the {len(found)} drive keys opens with key {old.key_id}")
    if changes:
        drive = schema.drive
        by_id = update(drive).where(drive.c.id == bindparam("row")).values(sealed_key=bindparam("sealed"))
        await connection.execute(by_id, changes)
    await head.resign(connection, await head.load(connection), old, new)
    await connection.execute(delete(schema.key_mark))
    await connection.execute(insert(schema.key_mark).values(id=1, mark=new.mark))
    return len(changes), len(found) - len(changes)


async def _sealed_anew(connection: Connection, old: KeyBox, new: KeyBox) -> list[dict[str, object]]:
    drive, job = schema.drive, schema.job
    query = (
        select(drive.c.id, drive.c.serial_shown, drive.c.sealed_key, job.c.name)
        .join(job, job.c.id == drive.c.job_id)
        .where(drive.c.sealed_key.is_not(None))
    )
    found: list[dict[str, object]] = []
    for row in await connection.execute(query):
        name, serial = JobName.parse(row.name), SerialNumber.parse(row.serial_shown)
        sealed: bytes | None = None
        with suppress(StateUnusable):
            sealed = new.seal(old.open(row.sealed_key, name, serial), name, serial)
        found.append({"row": row.id, "sealed": sealed})
    return found


async def _only_user(connection: Connection, database: Database) -> None:
    if database.server is None:
        return
    others = (await connection.execute(_OTHERS)).scalar_one()
    if others:
        raise CatalogBusy(f"catalog {database.server.shown} is in use: {others} connections of stations")


def _next_key(key_file: Path) -> KeyBox:
    pending = pending_file(key_file)
    ensure_key_file(pending)
    owner, mine = key_file.stat(), pending.stat()
    if (owner.st_uid, owner.st_gid) != (mine.st_uid, mine.st_gid):
        os.chown(pending, owner.st_uid, owner.st_gid)
    return KeyBox.from_file(pending)


def _take_over(key_file: Path, old: KeyBox, keep_old: bool) -> Path | None:
    kept = key_file.with_name(f"{key_file.name}.old-{old.key_id}") if keep_old else None
    if kept is not None:
        with suppress(FileExistsError):
            os.link(key_file, kept)
    os.replace(pending_file(key_file), key_file)
    flush_folder(key_file.parent)
    return kept


def flush_folder(folder: Path) -> None:
    """What was made, renamed or removed in it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
