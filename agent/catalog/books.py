"""What the parts of the catalog share: the file, the keys, the clock, and who is at work."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Self

from agent.catalog.connection import Connection
from agent.catalog.database import Database
from agent.catalog.keybox import KeyBox
from agent.catalog.turn import Turn
from agent.errors import MalformedInput

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The clock of a catalog that is given none."""
    return datetime.now(UTC)


class Books:
    """Base of the parts of the catalog. Every method of a part is one transaction."""

    def __init__(self, database: Database, box: KeyBox, clock: Clock, origin: str) -> None:
        self._database = database
        self._box = box
        self._clock = clock
        self._origin = origin

    def seen_from(self, origin: str) -> Self:
        """The same catalog; what is done through it is written down as done from there."""
        return type(self)(self._database, self._box, self._clock, origin)

    @asynccontextmanager
    async def _turn(self, who: str) -> AsyncIterator[Turn]:
        """Committed when the block ends, undone when it raises."""
        async with self._database.write() as connection:
            yield Turn(connection, self._box, self._clock(), who, self._origin)

    @asynccontextmanager
    async def _rows(self) -> AsyncIterator[Connection]:
        """As ``_turn``, for what is no event. See ``Database.write_rows``."""
        async with self._database.write_rows() as connection:
            yield connection


def needs_note(note: str, what: str) -> str:
    """The note, without blanks around it; raises MalformedInput when there is none."""
    if not note.strip():
        raise MalformedInput(f"{what} needs a note that says why")
    return note.strip()
