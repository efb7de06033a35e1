"""The history is what was written: whatever is done to it afterwards breaks its chain, and is named."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agent.catalog import Catalog, Head
from agent.catalog.chain import link
from agent.errors import MalformedInput
from agent.model.states import DriveEvent
from tests.unit.catalog_cases import WHO, name, opened, opened_at_once, serial, spec, walk
from tests.unit.test_catalog_migrations import HELD, made_by

LAST = 8
Tamper = Callable[[sqlite3.Connection], object]


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    """With eight events."""
    async with opened_at_once(tmp_path) as catalog:
        await catalog.create_job(spec("ship-1", "A"), ship=True, who="clerk")
        await walk(catalog, "ship-1", "A", DriveEvent.ARRIVE, DriveEvent.BEGIN)
        await catalog.record_event("drive.smart", who="station", serial=serial("A"), detail='größe 😀 \\ "')
        await catalog.seen_from("api 203.0.113.7").cancel_job(name(), "ops", "asked by telephone")
        assert await catalog.last_event_id() == LAST
        yield catalog


def tampered(folder: Path, tamper: Tamper) -> None:
    """As somebody does who may write the file: what keeps events from being changed is taken off first."""
    connection = sqlite3.connect(folder / "catalog.sqlite")
    connection.execute("DROP TRIGGER event_no_update")
    connection.execute("DROP TRIGGER event_no_delete")
    tamper(connection)
    connection.commit()
    connection.close()


def forged(connection: sqlite3.Connection, event_id: int, **changes: object) -> None:
    """An event changed, with a hash that fits it."""
    columns = ("previous", "id", "at", "who", "origin", "job", "serial", "what", "was", "now", "detail")
    query = f"SELECT {', '.join(columns)} FROM event WHERE id = ?"
    row = dict(zip(columns, connection.execute(query, [event_id]).fetchone(), strict=True)) | changes
    row["at"] = str(row["at"]).replace(" ", "T") + "+00:00"
    text = json.dumps([row[column] for column in columns], separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    setting = ", ".join(f"{column} = ?" for column in changes)
    connection.execute(
        f"UPDATE event SET {setting}, hash = ? WHERE id = ?", [*changes.values(), digest, event_id]
    )


def rewritten(connection: sqlite3.Connection, first: int, **changes: object) -> None:
    """An event changed, and the whole chain behind it and its head written anew."""
    forged(connection, first, **changes)
    for event_id in range(first + 1, LAST + 1):
        query = "SELECT hash FROM event WHERE id = ?"
        forged(connection, event_id, previous=connection.execute(query, [event_id - 1]).fetchone()[0])
    connection.execute("UPDATE history_head SET hash = (SELECT hash FROM event WHERE id = ?)", [LAST])


def inserted(connection: sqlite3.Connection) -> None:
    """Between the third and the fourth event, the later ones moved up; the new one's own hash fits."""
    for event_id in range(LAST, 3, -1):
        connection.execute("UPDATE event SET id = ? WHERE id = ?", [event_id + 1, event_id])
    connection.execute(
        "INSERT INTO event SELECT 4, at, 'nobody', job, serial, 'drive.smart', 'all is well', origin, "
        "(SELECT hash FROM event WHERE id = 3), '', was, now FROM event WHERE id = 3"
    )
    forged(connection, 4, who="nobody")


def swapped(connection: sqlite3.Connection) -> None:
    for old, new in ((3, 99), (4, 3), (99, 4)):
        connection.execute("UPDATE event SET id = ? WHERE id = ?", [new, old])


