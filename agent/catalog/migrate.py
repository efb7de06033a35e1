"""Brings a catalog file to the schema of this program. Blocking; called off the event loop."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, inspect, text

from agent.errors import StateUnusable

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006")
"""Every schema version, oldest first; a test compares it with the migration scripts."""


def migrate(connection: Connection, to: str = REVISIONS[-1]) -> None:
    """Walks the versions up to ``to`` inside the caller's transaction.

    Raises StateUnusable when the file is of a version that this program does not know, or holds
    tables of something else.
    """
    found = _version(connection)
    if found == to:
        return
    if found is not None and found not in REVISIONS:
        raise StateUnusable(
            f"the catalog has schema version {found[:40]!r}, this program knows up to {REVISIONS[-1]}; "
            "a newer program wrote it"
        )
    _upgrade(connection, to)


def _version(connection: Connection) -> str | None:
    tables = inspect(connection).get_table_names()
    if not tables:
        return None
    if "alembic_version" not in tables:
        raise StateUnusable(f"the file is a database of something else, with the table {tables[0][:40]!r}")
    row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
    return None if row is None else str(row[0])


def script_config() -> Any:
    """Alembic's configuration, whose scripts are found in the installed package."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "agent.catalog:migrations")
    config.set_main_option("path_separator", "os")
    return config


def _upgrade(connection: Connection, to: str) -> None:
    # Alembic takes a tenth of a second to load; a catalog that is up to date does not pay for it.
    from alembic import command

    config = script_config()
    config.attributes["connection"] = connection
    command.upgrade(config, to)
