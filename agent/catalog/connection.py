"""Transactions for an event loop: what a database does, it does in threads.

SQLAlchemy has an extension for that, which takes as long to load as the rest of it and needs a driver and a
second kind of stack of its own. A station's commands are short: this is all that they need of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy import Engine, Executable, Insert, Result

from agent.threads import until_over

T = TypeVar("T")

MAX_CONNECTIONS = 4


class Connection:
    """An open transaction. Each statement runs in a thread, where all its rows are read."""

    def __init__(self, connection: sqlalchemy.Connection, threads: Threads) -> None:
        self._connection, self._threads = connection, threads

    async def execute(
        self, statement: Executable, parameters: Sequence[Mapping[str, Any]] | None = None
    ) -> Result[Any]:
        """The rows, which are in memory; none of a statement that gives none."""
        return await self._threads.run(lambda: self._execute(statement, parameters))

    async def insert(self, statement: Insert) -> int:
        """The id of the one row."""
        key = await self._threads.run(lambda: self._connection.execute(statement).inserted_primary_key)
        assert key is not None
        return int(key[0])

    def _execute(self, statement: Executable, parameters: Sequence[Mapping[str, Any]] | None) -> Result[Any]:
        found = self._connection.execute(statement, parameters)
        return found.freeze()() if found.returns_rows else found


class Threads:
    """Those in which a catalog's transactions run: one for each that may be open."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(MAX_CONNECTIONS, "catalog")
        self._free = asyncio.Semaphore(MAX_CONNECTIONS)

    @asynccontextmanager
    async def transaction(self, engine: Engine) -> AsyncIterator[Connection]:
        """Committed when the block ends, undone when it raises."""
        async with self._free:
            begun = await self._begun(engine)
            try:
                yield Connection(begun, self)
            except BaseException:
                await self.run(begun.close)
                raise
            await self.run(lambda: _commit(begun))

    async def _begun(self, engine: Engine) -> sqlalchemy.Connection:
        begun: list[sqlalchemy.Connection] = []
        try:
            await self.run(lambda: _begin(engine, begun))
        except BaseException:
            for connection in begun:
                await self.run(connection.close)
            raise
        return begun[0]

    async def run(self, call: Callable[[], T]) -> T:
        """The call in a thread. Cancellation is raised when it is over: nothing works on behind its back."""
        return await until_over(asyncio.get_running_loop().run_in_executor(self._executor, call))

    def close(self) -> None:
        """When no transaction is open any more."""
        self._executor.shutdown()


def _begin(engine: Engine, begun: list[sqlalchemy.Connection]) -> None:
    begun.append(engine.connect())
    begun[0].begin()


def _commit(connection: sqlalchemy.Connection) -> None:
    with connection:
        connection.commit()
