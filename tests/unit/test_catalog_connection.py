"""Transactions in threads: undone when they are cut off, and never in each other's way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, insert, select, text

from agent.catalog import schema
from agent.catalog.connection import MAX_CONNECTIONS, Threads


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    made = create_engine(
        f"sqlite:///{tmp_path / 'file'}",
        pool_size=MAX_CONNECTIONS,
        max_overflow=0,
        pool_timeout=0.1,
        connect_args={"check_same_thread": False},
    )
    with made.begin() as connection:
        connection.execute(text("CREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT)"))
    return made


@pytest.fixture
async def threads(engine: Engine) -> AsyncIterator[Threads]:
    made = Threads()
    yield made
    engine.dispose()
    made.close()


async def _names(threads: Threads, engine: Engine) -> list[str]:
    async with threads.transaction(engine) as connection:
        return list((await connection.execute(text("SELECT name FROM thing ORDER BY id"))).scalars())


async def test_what_a_transaction_did_is_kept_when_it_ends_and_undone_when_it_raises(
    threads: Threads, engine: Engine
) -> None:
    async with threads.transaction(engine) as connection:
        await connection.execute(text("INSERT INTO thing (name) VALUES ('kept')"))

    async def fail() -> None:
        async with threads.transaction(engine) as connection:
            await connection.execute(text("INSERT INTO thing (name) VALUES ('undone')"))
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert await _names(threads, engine) == ["kept"]


async def test_a_transaction_that_is_cancelled_in_a_statement_is_undone_when_that_is_over(
    threads: Threads, engine: Engine
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    async def work() -> None:
        async with threads.transaction(engine) as connection:
            await connection.execute(text("INSERT INTO thing (name) VALUES ('undone')"))
            await threads.run(lambda: (begun.set(), go_on.wait()))

    task = asyncio.create_task(work())
    await asyncio.to_thread(begun.wait)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await _names(threads, engine) == []


async def test_more_transactions_than_connections_wait_for_their_turn(
    threads: Threads, engine: Engine
) -> None:
    found = await asyncio.gather(*(_names(threads, engine) for _ in range(5 * MAX_CONNECTIONS)))
    assert found == [[]] * 5 * MAX_CONNECTIONS


async def test_rows_are_in_memory_when_their_statement_is_done(threads: Threads, engine: Engine) -> None:
    async with threads.transaction(engine) as connection:
        await connection.execute(
            text("INSERT INTO thing (name) VALUES (:name)"), [{"name": "a"}, {"name": "b"}]
        )
        found = await connection.execute(text("SELECT id, name FROM thing ORDER BY id"))
    assert [(row.id, row.name) for row in found] == [(1, "a"), (2, "b")]


async def test_the_id_of_a_new_row_is_known(threads: Threads, engine: Engine) -> None:
    schema.metadata.create_all(engine, tables=[schema.history_head])
    async with threads.transaction(engine) as connection:
        made = await connection.insert(
            insert(schema.history_head).values(id=7, event_id=1, hash="x", signature=None)
        )
        kept = (await connection.execute(select(schema.history_head.c.id))).scalar()
    assert made == kept == 7
