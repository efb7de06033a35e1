"""What time does to jobs and drives, on a clock that the test moves."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.catalog import Catalog
from agent.errors import JobNotFound, MalformedInput, MoveRefused
from agent.model.codes import LogLevel
from agent.model.job import Job, JobChanges
from agent.model.papers import NO_PAPERS
from agent.model.states import DriveEvent, DriveState, JobState
from tests.unit.catalog_cases import (
    WHO,
    Ticking,
    name,
    nobody_answers,
    opened,
    opened_at_once,
    serial,
    spec,
    walk,
)

ARRIVE, BEGIN, CLEANLY = DriveEvent.ARRIVE, DriveEvent.BEGIN, DriveEvent.FINISH_CLEAN
SHIP_BACK, WITH_FINDINGS = DriveEvent.SHIP_BACK, DriveEvent.FINISH_WITH_FINDINGS
AN_HOUR = 1 / 24


@pytest.fixture
def clock() -> Ticking:
    return Ticking()


@pytest.fixture
async def catalog(tmp_path: Path, clock: Ticking) -> AsyncIterator[Catalog]:
    async with opened_at_once(tmp_path, clock) as catalog:
        yield catalog


async def after(catalog: Catalog, clock: Ticking, days: float) -> Job:
    """The job once so much time has passed."""
    clock.pass_days(days)
    await catalog.look_at_clocks()
    return await catalog.job(name())


async def notices(catalog: Catalog) -> list[str]:
    """What operators were told, in order."""
    told = await catalog.events_after(0)
    return [event.what.removeprefix("notice.") for event in told if event.what.startswith("notice.")]


def states(job: Job) -> list[DriveState]:
    return [drive.state for drive in job.drives]


async def is_gone(catalog: Catalog) -> bool:
    try:
        await catalog.job(name())
    except JobNotFound:
        return True
    return False


async def test_a_job_that_is_not_shipped_is_deleted_after_two_weeks_and_its_history_stays(
    catalog: Catalog, clock: Ticking
) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=False, who=WHO)
    await after(catalog, clock, 14 - AN_HOUR)
    clock.pass_days(2 * AN_HOUR)
    assert await catalog.look_at_clocks() == 1
    assert await is_gone(catalog)
    assert await notices(catalog) == ["expired"]
    told = await catalog.history(name())
    assert [event.what for event in told] == ["job.create", "notice.expired", "job.expire"]
    assert (told[-1].who, told[-1].was, told[-1].now) == ("clock", "Creating", None)
    await catalog.create_job(spec("ship-1", "A"), ship=False, who=WHO)


@pytest.mark.parametrize(
    "changes",
    [JobChanges(), JobChanges(log_level=LogLevel.VERBOSE), JobChanges(tags={"a": "b"})],
    ids=["nothing", "log level", "tags"],
)
async def test_every_update_of_a_job_that_is_not_shipped_begins_its_two_weeks_anew(
    catalog: Catalog, clock: Ticking, changes: JobChanges
) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=False, who=WHO)
    clock.pass_days(13)
    await catalog.update_job(name(), changes, who=WHO)
    assert (await after(catalog, clock, 13)).state is JobState.CREATING
    clock.pass_days(1)
    await catalog.look_at_clocks()
    assert await is_gone(catalog)


async def test_two_weeks_without_drives_tell_operators_and_30_days_without_an_answer_close(
    catalog: Catalog, clock: Ticking
) -> None:
    await catalog.create_job(spec("ship-1", "A", "B"), ship=True, who=WHO)
    assert (await after(catalog, clock, 14 - AN_HOUR)).state is JobState.SHIPPING
    assert await notices(catalog) == []
    late = await after(catalog, clock, 2 * AN_HOUR)
    assert (late.state, states(late)) == (JobState.SHIPPING, [DriveState.NEVER_RECEIVED] * 2)
    assert await notices(catalog) == ["late"]
    assert (await after(catalog, clock, 30 - AN_HOUR)).state is JobState.SHIPPING
    assert (await after(catalog, clock, 2 * AN_HOUR)).state is JobState.CLOSED
    assert await notices(catalog) == ["late", "unanswered"]


async def test_a_job_that_is_late_takes_its_drives_when_they_come(catalog: Catalog, clock: Ticking) -> None:
    await catalog.create_job(spec("ship-1", "A", "B"), ship=True, who=WHO)
    await after(catalog, clock, 15)
    assert (await walk(catalog, "ship-1", "A", ARRIVE)).state is JobState.RECEIVED
    assert (await walk(catalog, "ship-1", "B", ARRIVE, BEGIN, CLEANLY)).state is JobState.TRANSFERRING
    await walk(catalog, "ship-1", "A", BEGIN, CLEANLY, SHIP_BACK)
    assert (await walk(catalog, "ship-1", "B", SHIP_BACK)).state is JobState.COMPLETED
    assert await notices(catalog) == ["late"]


async def test_operators_wait_longer_and_are_told_again(catalog: Catalog, clock: Ticking) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    await after(catalog, clock, 15)
    await catalog.extend_job(name(), who=WHO, days=40, note="in the customs")
    assert (await after(catalog, clock, 39)).state is JobState.SHIPPING
    assert await notices(catalog) == ["late"]
    assert (await after(catalog, clock, 2)).state is JobState.SHIPPING
    assert await notices(catalog) == ["late", "late"]
    assert (await after(catalog, clock, 31)).state is JobState.CLOSED
    told = [event for event in await catalog.history(name()) if event.what == "job.extend"]
    assert [event.detail for event in told] == ["until 2024-03-29; in the customs"]


@pytest.mark.parametrize("days", [0, -1, 366])
async def test_waiting_is_extended_by_a_day_to_a_year(catalog: Catalog, days: int) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    with pytest.raises(MalformedInput, match=f"not by {days}"):
        await catalog.extend_job(name(), who=WHO, days=days)


async def test_a_draft_is_kept_longer_when_operators_say_so(catalog: Catalog, clock: Ticking) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=False, who=WHO)
    await catalog.extend_job(name(), who=WHO, days=60)
    assert (await after(catalog, clock, 59)).state is JobState.CREATING
    clock.pass_days(2)
    await catalog.look_at_clocks()
    assert await is_gone(catalog)


@pytest.mark.parametrize("ship", [False, True])
async def test_nobody_shortens_the_time_that_a_job_waits_by_extending_it(
    catalog: Catalog, clock: Ticking, ship: bool
) -> None:
    before = await catalog.create_job(spec("ship-1", "A"), ship=ship, who=WHO)
    with pytest.raises(MalformedInput, match="job ship-1 waits until 2024-02-17 anyway: 1 are less"):
        await catalog.extend_job(name(), who=WHO, days=1)
    assert (await catalog.job(name())).due == before.due
    clock.pass_days(10)
    await catalog.extend_job(name(), who=WHO, days=5)


async def test_operators_who_were_told_may_wait_for_less_than_an_answer(
    catalog: Catalog, clock: Ticking
) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    await after(catalog, clock, 15)
    await catalog.extend_job(name(), who=WHO, days=2)
    await after(catalog, clock, 3)
    assert await notices(catalog) == ["late", "late"]


async def test_an_update_does_not_shorten_what_operators_extended(catalog: Catalog, clock: Ticking) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=False, who=WHO)
    await catalog.extend_job(name(), who=WHO, days=60)
    clock.pass_days(1)
    await catalog.update_job(name(), JobChanges(tags={"a": "b"}), who=WHO)
    await catalog.replace_job(spec("ship-1", "A"), who=WHO, papers=NO_PAPERS)
    assert (await after(catalog, clock, 50)).state is JobState.CREATING
    await catalog.update_job(name(), JobChanges(), who=WHO)
    assert (await after(catalog, clock, 13)).state is JobState.CREATING


async def test_nobody_extends_or_shortens_the_90_days_of_a_job_that_has_ended(
    catalog: Catalog, clock: Ticking
) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    ended = await walk(catalog, "ship-1", "A", ARRIVE, BEGIN, CLEANLY, SHIP_BACK)
    clock.pass_days(1)
    for change in (
        catalog.extend_job(name(), who=WHO, days=1),
        catalog.update_job(name(), JobChanges(tags={"a": "b"}), who=WHO),
        catalog.cancel_job(name(), WHO),
        catalog.ship_job(name(), WHO),
        catalog.fault_job(name(), who=WHO, note="no"),
        catalog.ship_back_drive(name(), serial("A"), who=WHO),
    ):
        with pytest.raises(MoveRefused):
            await change
    assert (await catalog.job(name())).due == ended.due


async def test_a_job_that_waits_for_no_drive_is_not_extended(catalog: Catalog) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    await walk(catalog, "ship-1", "A", ARRIVE)
    with pytest.raises(MoveRefused, match="in Received and waits for no drive"):
        await catalog.extend_job(name(), who=WHO)


async def test_a_drive_that_is_two_weeks_late_is_given_up_and_its_job_goes_on(
    catalog: Catalog, clock: Ticking
) -> None:
    await catalog.create_job(spec("ship-1", "A", "B"), ship=True, who=WHO)
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN, CLEANLY)
    late = await after(catalog, clock, 15)
    assert states(late) == [DriveState.COMPLETED, DriveState.NEVER_RECEIVED]
    assert late.state is JobState.PACKAGING
    assert await notices(catalog) == ["missing"]
    assert late.due is None


async def test_drives_that_arrived_in_time_start_no_clock(catalog: Catalog, clock: Ticking) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    assert (await walk(catalog, "ship-1", "A", ARRIVE)).due is None
    await after(catalog, clock, 400)
    assert await notices(catalog) == []
    assert (await walk(catalog, "ship-1", "A", BEGIN)).state is JobState.TRANSFERRING


@pytest.mark.parametrize(("end", "state"), [(CLEANLY, JobState.COMPLETED), (WITH_FINDINGS, JobState.CLOSED)])
async def test_a_job_that_has_ended_is_deleted_after_90_days(
    catalog: Catalog, clock: Ticking, end: DriveEvent, state: JobState
) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN, end, SHIP_BACK)
    assert (await after(catalog, clock, 90 - AN_HOUR)).state is state
    clock.pass_days(2 * AN_HOUR)
    await catalog.look_at_clocks()
    assert await is_gone(catalog)


async def test_a_closed_job_of_which_nothing_came_is_deleted_90_days_after_it_was_closed(
    catalog: Catalog, clock: Ticking
) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    await nobody_answers(catalog, clock)
    assert (await after(catalog, clock, 89)).state is JobState.CLOSED
    clock.pass_days(2)
    await catalog.look_at_clocks()
    assert await is_gone(catalog)


async def test_a_cancelled_job_of_which_nothing_comes_is_completed_when_it_is_late(
    catalog: Catalog, clock: Ticking
) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    await catalog.cancel_job(name(), WHO)
    assert (await after(catalog, clock, 15)).state is JobState.COMPLETED
    assert await notices(catalog) == []


async def test_a_late_job_that_is_cancelled_then_is_completed_at_once(
    catalog: Catalog, clock: Ticking
) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    await after(catalog, clock, 15)
    assert (await catalog.cancel_job(name(), WHO)).state is JobState.COMPLETED


async def test_a_faulted_job_is_not_closed_for_its_drives_but_late_ones_are_given_up(
    catalog: Catalog, clock: Ticking
) -> None:
    await catalog.create_job(spec("ship-1", "A", "B"), ship=True, who=WHO)
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN, DriveEvent.FAULT)
    late = await after(catalog, clock, 60)
    assert (late.state, states(late)) == (JobState.FAULTED, [DriveState.FAULTED, DriveState.NEVER_RECEIVED])
    resolved = await catalog.resolve_drive(name(), serial("A"), who=WHO, note="new cable")
    assert resolved.state is JobState.TRANSFERRING


async def test_clocks_are_looked_at_in_pieces_and_each_runs_out_once(
    catalog: Catalog, clock: Ticking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.catalog.clocks.AT_ONCE", 3)
    for number in range(7):
        await catalog.create_job(spec(f"job-{number}", f"S{number}"), ship=True, who=WHO)
    clock.pass_days(15)
    assert [await catalog.look_at_clocks() for _ in range(4)] == [3, 3, 1, 0]
    assert await notices(catalog) == ["late"] * 7


async def test_of_two_stations_that_look_at_the_clocks_one_does_what_is_due(
    tmp_path: Path, catalog: Catalog, clock: Ticking
) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    clock.pass_days(15)
    async with opened(tmp_path, clock=clock) as other:
        for one in (catalog, other, catalog):
            await one.look_at_clocks()
    assert await notices(catalog) == ["late"]


async def test_of_two_stations_that_look_at_the_same_moment_one_does_what_is_due(
    tmp_path: Path, catalog: Catalog, clock: Ticking
) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    clock.pass_days(15)
    lock = sqlite3.connect(tmp_path / "catalog.sqlite", isolation_level=None)
    async with opened(tmp_path, clock=clock) as other:
        lock.execute("BEGIN IMMEDIATE")
        looks = [asyncio.create_task(one.look_at_clocks()) for one in (catalog, other)]
        # Time for both to find the job; where it does not suffice, the test is only a weaker one.
        await asyncio.sleep(0.3)
        lock.close()
        assert await asyncio.gather(*looks) == [1, 1]
    assert await notices(catalog) == ["late"]
    assert (await catalog.job(name())).state is JobState.SHIPPING


async def test_an_extra_drive_is_told_of_at_once_and_after_two_weeks(
    catalog: Catalog, clock: Ticking
) -> None:
    await catalog.note_idle_drive(serial("X 9"), who="station", note="bay 3")
    await catalog.note_idle_drive(serial("X9"), who="station", note="bay 4")
    assert await notices(catalog) == ["extra"]
    clock.pass_days(13)
    assert await catalog.look_at_clocks() == 0
    clock.pass_days(2)
    assert [await catalog.look_at_clocks() for _ in range(2)] == [1, 0]
    assert await notices(catalog) == ["extra", "unclaimed"]


async def test_a_drive_whose_job_is_not_shipped_waits_and_is_told_of(
    catalog: Catalog, clock: Ticking
) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=False, who=WHO)
    await catalog.note_idle_drive(serial("A"), who="station")
    assert await notices(catalog) == ["not_shipped"]
    assert [(str(one.serial), one.came_with) for one in await catalog.extras()] == [("A", name())]
    await catalog.ship_job(name(), WHO)
    await walk(catalog, "ship-1", "A", ARRIVE)
    assert [one.returned is not None for one in await catalog.extras()] == [True]
    clock.pass_days(20)
    await catalog.look_at_clocks()
    assert await notices(catalog) == ["not_shipped"]


@pytest.mark.parametrize("events", [(), (ARRIVE,), (ARRIVE, BEGIN, CLEANLY)])
async def test_a_drive_of_a_shipped_job_is_no_extra_drive(
    catalog: Catalog, events: tuple[DriveEvent, ...]
) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    if events:
        await walk(catalog, "ship-1", "A", *events)
    await catalog.note_idle_drive(serial("A"), who="station")
    assert await catalog.extras() == []


async def test_a_drive_of_a_job_that_has_ended_is_an_extra_drive(catalog: Catalog, clock: Ticking) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    await nobody_answers(catalog, clock)
    await catalog.note_idle_drive(serial("A"), who="station")
    assert [str(one.serial) for one in await catalog.extras()] == ["A"]
    assert (await notices(catalog))[-1] == "extra"