@pytest.mark.parametrize(
    ("tamper", "broken"),
    [
        (
            lambda c: c.execute("UPDATE event SET detail = 'x' WHERE id = 5"),
            "event 5 (drive.begin) was changed",
        ),
        (lambda c: c.execute("UPDATE event SET who = 'x' WHERE id = 1"), "event 1 (job.create) was changed"),
        (
            lambda c: c.execute("UPDATE event SET origin = 'x' WHERE id = 7"),
            "event 7 (drive.smart) was changed",
        ),
        (lambda c: c.execute("UPDATE event SET at = '2020-01-01 00:00:00.000000' WHERE id = 2"), "event 2 "),
        (lambda c: c.execute("UPDATE event SET job = NULL WHERE id = 4"), "event 4 "),
        (lambda c: c.execute("UPDATE event SET serial = 'B' WHERE id = 3"), "event 3 "),
        (lambda c: c.execute("UPDATE event SET now = 'Completed' WHERE id = 3"), "event 3 "),
        (lambda c: c.execute("UPDATE event SET was = NULL WHERE id = 3"), "event 3 "),
        (lambda c: forged(c, 5, detail="x"), "event 6 (job.first_begun) does not follow on event 5"),
        (lambda c: forged(c, LAST, detail="x"), "the head of the history does not tell of event 8"),
        (lambda c: c.execute("DELETE FROM event WHERE id = 4"), "event 4 is missing before event 5"),
        (lambda c: c.execute("DELETE FROM event WHERE id < 4"), "events 1 to 3 are missing before event 4"),
        (lambda c: c.execute("DELETE FROM event WHERE id = 8"), "event 8 is missing at the end"),
        (lambda c: c.execute("DELETE FROM event WHERE id > 5"), "events 6 to 8 are missing at the end"),
        (lambda c: c.execute("DELETE FROM event"), "events 1 to 8 are missing at the end"),
        (inserted, "event 5 (job.all_received) was changed, or put there"),
        (swapped, "event 3 (job.all_received) was changed, or put there"),
        (lambda c: rewritten(c, 5, detail="x"), "the head of the history is not signed with the key"),
        (lambda c: rewritten(c, LAST, detail="x"), "the head of the history is not signed with the key"),
        (lambda c: c.execute("DELETE FROM history_head"), "the head of the history is missing"),
        (
            lambda c: c.execute("UPDATE history_head SET signature = NULL"),
            "the head of the history is not signed",
        ),
        (
            lambda c: c.execute("UPDATE history_head SET event_id = 7"),
            "does not tell of event 8, its last one",
        ),
    ],
)
async def test_what_was_done_to_the_history_is_named(
    tmp_path: Path, catalog: Catalog, tamper: Tamper, broken: str
) -> None:
    assert (await catalog.verify_history()).broken is None
    await asyncio.to_thread(tampered, tmp_path, tamper)
    found = (await catalog.verify_history()).broken
    assert found is not None
    assert broken in found


@pytest.mark.parametrize(
    "tamper",
    [
        lambda c: c.execute("DELETE FROM event WHERE id = 8"),
        lambda c: rewritten(c, 5, detail="x"),
        lambda c: c.execute("DELETE FROM history_head"),
        lambda c: c.execute("UPDATE history_head SET signature = NULL"),
    ],
)
async def test_what_follows_on_a_broken_history_does_not_mend_it(
    tmp_path: Path, catalog: Catalog, tamper: Tamper
) -> None:
    await asyncio.to_thread(tampered, tmp_path, tamper)
    before = (await catalog.verify_history()).broken
    for _ in range(3):
        await catalog.record_event("drive.smart", who="station", serial=serial("A"))
    after = (await catalog.verify_history()).broken
    assert before is not None
    assert after is not None


async def test_nobody_without_the_key_ends_a_history_as_a_migration_does_a_second_time(
    tmp_path: Path,
) -> None:
    await asyncio.to_thread(_migrated, tmp_path)
    async with opened(tmp_path) as catalog:
        await walk(catalog, "ship-1", "WD01", DriveEvent.FAULT)
        check = await catalog.verify_history()
        assert (check.broken, check.chained_later) == (None, 1)
        last = check.head.event_id
    await asyncio.to_thread(tampered, tmp_path, lambda connection: _chained_anew(connection, last))
    async with opened(tmp_path) as catalog:
        said = f"event {last + 1} says that the history was chained a second time"
        assert (await catalog.verify_history()).broken == said
        await catalog.record_event("drive.smart", who=WHO)
        assert (await catalog.verify_history()).broken == said


def _migrated(folder: Path) -> None:
    connection = sqlite3.connect(made_by("0004", folder))
    connection.executescript(HELD["0004"])
    connection.close()


def _chained_anew(connection: sqlite3.Connection, last: int) -> None:
    """The last event is another one, and the end is unsigned, as that of a migration may be."""
    forged(connection, last, who="nobody")
    connection.execute(
        f"INSERT INTO event SELECT {last + 1}, at, 'migration', NULL, NULL, 'history.chained', '', '', "
        f"(SELECT hash FROM event WHERE id = {last}), '', NULL, NULL FROM event WHERE id = {last}"
    )
    forged(connection, last + 1, who="migration")
    query = f"SELECT hash FROM event WHERE id = {last + 1}"
    (digest,) = connection.execute(query).fetchone()
    connection.execute("UPDATE history_head SET event_id = ?, hash = ?, signature = NULL", [last + 1, digest])


async def test_history_is_checked_by_anybody_with_the_words_of_its_description(
    tmp_path: Path, catalog: Catalog
) -> None:
    connection = sqlite3.connect(tmp_path / "catalog.sqlite")
    previous = ""
    for row in connection.execute(
        "SELECT id, at, who, origin, job, serial, what, was, now, detail, hash FROM event ORDER BY id"
    ):
        *parts, digest = row
        parts[1] = parts[1].replace(" ", "T") + "+00:00"
        text = json.dumps([previous, *parts], separators=(",", ":"))
        previous = hashlib.sha256(text.encode("ascii")).hexdigest()
        assert digest == previous
    connection.close()
    assert (await catalog.history_head()) == Head(LAST, previous)


