"""What the database says when it cannot work, as StateUnusable with one clear line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from agent.errors import StateUnusable

# SQLite's result messages (sqlite.org, "Result and Error Codes") and what they mean to a technician.
MEANINGS = (
    ("is locked", "is kept locked by another process"),
    ("disk is full", "cannot grow, the disk is full"),
    ("readonly", "cannot be written"),
    ("unable to open", "cannot be opened"),
    ("disk i/o error", "cannot be read or written, the disk reports an error or a limit"),
    ("not a database", "is not a catalog, or its first page is damaged"),
    ("malformed", "is damaged"),
)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Raises StateUnusable for what the database or the file system refuses inside."""
    try:
        yield
    except DBAPIError as error:
        raise StateUnusable(_line(path, str(error.orig))) from error
    except OSError as error:
        raise StateUnusable(
            f"catalog {path} cannot be used: {error.strerror or type(error).__name__}"
        ) from error


def _line(path: Path, said: str) -> str:
    for sign, meaning in MEANINGS:
        if sign in said.lower():
            return f"catalog {path} {meaning} ({said})"
    return f"catalog {path} does not work ({said})"
