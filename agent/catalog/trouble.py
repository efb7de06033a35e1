"""What the database says when it cannot work, as StateUnusable with one clear line."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from agent.errors import StateUnusable
from agent.model.printable import printable

# SQLite's result messages (sqlite.org, "Result and Error Codes") and those of libpq and PostgreSQL's server
# (postgresql.org, "Error Codes"), and what they mean to a technician.
MEANINGS = (
    ("is locked", "is kept locked by another process"),
    ("disk is full", "cannot grow, the disk is full"),
    ("readonly", "cannot be written"),
    ("unable to open", "cannot be opened"),
    ("disk i/o error", "cannot be read or written, the disk reports an error or a limit"),
    ("not a database", "is not a catalog, or its first page is damaged"),
    ("malformed", "is damaged"),
    ("lock timeout", "is kept locked by another station"),
    ("authentication failed", "does not let this station in"),
    ("no password supplied", "wants a password"),
    ("permission denied", "does not let this station do that"),
    ("starting up", "is not ready yet"),
    ("shutting down", "is being stopped"),
    ("certificate", "does not prove who it is"),
    ("connection", "cannot be reached"),
)


@contextmanager
def told(shown: str) -> Iterator[None]:
    """Raises StateUnusable for what the database or the file system refuses inside."""
    try:
        yield
    except DBAPIError as error:
        raise StateUnusable(_line(shown, str(error.orig))) from error
    except sqlite3.Error as error:
        raise StateUnusable(_line(shown, str(error))) from error
    except OSError as error:
        raise StateUnusable(
            f"catalog {shown} cannot be used: {error.strerror or type(error).__name__}"
        ) from error


def _line(shown: str, said: str) -> str:
    # A driver may say it in several lines, with advice for programmers.
    line = printable(said.strip().splitlines()[0]) if said.strip() else "no reason given"
    for sign, meaning in MEANINGS:
        if sign in said.lower():
            return f"catalog {shown} {meaning} ({line})"
    return f"catalog {shown} does not work ({line})"
