"""The database server behind the catalog of a fleet: PostgreSQL, and how this station is known there.

The driver is an extra and is loaded here alone, when there is a server.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import URL, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError

from agent.catalog.connection import MAX_CONNECTIONS
from agent.catalog.trouble import told
from agent.errors import ConfigInvalid, StateUnusable
from agent.model.secrets import Secret

CONNECT_WITHIN_S = 5
UNANSWERED_MS = 10_000
"""So long may sent bytes go unacknowledged until a connection is taken for lost."""
STATEMENT_MS = 60_000
IDLE_IN_TRANSACTION_MS = 30_000
"""A station that hangs in the middle must not keep the others from writing."""
WRITERS = 0x64726976
"""The lock that writers of one catalog take in turn; any number that nobody else uses in this database."""

HOLDER_CHARS = 32

NO_DRIVER = "catalog.url needs a driver for PostgreSQL: pip install 'drive-ingest-agent[fleet]'"


def holder_of(state_dir: Path) -> str:
    """What no other station has: a number of the state directory, made once.

    The locks by which processes of a station keep away from each other's drives lie in the same place, so
    whoever has the number has those too. Raises StateUnusable.
    """
    path = state_dir / "station.id"
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make_once(path, os.urandom(16).hex())
        found = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise StateUnusable(f"{path} cannot be made or read") from None
    if len(found) != HOLDER_CHARS or not found.isalnum():
        raise StateUnusable(f"{path} is damaged: remove it, unless another station runs with this directory")
    return found


def _make_once(path: Path, text: str) -> None:
    """Of two processes at once, one makes it; none sees half of it."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(file.name, path)


@dataclass(frozen=True, slots=True)
class Server:
    """``url`` is ``postgresql://USER@HOST/DATABASE`` without a password. ``lease_s``: see claims.

    ``station`` is the name by which people know this station, and ``holder`` is what no other one has.
    """

    url: str
    station: str
    holder: str
    lease_s: float
    password: Secret | None = None

    @property
    def shown(self) -> str:
        """For messages."""
        found = self._parsed()
        return f"{found.database} at {found.host or found.query.get('host') or 'this machine'}"

    def engine(self, busy_timeout_s: float) -> Engine:
        """Nothing is connected yet. Raises ConfigInvalid."""
        url = self._parsed().set(drivername="postgresql+psycopg")
        if self.password is not None:
            url = url.set(password=self.password.reveal())
        try:
            engine = create_engine(
                url,
                connect_args=self._arguments(url, busy_timeout_s),
                pool_size=MAX_CONNECTIONS,
                max_overflow=0,
                # What was connected before the server was restarted is connected anew.
                pool_pre_ping=True,
                hide_parameters=True,
            )
        except ModuleNotFoundError:
            raise ConfigInvalid(NO_DRIVER) from None
        event.listen(engine, "begin", _begin)
        return engine

    def version(self) -> str:
        """What the server says that it is. Raises ConfigInvalid, and StateUnusable when it is not there."""
        engine = self.engine(CONNECT_WITHIN_S)
        try:
            with told(self.shown), engine.connect() as connection:
                return str(connection.execute(text("SHOW server_version")).scalar())
        finally:
            engine.dispose()

    def _parsed(self) -> URL:
        try:
            return make_url(self.url)
        except ArgumentError:
            raise ConfigInvalid("catalog.url is no postgresql://USER@HOST/DATABASE") from None

    def _arguments(self, url: URL, busy_timeout_s: float) -> dict[str, Any]:
        limits = {
            "lock_timeout": int(busy_timeout_s * 1000),
            "statement_timeout": STATEMENT_MS,
            "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_MS,
        }
        arguments: dict[str, Any] = {
            "connect_timeout": CONNECT_WITHIN_S,
            "tcp_user_timeout": UNANSWERED_MS,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 2,
            "application_name": f"ingest-agent {self.station}"[:63],
            "options": " ".join(f"-c {name}={value}" for name, value in limits.items()),
        }
        host = url.host or str(url.query.get("host", ""))
        if host and not host.startswith("/"):
            # Addresses of customers and sealed keys go this way: what is less is said in the URL.
            arguments |= {"sslmode": "verify-full", "sslrootcert": "system"}
        return {name: value for name, value in arguments.items() if name not in url.query}


def _begin(connection: sqlalchemy.Connection) -> None:
    """Writers take turns over all stations, as on SQLite: what one has read still holds when it writes."""
    if connection.get_execution_options().get("immediate", False):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITERS})")
