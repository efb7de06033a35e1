"""The database behind the catalog: opening it, and transactions on it.

Several processes may use one file, and several stations one server. Writers take turns from the start of a
transaction on (SQLite's BEGIN IMMEDIATE, a lock on PostgreSQL), so what a writer has read still holds when it
writes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import URL, Engine, create_engine, event, func, insert, select

from agent.catalog import schema
from agent.catalog.chain import Head
from agent.catalog.connection import MAX_CONNECTIONS, Connection, Threads
from agent.catalog.keybox import ID_DIGITS, KeyBox, ensure_key_file, fitting
from agent.catalog.migrate import migrate
from agent.catalog.occupancy import occupy
from agent.catalog.server import Server
from agent.catalog.trouble import told
from agent.errors import StateUnusable


class Database:
    """Transactions. Every failure of the file or the server comes out as StateUnusable."""

    def __init__(self, place: Path | Server, engine: Engine, threads: Threads) -> None:
        self.server = None if isinstance(place, Path) else place
        """Where stations share it; None for a file of this machine."""
        self._shown = _shown(place)
        self._threads = threads
        self._reader: Engine = engine
        self._writer: Engine = engine.execution_options(immediate=True)
        self._row_writer: Engine = self._writer
        if self.server is not None:
            self._row_writer = engine
            self._reader = engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        # Within the process writers queue here in order; SQLite's own lock has no order.
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """One consistent view of it all."""
        with told(self._shown):
            async with self._threads.transaction(self._reader) as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Connection]:
        """Committed when the block ends, undone when it raises."""
        with told(self._shown):
            async with self._turn, self._threads.transaction(self._writer) as connection:
                yield connection

    @asynccontextmanager
    async def write_rows(self) -> AsyncIterator[Connection]:
        """As ``write``, but on a server beside other writers: who reads before it writes locks the rows.

        For what comes often and adds nothing to the history.
        """
        if self.server is None:
            async with self.write() as connection:
                yield connection
            return
        with told(self._shown):
            async with self._threads.transaction(self._row_writer) as connection:
                yield connection

    async def checkpoint(self) -> None:
        """Empties the file's log of writes into the file itself. Does nothing on a server."""
        if self.server is None:
            with told(self._shown):
                await self._threads.run(lambda: _checkpoint(self._reader))


@asynccontextmanager
async def open_database(
    place: Path | Server, key_file: Path, busy_timeout_s: float, *, alone: bool = False
) -> AsyncIterator[tuple[Database, KeyBox]]:
    """Makes what is missing, brings the schema up to date; raises StateUnusable.

    ``alone``: while no other process has the file open, else raises CatalogBusy; of a server, see rotation.
    """
    engine, threads = _engine(place, busy_timeout_s), Threads()
    held: list[int] = []
    try:
        if isinstance(place, Path):
            await threads.run(lambda: held.append(_occupied(place, busy_timeout_s, alone)))
        box = await threads.run(lambda: _prepare(place, key_file, engine))
        yield Database(place, engine, threads), box
    finally:
        await threads.run(engine.dispose)
        for descriptor in held:
            os.close(descriptor)
        threads.close()


def _occupied(path: Path, busy_timeout_s: float, alone: bool) -> int:
    with told(str(path)):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return occupy(path, 0 if alone else busy_timeout_s, alone=alone)


def _checkpoint(engine: Engine) -> None:
    # Not within a transaction, which SQLAlchemy would begin.
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def _shown(place: Path | Server) -> str:
    return str(place) if isinstance(place, Path) else place.shown


def _engine(place: Path | Server, busy_timeout_s: float) -> Engine:
    if not isinstance(place, Path):
        return place.engine(busy_timeout_s)
    engine = create_engine(
        URL.create("sqlite", database=str(place)),
        # Without an isolation level the driver leaves BEGIN to the listener below.
        connect_args={"timeout": busy_timeout_s, "isolation_level": None, "check_same_thread": False},
        pool_size=MAX_CONNECTIONS,
        max_overflow=0,
        hide_parameters=True,
    )
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def _set_pragmas(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    # Sealed keys of what is deleted, or sealed anew, must not lie on in free pages of the file.
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: sqlalchemy.Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _prepare(place: Path | Server, key_file: Path, engine: Engine) -> KeyBox:
    shown = _shown(place)
    with told(shown):
        if isinstance(place, Path):
            _ensure_file(place)
        with engine.execution_options(immediate=True).begin() as connection:
            migrate(connection)
            return _key(connection, key_file, shown, _CURE if isinstance(place, Path) else _CURE_OF_FLEET)


def _ensure_file(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600))


_CURE = "put that in its place, or end a `keys rotate` that was cut off by giving it again"
_CURE_OF_FLEET = "copy that of another of its stations"


def _key(connection: sqlalchemy.Connection, key_file: Path, shown: str, cure: str) -> KeyBox:
    """The first who comes makes the key and marks the catalog with it; every other one must have the same."""
    of_drives = select(func.count()).where(schema.drive.c.sealed_key.is_not(None))
    sealed = connection.execute(of_drives).scalar_one()
    mark = connection.execute(select(schema.key_mark.c.mark)).scalar()
    needed = f"needs key {mark[:ID_DIGITS]}" if mark else f"holds {sealed} drive keys sealed with it"
    if (mark or sealed) and not key_file.exists():
        raise StateUnusable(f"key file {key_file} is missing, and catalog {shown} {needed}: {cure}")
    ensure_key_file(key_file)
    box = fitting(key_file, mark)
    if box is None:
        raise StateUnusable(f"key file {key_file} is not that of catalog {shown}, which {needed}: {cure}")
    if mark is None and _is_its_key(connection, box, sealed):
        connection.execute(insert(schema.key_mark).values(id=1, mark=box.mark))
    return box


def _is_its_key(connection: sqlalchemy.Connection, box: KeyBox, sealed: int) -> bool:
    """Of a catalog that names none: the history is signed with it, or nothing was done with a key yet."""
    end = connection.execute(select(schema.history_head)).first()
    if end is None or end.signature is None:
        return not sealed
    return box.has_signed(str(Head(end.event_id, end.hash)), end.signature)
