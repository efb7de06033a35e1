"""Drives in the catalog: they move by their table, the job follows, the books never go back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.catalog import Catalog
from agent.errors import MoveRefused, SerialNotSpecified
from agent.model.codes import DriveStatus
from agent.model.going import NOT_GOING, Going
from agent.model.job import Drive
from agent.model.states import DriveEvent, DriveState, JobState
from agent.model.tally import Count, Tally
from tests.unit.catalog_cases import (
    CLEAN,
    FAILED,
    WHO,
    Ticking,
    name,
    nobody_answers,
    opened,
    serial,
    spec,
    walk,
)

ARRIVE, BEGIN, FAULT, RESOLVE = DriveEvent.ARRIVE, DriveEvent.BEGIN, DriveEvent.FAULT, DriveEvent.RESOLVE
CLEANLY, WITH_FINDINGS = DriveEvent.FINISH_CLEAN, DriveEvent.FINISH_WITH_FINDINGS
SHIP_BACK = DriveEvent.SHIP_BACK


@pytest.fixture
def clock() -> Ticking:
    return Ticking()


@pytest.fixture
async def catalog(tmp_path: Path, clock: Ticking) -> AsyncIterator[Catalog]:
    async with opened(tmp_path, clock=clock) as catalog:
        await catalog.create_job(spec("ship-1", "A", "B"), ship=True, who=WHO)
        yield catalog


async def drive(catalog: Catalog, text: str = "A") -> Drive:
    return (await catalog.job(name())).drive(serial(text))


def reached(discovered: int, done: int, failed: int = 0) -> Tally:
    return Tally(Count(discovered, discovered * 10), Count(done, done * 10), Count(failed, failed * 10))


async def test_job_follows_its_drives_from_box_to_box(catalog: Catalog) -> None:
    steps = [
        ("A", ARRIVE, JobState.SHIPPING),
        ("B", ARRIVE, JobState.RECEIVED),
        ("A", BEGIN, JobState.TRANSFERRING),
        ("B", BEGIN, JobState.TRANSFERRING),
        ("A", CLEANLY, JobState.TRANSFERRING),
        ("A", SHIP_BACK, JobState.TRANSFERRING),
        ("B", CLEANLY, JobState.PACKAGING),
        ("B", SHIP_BACK, JobState.COMPLETED),
    ]
    for text, event, expected in steps:
        assert (await walk(catalog, "ship-1", text, event)).state is expected, (text, event)


async def test_job_whose_first_drive_begins_early_is_transferring_before_all_are_received(
    catalog: Catalog,
) -> None:
    assert (await walk(catalog, "ship-1", "A", ARRIVE, BEGIN)).state is JobState.TRANSFERRING
    assert (await walk(catalog, "ship-1", "B", ARRIVE)).state is JobState.TRANSFERRING


async def test_job_goes_on_without_a_drive_that_was_missing_and_back_when_it_turns_up(
    catalog: Catalog,
) -> None:
    await walk(catalog, "ship-1", "A", ARRIVE)
    assert (await walk(catalog, "ship-1", "B", DriveEvent.MISS)).state is JobState.RECEIVED
    await walk(catalog, "ship-1", "A", BEGIN, CLEANLY)
    assert (await catalog.job(name())).state is JobState.PACKAGING
    assert (await walk(catalog, "ship-1", "B", ARRIVE)).state is JobState.TRANSFERRING
    assert (await walk(catalog, "ship-1", "B", BEGIN, CLEANLY)).state is JobState.PACKAGING


async def test_job_without_one_of_its_drives_ends_as_closed(catalog: Catalog) -> None:
    await walk(catalog, "ship-1", "B", DriveEvent.MISS)
    assert (await catalog.job(name())).state is JobState.SHIPPING
    assert (await walk(catalog, "ship-1", "A", ARRIVE, BEGIN, CLEANLY, SHIP_BACK)).state is JobState.CLOSED


async def test_job_is_faulted_from_its_first_fault_to_its_last_resolution(catalog: Catalog) -> None:
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN)
    await walk(catalog, "ship-1", "B", ARRIVE, BEGIN)
    assert (await walk(catalog, "ship-1", "A", FAULT)).state is JobState.FAULTED
    assert (await walk(catalog, "ship-1", "B", FAULT)).state is JobState.FAULTED
    assert (await walk(catalog, "ship-1", "A", RESOLVE)).state is JobState.FAULTED
    assert (await walk(catalog, "ship-1", "B", RESOLVE)).state is JobState.TRANSFERRING
    await walk(catalog, "ship-1", "A", BEGIN, CLEANLY)
    assert (await walk(catalog, "ship-1", "B", BEGIN, CLEANLY)).state is JobState.PACKAGING


async def test_transfer_under_way_goes_on_beside_a_fault_and_no_other_begins(catalog: Catalog) -> None:
    await catalog.create_job(spec("ship-2", "C", "D", "E"), ship=True, who=WHO)
    await walk(catalog, "ship-2", "C", ARRIVE, BEGIN)
    await walk(catalog, "ship-2", "D", ARRIVE, BEGIN)
    await walk(catalog, "ship-2", "C", FAULT)
    assert (await walk(catalog, "ship-2", "D", CLEANLY)).state is JobState.FAULTED
    await walk(catalog, "ship-2", "E", ARRIVE)
    with pytest.raises(MoveRefused, match="job ship-2 is in Faulted: no drive of it may begin"):
        await walk(catalog, "ship-2", "E", BEGIN)


@pytest.mark.parametrize(
    ("status", "cancelled", "end"),
    [
        (DriveStatus.COMPLETED_WITH_ERRORS, False, JobState.CLOSED),
        (DriveStatus.BITLOCKER_KEY_INVALID, False, JobState.CLOSED),
        (None, False, JobState.CLOSED),
        (DriveStatus.COMPLETED_WITH_WARNINGS, False, JobState.COMPLETED),
        (DriveStatus.COMPLETED, False, JobState.COMPLETED),
        ("Cancelled", True, JobState.COMPLETED),
    ],
)
async def test_job_closes_with_errors_and_completes_without(
    catalog: Catalog, status: str | None, cancelled: bool, end: JobState
) -> None:
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN)
    if cancelled:
        await catalog.cancel_job(name(), WHO)
    await catalog.move_drive(name(), serial("A"), WITH_FINDINGS, who=WHO, tally=FAILED, copy_status=status)
    await walk(catalog, "ship-1", "A", SHIP_BACK)
    assert (await walk(catalog, "ship-1", "B", ARRIVE, BEGIN, CLEANLY, SHIP_BACK)).state is end


async def test_drives_of_a_job_that_is_not_shipped_are_left_alone(catalog: Catalog) -> None:
    await catalog.create_job(spec("ship-2", "C"), ship=False, who=WHO)
    with pytest.raises(MoveRefused, match="job ship-2 is in Creating"):
        await walk(catalog, "ship-2", "C", ARRIVE)


async def test_drives_of_a_closed_job_are_left_alone(catalog: Catalog, clock: Ticking) -> None:
    await nobody_answers(catalog, clock)
    with pytest.raises(MoveRefused, match="job ship-1 is in Closed"):
        await walk(catalog, "ship-1", "A", ARRIVE)


async def test_refused_move_changes_nothing_and_tells_no_history(catalog: Catalog) -> None:
    before, told = await catalog.job(name()), await catalog.history(name())
    with pytest.raises(MoveRefused, match="drive A of job ship-1 is in Specified: it has not arrived"):
        await catalog.move_drive(
            name(), serial("A"), BEGIN, who=WHO, tally=CLEAN, copy_status="x", error_log_uri="https://x"
        )
    assert await catalog.job(name()) == before
    assert await catalog.history(name()) == told


async def test_drive_of_another_job_is_not_moved(catalog: Catalog) -> None:
    with pytest.raises(SerialNotSpecified, match="job ship-1 does not specify drive Z"):
        await walk(catalog, "ship-1", "Z", ARRIVE)


async def test_move_sets_the_fields_it_is_given_and_leaves_the_others(catalog: Catalog) -> None:
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN)
    await catalog.move_drive(
        name(),
        serial("A"),
        WITH_FINDINGS,
        who=WHO,
        copy_status=DriveStatus.COMPLETED_WITH_WARNINGS,
        tally=FAILED,
        error_log_uri="https://x/e",
        verbose_log_uri="https://x/v",
    )
    done = await catalog.move_drive(name(), serial("A"), SHIP_BACK, who=WHO, manifest_uri="https://x/m")
    assert done.drive(serial("A")) == Drive(
        serial("A"),
        state=DriveState.SHIPPED_BACK,
        copy_status="CompletedWithWarnings",
        percent_complete=100,
        tally=FAILED,
        error_log_uri="https://x/e",
        verbose_log_uri="https://x/v",
        manifest_uri="https://x/m",
    )
    assert done.drive(serial("B")) == Drive(serial("B"))


@pytest.mark.parametrize(
    "books",
    [
        FAILED,
        Tally(Count(3, 300), Count(2, 200)),
        Tally(Count(3, 300), Count(3, 299)),
        Tally(Count(1, 1), Count(2, 2)),
    ],
)
async def test_drive_whose_books_are_not_clean_does_not_finish_clean(catalog: Catalog, books: Tally) -> None:
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN)
    with pytest.raises(MoveRefused, match="drive A is not clean"):
        await catalog.move_drive(name(), serial("A"), CLEANLY, who=WHO, tally=books)
    assert (await drive(catalog)).state is DriveState.TRANSFERRING


async def test_finish_without_a_tally_stands_on_the_recorded_one(catalog: Catalog) -> None:
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN)
    await catalog.record_progress(name(), serial("A"), reached(4, 3), 75, None)
    with pytest.raises(MoveRefused, match="4 files discovered, 3 done"):
        await catalog.move_drive(name(), serial("A"), CLEANLY, who=WHO)
    await catalog.record_progress(name(), serial("A"), reached(4, 4), 99, None)
    done = await catalog.move_drive(name(), serial("A"), CLEANLY, who=WHO)
    assert done.drive(serial("A")).percent_complete == 100
    assert done.drive(serial("A")).copy_status == "Completed"


@pytest.mark.parametrize(
    ("books", "said", "percent"),
    [
        (FAILED, None, 100),
        (FAILED, 100, 100),
        (Tally(), 0, 0),
        (Tally(), None, 100),
        (Tally(Count(3, 300), Count(2, 200)), 100, 99),
        (Tally(Count(3, 300), Count(2, 200)), None, 0),
        (Tally(Count(3, 300), Count(2, 200)), 66, 66),
    ],
)
async def test_finish_is_at_100_only_when_everything_is_accounted_for(
    catalog: Catalog, books: Tally, said: int | None, percent: int
) -> None:
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN)
    done = await catalog.move_drive(
        name(), serial("A"), WITH_FINDINGS, who=WHO, tally=books, percent_complete=said
    )
    assert done.drive(serial("A")).percent_complete == percent
    assert done.drive(serial("A")).tally == books


async def test_progress_never_goes_back_and_never_says_100(catalog: Catalog) -> None:
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN)
    reports = [
        (reached(10, 2), 20, 20, reached(10, 2)),
        (reached(10, 5), 50, 50, reached(10, 5)),
        (reached(10, 4), 40, 50, reached(10, 5)),
        (reached(9, 5), 55, 55, reached(10, 5)),
        (reached(10, 4, failed=1), 50, 55, reached(10, 4, failed=1)),
        (reached(12, 12), 100, 99, reached(12, 12)),
        (reached(12, 12), -5, 99, reached(12, 12)),
    ]
    for tally, percent, shown, kept in reports:
        await catalog.record_progress(name(), serial("A"), tally, percent, "InProgress")
        found = await drive(catalog)
        assert (found.percent_complete, found.tally) == (shown, kept)
    assert (await drive(catalog)).copy_status == "InProgress"


async def test_percent_of_a_job_goes_by_bytes_and_never_back(catalog: Catalog) -> None:
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN)
    await walk(catalog, "ship-1", "B", ARRIVE, BEGIN)
    seen = []
    for text, books, percent in [
        ("A", reached(10, 8), 80),
        ("B", reached(1000, 0), 0),
        ("B", reached(1000, 300), 30),
        ("B", reached(1000, 500), 50),
    ]:
        await catalog.record_progress(name(), serial(text), books, percent, None)
        seen.append((await catalog.job(name())).percent_complete)
    assert seen == [40, 40, 40, 50]
    await walk(catalog, "ship-1", "A", FAULT, RESOLVE, BEGIN)
    assert (await catalog.job(name())).percent_complete == 50
    await walk(catalog, "ship-1", "A", CLEANLY)
    assert (await walk(catalog, "ship-1", "B", CLEANLY)).percent_complete == 100


async def test_percent_of_a_job_that_a_drive_reached_by_its_end_is_kept(catalog: Catalog) -> None:
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN, CLEANLY)
    assert (await catalog.job(name())).percent_complete == 50
    await walk(catalog, "ship-1", "B", ARRIVE, BEGIN)
    await catalog.record_progress(name(), serial("B"), reached(100_000, 1), 0, None)
    assert (await catalog.job(name())).percent_complete == 50


async def test_how_a_transfer_goes_is_kept_while_it_runs_and_its_counts_for_good(catalog: Catalog) -> None:
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN)
    assert (await drive(catalog)).going == NOT_GOING
    going = Going("network", 80_000_000, 3600, throttled_requests=4, cut_requests=1)
    await catalog.record_progress(name(), serial("A"), reached(10, 5), 50, "InProgress", going)
    assert (await drive(catalog)).going == going
    await catalog.record_progress(name(), serial("A"), reached(10, 6), 60, "InProgress")
    assert (await drive(catalog)).going == going
    final = Going("network", 1, 1, throttled_requests=5, cut_requests=1)
    await catalog.move_drive(name(), serial("A"), CLEANLY, who=WHO, tally=reached(10, 10), going=final)
    assert (await drive(catalog)).going == Going(throttled_requests=5, cut_requests=1)


async def test_a_drive_that_faulted_goes_no_more(catalog: Catalog) -> None:
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN)
    going = Going("drive", 1000, 60, throttled_requests=2)
    await catalog.record_progress(name(), serial("A"), reached(10, 5), 50, None, going)
    await walk(catalog, "ship-1", "A", FAULT)
    assert (await drive(catalog)).going == Going(throttled_requests=2)


async def test_transfer_that_begins_again_starts_from_nothing(catalog: Catalog) -> None:
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN)
    await catalog.record_progress(name(), serial("A"), reached(10, 5), 50, None)
    await walk(catalog, "ship-1", "A", FAULT)
    assert (await drive(catalog)).percent_complete == 50
    await walk(catalog, "ship-1", "A", RESOLVE, BEGIN)
    found = await drive(catalog)
    assert (found.percent_complete, found.tally) == (0, Tally())


@pytest.mark.parametrize("events", [(), (ARRIVE,), (ARRIVE, BEGIN, CLEANLY), (ARRIVE, BEGIN, FAULT)])
async def test_progress_of_a_drive_that_is_not_transferring_is_refused(
    catalog: Catalog, events: tuple[DriveEvent, ...]
) -> None:
    if events:
        await walk(catalog, "ship-1", "A", *events)
    before = await drive(catalog)
    with pytest.raises(MoveRefused, match="not transferring"):
        await catalog.record_progress(name(), serial("A"), reached(1, 1), 50, "InProgress")
    assert await drive(catalog) == before


async def test_books_of_a_very_large_drive_are_kept_to_the_byte(catalog: Catalog) -> None:
    books = Tally(Count(2**40, 2**62), Count(2**40, 2**62))
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN)
    await catalog.move_drive(name(), serial("A"), CLEANLY, who=WHO, tally=books)
    assert (await drive(catalog)).tally == books


@pytest.mark.parametrize(("event", "refusals"), [(BEGIN, 5), (ARRIVE, 0)])
async def test_of_two_processes_that_move_one_drive_one_wins(
    tmp_path: Path, catalog: Catalog, event: DriveEvent, refusals: int
) -> None:
    async with opened(tmp_path) as other:
        if event is BEGIN:
            await walk(catalog, "ship-1", "A", ARRIVE)
        results = await asyncio.gather(
            *(
                one.move_drive(name(), serial("A"), event, who=f"process {place}")
                for place, one in enumerate([catalog, other] * 3)
            ),
            return_exceptions=True,
        )
        refused = [result for result in results if isinstance(result, MoveRefused)]
        assert len(refused) == refusals
        told = [made.what for made in await other.history(name())]
        assert told.count(f"drive.{event.name.lower()}") == 1


async def test_many_writers_in_two_processes_lose_no_move(tmp_path: Path, catalog: Catalog) -> None:
    async with opened(tmp_path) as other:
        for number in range(4):
            await catalog.create_job(spec(f"many-{number}", f"M{number}", f"N{number}"), ship=True, who=WHO)
        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(walk(catalog, f"many-{number}", f"M{number}", ARRIVE, BEGIN, CLEANLY))
                group.create_task(walk(other, f"many-{number}", f"N{number}", ARRIVE, BEGIN, CLEANLY))
        states = [job.state async for job in catalog.jobs() if job.name != name()]
        assert states == [JobState.PACKAGING] * 4
