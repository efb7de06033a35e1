"""The file behind the catalog: opening it, and transactions on it.

Several processes may use one file. Writers take SQLite's write lock at the start of a transaction
(BEGIN IMMEDIATE), so what a writer has read still holds when it writes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import URL, Engine, create_engine, event, func, select

from agent.catalog import schema
from agent.catalog.connection import MAX_CONNECTIONS, Connection, Threads
from agent.catalog.keybox import KeyBox, ensure_key_file
from agent.catalog.migrate import migrate
from agent.catalog.trouble import told
from agent.errors import StateUnusable


class Database:
    """Transactions. Every failure of the file comes out as StateUnusable."""

    def __init__(self, path: Path, engine: Engine, threads: Threads) -> None:
        self._path = path
        self._engine, self._threads = engine, threads
        self._writer = engine.execution_options(immediate=True)
        # Within the process writers queue here in order; SQLite's own lock has no order.
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """One consistent view of the file."""
        with told(self._path):
            async with self._threads.transaction(self._engine) as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Connection]:
        """Committed when the block ends, undone when it raises."""
        with told(self._path):
            async with self._turn, self._threads.transaction(self._writer) as connection:
                yield connection


@asynccontextmanager
async def open_database(
    path: Path, key_file: Path, busy_timeout_s: float
) -> AsyncIterator[tuple[Database, KeyBox]]:
    """Makes what is missing, brings the schema up to date; raises StateUnusable."""
    engine, threads = _engine(path, busy_timeout_s), Threads()
    try:
        box = await threads.run(lambda: _prepare(path, key_file, engine))
        yield Database(path, engine, threads), box
    finally:
        await threads.run(engine.dispose)
        threads.close()


def _engine(path: Path, busy_timeout_s: float) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
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
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: sqlalchemy.Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _prepare(path: Path, key_file: Path, engine: Engine) -> KeyBox:
    with told(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600))
        sealed = _bring_up_to_date(engine)
    if sealed and not key_file.exists():
        raise StateUnusable(
            f"key file {key_file} is gone, and catalog {path} holds {sealed} drive keys sealed with it"
        )
    ensure_key_file(key_file)
    return KeyBox.from_file(key_file)


def _bring_up_to_date(engine: Engine) -> int:
    """The number of sealed keys in the file."""
    with engine.execution_options(immediate=True).begin() as connection:
        migrate(connection)
        count = select(func.count()).where(schema.drive.c.sealed_key.is_not(None))
        return connection.execute(count).scalar_one()