async def test_a_head_that_was_noted_elsewhere_tells_of_a_history_that_was_written_anew(
    tmp_path: Path, catalog: Catalog
) -> None:
    noted = await catalog.history_head()
    early = Head(3, (await catalog.history(name()))[2].hash)
    for head in (noted, early):
        assert (await catalog.verify_history(head)).broken is None
    await catalog.record_event("drive.smart", who="station", serial=serial("A"))
    assert (await catalog.verify_history(noted)).broken is None
    longer = Head(20, noted.hash)
    assert (await catalog.verify_history(longer)).broken == "events 10 to 20 are missing at the end"
    other = Head(3, noted.hash)
    assert (await catalog.verify_history(other)).broken == "event 3 is another one than was noted"


async def test_an_earlier_state_of_the_whole_file_is_told_by_a_noted_head(tmp_path: Path) -> None:
    async with opened(tmp_path) as catalog:
        await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    kept = (tmp_path / "catalog.sqlite").read_bytes()
    async with opened(tmp_path) as catalog:
        await walk(catalog, "ship-1", "A", DriveEvent.ARRIVE)
        noted = await catalog.history_head()
    (tmp_path / "catalog.sqlite").write_bytes(kept)
    async with opened(tmp_path) as catalog:
        assert (await catalog.verify_history()).broken is None
        assert (await catalog.verify_history(noted)).broken == "events 3 to 4 are missing at the end"


async def test_another_key_cannot_vouch_for_the_history(tmp_path: Path) -> None:
    async with opened(tmp_path) as catalog:
        await catalog.record_event("drive.smart", who=WHO, serial=serial("A"))
    connection = sqlite3.connect(tmp_path / "catalog.sqlite")
    connection.execute("DELETE FROM key_mark")
    connection.commit()
    connection.close()
    (tmp_path / "catalog.key").write_bytes(bytes(32))
    async with opened(tmp_path) as catalog:
        broken = (await catalog.verify_history()).broken
        assert broken == "the head of the history is not signed with the key of this catalog"


async def test_events_are_neither_changed_nor_removed_by_the_way(tmp_path: Path, catalog: Catalog) -> None:
    connection = sqlite3.connect(tmp_path / "catalog.sqlite")
    for query in ("UPDATE event SET who = 'x'", "DELETE FROM event"):
        with pytest.raises(sqlite3.IntegrityError, match="events are only ever added"):
            connection.execute(query)
    connection.close()


async def test_event_tells_who_when_why_from_where_and_between_which_states(catalog: Catalog) -> None:
    told = await catalog.history(name())
    arrived, cancelled = told[2], told[-1]
    assert (arrived.what, arrived.was, arrived.now) == ("drive.arrive", "Specified", "Received")
    assert (arrived.who, arrived.origin) == (WHO, "the bench")
    assert (cancelled.what, cancelled.was, cancelled.now) == ("job.cancel", "Transferring", "Transferring")
    assert (cancelled.who, cancelled.origin) == ("ops", "api 203.0.113.7")
    assert cancelled.detail == "asked by telephone"
    assert [event.id for event in told] == sorted(event.id for event in told)


async def test_events_of_two_processes_form_one_chain(tmp_path: Path, catalog: Catalog) -> None:
    async with opened(tmp_path) as other, asyncio.TaskGroup() as group:
        for number in range(20):
            one = other if number % 2 else catalog
            group.create_task(one.record_event("drive.smart", who=f"{number}", serial=serial("A")))
    check = await catalog.verify_history()
    assert (check.events, check.broken) == (LAST + 20, None)


async def test_what_follows_on_an_event_is_read_in_pieces(catalog: Catalog) -> None:
    found: list[int] = []
    while page := await catalog.events_after(found[-1] if found else 0, limit=3):
        found += [event.id for event in page]
    assert found == list(range(1, LAST + 1))
    assert [event.id for event in await catalog.events_after(4, job=name())] == [5, 6, 8]


async def test_history_of_nothing_holds(tmp_path: Path) -> None:
    async with opened(tmp_path) as catalog:
        check = await catalog.verify_history()
        assert (check.events, check.broken) == (0, None)
        assert (await catalog.verify_history(Head(1, "0" * 64))).broken == "event 1 is missing at the end"


@pytest.mark.parametrize(
    "text", ["", "5", "5:", "x:" + "0" * 64, "5:" + "0" * 63, "5:" + "G" * 64, "-1:" + "0" * 64]
)
def test_head_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(MalformedInput, match="no head of a history"):
        Head.parse(text)


def test_head_is_read_as_it_is_written() -> None:
    head = Head(17, "0123456789abcdef" * 4)
    assert Head.parse(f" {head}\n") == head


async def test_hash_depends_on_every_part_of_an_event(catalog: Catalog) -> None:
    event = (await catalog.history(name()))[2]
    assert link(event.previous, event) == event.hash
    assert link("0" * 64, event) != event.hash
