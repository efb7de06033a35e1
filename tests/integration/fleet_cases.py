"""What the tests of a fleet share: a PostgreSQL server for the session, and a catalog in it for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from agent.catalog import Catalog, open_catalog
from agent.catalog.books import Clock, utc_now
from agent.catalog.server import Server
from tests.kit import postgres

LEASE_S = 600.0
_numbers = count(1)


@dataclass
class Fleet:
    """One catalog on a server, and the key that its stations share."""

    host: postgres.PostgresServer
    database: str
    key_file: Path

    def server(self, station: str, lease_s: float = LEASE_S) -> Server:
        return Server(self.host.url(self.database), station, f"holder of {station}", lease_s)

    @asynccontextmanager
    async def station(
        self, name: str = "one", *, clock: Clock = utc_now, lease_s: float = LEASE_S
    ) -> AsyncIterator[Catalog]:
        server = self.server(name, lease_s)
        async with open_catalog(server, self.key_file, clock=clock, origin=f"station {name}") as catalog:
            yield catalog

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        return self.host.sql(statement, self.database)


@pytest.fixture(scope="session")
def postgres_host() -> Iterator[postgres.PostgresServer]:
    pytest.importorskip("psycopg", reason="there is no driver for PostgreSQL: pip install psycopg[binary]")
    binaries = postgres.programs()
    if binaries is None:
        pytest.skip("there is no PostgreSQL server here: apt-get install postgresql")
    with postgres.running(binaries) as host:
        yield host


@pytest.fixture
def fleet(postgres_host: postgres.PostgresServer, tmp_path: Path) -> Fleet:
    """A catalog of nothing yet."""
    database = f"catalog_{next(_numbers)}"
    postgres_host.sql(f"CREATE DATABASE {database}")
    return Fleet(postgres_host, database, tmp_path / "fleet.key")
