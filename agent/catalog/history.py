"""Reading the history, and checking that it is what was written."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from agent.catalog import events, head, jobs, schema
from agent.catalog.books import Books
from agent.catalog.chain import NO_HEAD, Head, link
from agent.catalog.connection import Connection
from agent.catalog.events import Event
from agent.catalog.keybox import KeyBox
from agent.model.identity import JobName, SerialNumber

PAGE_EVENTS = 1000


@dataclass(frozen=True, slots=True)
class HistoryCheck:
    """``broken`` names the first link that does not hold; None when all do.

    ``chained_later`` is how many events an older version wrote: what was done to those before the chain was
    made, it cannot tell.
    """

    events: int
    head: Head
    broken: str | None
    chained_later: int = 0


class History(Books):
    """What happened, in order."""

    async def history(self, name: JobName) -> list[Event]:
        """What happened to the job and its drives, oldest first, also of one that is deleted.

        Raises JobNotFound when there never was one.
        """
        async with self._database.read() as connection:
            found = await events.of_job(connection, name.text)
            if not found:
                await jobs.load(connection, name)
            return found

    async def drive_history(self, serial: SerialNumber) -> list[Event]:
        """What happened to the drive in any job and in none, oldest first."""
        async with self._database.read() as connection:
            return await events.of_serial(connection, serial.normal)

    async def events_after(
        self, event_id: int, *, job: JobName | None = None, limit: int = 500
    ) -> list[Event]:
        """What follows on an event, oldest first."""
        async with self._database.read() as connection:
            return await events.after(connection, event_id, job.text if job else None, limit)

    async def last_event_id(self) -> int:
        """0 when nothing happened yet."""
        async with self._database.read() as connection:
            return (await connection.execute(select(func.max(schema.event.c.id)))).scalar() or 0

    async def history_head(self) -> Head:
        """The last event: noted elsewhere, it proves later that nothing was cut off."""
        async with self._database.read() as connection:
            end = await head.load(connection)
            return Head(end.event_id, end.hash)

    async def verify_history(self, expected: Head | None = None) -> HistoryCheck:
        """Follows the chain from its first event to its head, in one view of the file.

        ``expected`` is a head that was noted elsewhere: the history must hold it.
        """
        async with self._database.read() as connection:
            return await _verify(connection, self._box, expected)


async def _verify(connection: Connection, box: KeyBox, expected: Head | None) -> HistoryCheck:
    last, count, chained, seen = NO_HEAD, 0, 0, expected is None
    while page := await events.after(connection, last.event_id, None, PAGE_EVENTS):
        for told in page:
            if (broken := _broken_link(last, told)) is not None:
                return HistoryCheck(count, last, broken, chained)
            last, count = Head(told.id, told.hash), count + 1
            seen = seen or last == expected
            if told.what == head.CHAINED:
                if chained:
                    return HistoryCheck(count, last, _chained_again(told), chained)
                chained = count - 1
    broken = await _broken_end(connection, box, last)
    if broken is None and not seen:
        broken = _lost(expected, last)
    return HistoryCheck(count, last, broken, chained)


def _broken_link(last: Head, told: Event) -> str | None:
    if told.id != last.event_id + 1:
        return f"{_events(last.event_id + 1, told.id - 1)} missing before event {told.id}"
    if link(told.previous, told) != told.hash:
        return f"event {told.id} ({told.what}) was changed, or put there"
    if told.previous != last.hash:
        before = f"event {last.event_id}" if last.event_id else "the beginning"
        return f"event {told.id} ({told.what}) does not follow on {before}, which was changed or replaced"
    return None


def _chained_again(told: Event) -> str:
    # That event's end needs no signature: a migration has no key.
    return f"event {told.id} says that the history was chained a second time"


async def _broken_end(connection: Connection, box: KeyBox, last: Head) -> str | None:
    end = await head.load(connection)
    if not end.is_stored:
        return "the head of the history is missing" if last.event_id else None
    if end.event_id > last.event_id:
        return f"{_events(last.event_id + 1, end.event_id)} missing at the end"
    if not end.is_whole:
        return f"the head of the history does not tell of event {last.event_id}, its last one"
    if not head.is_good(end, box):
        return "the head of the history is not signed with the key of this catalog"
    return None


def _lost(expected: Head | None, last: Head) -> str:
    assert expected is not None
    if expected.event_id > last.event_id:
        return f"{_events(last.event_id + 1, expected.event_id)} missing at the end"
    return f"event {expected.event_id} is another one than was noted"


def _events(first: int, last: int) -> str:
    return f"event {first} is" if first == last else f"events {first} to {last} are"
