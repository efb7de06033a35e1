"""What operators record: every verb, where it leads, and where it is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.catalog import Catalog
from agent.errors import JobNotFound, MalformedInput, MoveRefused, SerialNotSpecified
from agent.model.job import Job
from agent.model.papers import Package
from agent.model.states import DriveEvent, DriveState, JobState
from tests.unit.catalog_cases import WHO, name, opened_at_once, serial, spec, walk

ARRIVE, BEGIN, CLEANLY, FAULT = (
    DriveEvent.ARRIVE,
    DriveEvent.BEGIN,
    DriveEvent.FINISH_CLEAN,
    DriveEvent.FAULT,
)
A, B = serial("A"), serial("B")


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    async with opened_at_once(tmp_path) as catalog:
        await catalog.create_job(spec("ship-1", "A", "B"), ship=True, who=WHO)
        yield catalog


def told(job: Job) -> tuple[str, ...]:
    return (str(job.state), *(str(drive.state) for drive in job.drives))


async def whats(catalog: Catalog) -> list[str]:
    return [event.what for event in await catalog.history(name())]


async def test_a_box_is_received_with_all_its_drives_once(catalog: Catalog) -> None:
    assert told(await catalog.receive_job(name(), who=WHO, note="dock 2")) == (
        "Received",
        "Received",
        "Received",
    )
    before = await catalog.history(name())
    assert told(await catalog.receive_job(name(), who=WHO)) == ("Received", "Received", "Received")
    assert await catalog.history(name()) == before
    assert [event.detail for event in before if event.what == "drive.arrive"] == ["dock 2"] * 2


async def test_a_drive_that_is_received_twice_is_received_once(catalog: Catalog) -> None:
    await catalog.receive_drive(name(), A, who=WHO)
    await catalog.receive_drive(name(), A, who=WHO)
    assert (await whats(catalog)).count("drive.arrive") == 1


async def test_what_was_in_no_box_is_never_received_until_it_turns_up(catalog: Catalog) -> None:
    await catalog.receive_drive(name(), A, who=WHO)
    assert told(await catalog.miss_drive(name(), B, who=WHO)) == ("Received", "Received", "NeverReceived")
    await walk(catalog, "ship-1", "A", BEGIN, CLEANLY)
    late = await catalog.receive_drive(name(), B, who=WHO, note="in another box")
    assert told(late) == ("Transferring", "Completed", "Received")
    with pytest.raises(MoveRefused, match="drive B of job ship-1 is in Received: it has arrived"):
        await catalog.miss_drive(name(), B, who=WHO)


async def test_a_job_is_shipped_back_whole_with_its_package_and_its_extra_drives(catalog: Catalog) -> None:
    await catalog.note_extra(serial("X"), came_with=name(), who=WHO)
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN, CLEANLY)
    with pytest.raises(MoveRefused, match="it is shipped back from Packaging"):
        await catalog.ship_back_job(name(), who=WHO)
    await catalog.miss_drive(name(), B, who=WHO)
    package = Package("FedEx", "BACK1", 2, "2/1/2024 9:05:00 PM")
    back = await catalog.ship_back_job(name(), who=WHO, package=package)
    assert told(back) == ("Closed", "ShippedBack", "NeverReceived")
    assert back.papers.return_package == package
    assert [extra.returned is not None for extra in await catalog.extras(name())] == [True]
    assert {"drive.extra_returned", "job.update_papers"} <= set(await whats(catalog))


async def test_drives_are_shipped_back_one_by_one(catalog: Catalog) -> None:
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN, CLEANLY)
    await walk(catalog, "ship-1", "B", ARRIVE, BEGIN, CLEANLY)
    assert told(await catalog.ship_back_drive(name(), A, who=WHO)) == (
        "Packaging",
        "ShippedBack",
        "Completed",
    )
    assert told(await catalog.ship_back_drive(name(), B, who=WHO))[0] == "Completed"


async def test_a_drive_that_operators_fault_stops_its_job_until_they_resolve_it(catalog: Catalog) -> None:
    await catalog.receive_drive(name(), A, who=WHO)
    faulted = await catalog.fault_drive(name(), A, who=WHO, note="burnt smell")
    assert told(faulted) == ("Faulted", "Faulted", "Specified")
    await catalog.receive_drive(name(), B, who=WHO)
    with pytest.raises(MoveRefused, match="job ship-1 is in Faulted: no drive of it may begin"):
        await walk(catalog, "ship-1", "B", BEGIN)
    resolved = await catalog.resolve_drive(name(), A, who=WHO, note="another bay")
    assert told(resolved) == ("Received", "Received", "Received")
    moves = [
        event.detail
        for event in await catalog.history(name())
        if "aul" in event.what or "resolve" in event.what
    ]
    assert moves[:2] == ["burnt smell", "burnt smell"]
    assert "another bay" in moves


async def test_a_transfer_that_operators_fault_takes_no_more_progress(catalog: Catalog) -> None:
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN)
    await catalog.fault_drive(name(), A, who=WHO, note="clicks")
    job = await catalog.job(name())
    with pytest.raises(MoveRefused, match="not transferring"):
        await catalog.record_progress(name(), A, job.drive(A).tally, 10, None)


@pytest.mark.parametrize("state", ["Shipping", "Received", "Transferring", "Packaging"])
async def test_a_job_that_operators_fault_goes_back_to_where_it_was(catalog: Catalog, state: str) -> None:
    steps = {"Shipping": 0, "Received": 2, "Transferring": 4, "Packaging": 6}[state]
    ways = [("A", ARRIVE), ("B", ARRIVE), ("A", BEGIN), ("B", BEGIN), ("A", CLEANLY), ("B", CLEANLY)]
    for drive, event in ways[:steps]:
        await walk(catalog, "ship-1", drive, event)
    before = await catalog.job(name())
    assert before.state == state
    faulted = await catalog.fault_job(name(), who=WHO, note="the return address is missing")
    assert (faulted.state, faulted.fault_note) == (JobState.FAULTED, "the return address is missing")
    after = await catalog.resolve_job(name(), who=WHO, note="asked the customer")
    assert told(after) == told(before)
    assert after.fault_note is None
    assert (await whats(catalog))[-2:] == ["job.resolve", f"job.resolve_to_{state.lower()}"]


async def test_a_faulted_job_follows_its_drives_when_it_is_resolved(catalog: Catalog) -> None:
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN)
    await walk(catalog, "ship-1", "B", ARRIVE, BEGIN)
    await catalog.fault_job(name(), who=WHO, note="a question")
    for drive in ("A", "B"):
        assert (await walk(catalog, "ship-1", drive, CLEANLY)).state is JobState.FAULTED
    assert (await catalog.resolve_job(name(), who=WHO, note="answered")).state is JobState.PACKAGING


async def test_a_job_that_is_faulted_for_a_drive_is_resolved_by_the_drive(catalog: Catalog) -> None:
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN, FAULT)
    with pytest.raises(MoveRefused, match="job ship-1 is Faulted for its drives: resolve A"):
        await catalog.resolve_job(name(), who=WHO, note="x")
    with pytest.raises(MoveRefused, match="job ship-1 is in Faulted: it has drives on their way or here"):
        await catalog.delete_job(name(), who=WHO)


async def test_a_job_that_is_faulted_for_a_drive_is_held_by_operators_too(catalog: Catalog) -> None:
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN, FAULT)
    await walk(catalog, "ship-1", "B", ARRIVE)
    for why in ("a court order", "again"):
        held = await catalog.fault_job(name(), who=WHO, note=why)
        assert (held.state, held.fault_note) == (JobState.FAULTED, "a court order")
    assert (await catalog.resolve_drive(name(), A, who=WHO, note="x")).state is JobState.FAULTED
    with pytest.raises(MoveRefused, match="no drive of it may begin"):
        await walk(catalog, "ship-1", "B", BEGIN)
    faults = [event.detail for event in await catalog.history(name()) if event.what == "job.fault"]
    assert faults == ["", "a court order"]
    assert (await catalog.resolve_job(name(), who=WHO, note="lifted")).state is JobState.TRANSFERRING


async def test_a_drive_that_cannot_be_mended_is_ended_without_a_copy(catalog: Catalog) -> None:
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN, FAULT)
    given_up = await catalog.resolve_drive(name(), A, who=WHO, note="heads crashed", give_up=True)
    drive = given_up.drive(A)
    assert (drive.state, drive.copy_status) == (DriveState.COMPLETED_MORE_INFO, "DiskOperationFailed")
    assert drive.percent_complete < 100
    await walk(catalog, "ship-1", "B", ARRIVE, BEGIN, CLEANLY)
    assert (await catalog.ship_back_job(name(), who=WHO)).state is JobState.CLOSED


@pytest.mark.parametrize("note", ["", "  \n"])
async def test_a_fault_and_its_resolution_need_a_reason(catalog: Catalog, note: str) -> None:
    for call in (
        catalog.fault_drive(name(), A, who=WHO, note=note),
        catalog.resolve_drive(name(), A, who=WHO, note=note),
        catalog.fault_job(name(), who=WHO, note=note),
        catalog.resolve_job(name(), who=WHO, note=note),
    ):
        with pytest.raises(MalformedInput, match="needs a note"):
            await call


async def test_a_fault_tells_operators(catalog: Catalog) -> None:
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN, FAULT)
    await catalog.resolve_drive(name(), A, who=WHO, note="x")
    await catalog.fault_job(name(), who=WHO, note="y")
    faults = [event for event in await catalog.history(name()) if event.what == "notice.faulted"]
    assert [(event.serial, event.detail) for event in faults] == [("A", ""), (None, "y")]


async def test_a_cancelled_job_ends_its_drives_here_without_a_copy_and_walks_the_same_states(
    catalog: Catalog,
) -> None:
    await catalog.receive_drive(name(), A, who=WHO)
    assert told(await catalog.cancel_job(name(), WHO)) == ("Transferring", "CompletedMoreInfo", "Specified")
    done = await catalog.receive_drive(name(), B, who=WHO)
    assert told(done) == ("Packaging", "CompletedMoreInfo", "CompletedMoreInfo")
    assert [drive.copy_status for drive in done.drives] == ["Cancelled", "Cancelled"]
    assert done.percent_complete == 0
    assert (await catalog.ship_back_job(name(), who=WHO)).state is JobState.COMPLETED
    moves = [what for what in await whats(catalog) if what.startswith("drive.") and "extra" not in what]
    assert moves.count("drive.begin") == moves.count("drive.finish_with_findings") == 2


async def test_a_drive_under_way_ends_by_itself_when_its_job_is_cancelled(catalog: Catalog) -> None:
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN)
    assert told(await catalog.cancel_job(name(), WHO)) == ("Transferring", "Transferring", "Specified")


async def test_a_faulted_drive_of_a_cancelled_job_ends_when_it_is_resolved(catalog: Catalog) -> None:
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN, FAULT)
    assert (await catalog.cancel_job(name(), WHO)).state is JobState.FAULTED
    resolved = await catalog.resolve_drive(name(), A, who=WHO, note="nothing to save")
    assert told(resolved) == ("Transferring", "CompletedMoreInfo", "Specified")


async def test_an_extra_drive_is_kept_with_the_job_it_came_with_and_given_back(catalog: Catalog) -> None:
    await catalog.note_idle_drive(serial("X 9"), who="station", note="bay 3")
    await catalog.note_extra(serial("X9"), came_with=name(), who=WHO)
    await catalog.note_extra(serial("X9"), came_with=name(), who=WHO)
    assert [(str(one.serial), one.came_with, one.returned) for one in await catalog.extras()] == [
        ("X 9", name(), None)
    ]
    await catalog.return_extra(serial("X9"), who=WHO, note="by courier")
    (gone,) = await catalog.extras(name())
    assert gone.returned is not None
    with pytest.raises(SerialNotSpecified, match="drive X9 is not here"):
        await catalog.return_extra(serial("X9"), who=WHO)
    seen = [event.what for event in await catalog.drive_history(serial("X9"))]
    assert seen == ["drive.extra", "notice.extra", "drive.extra", "drive.extra_returned"]


async def test_an_extra_drive_comes_with_a_job_that_is_there(catalog: Catalog) -> None:
    with pytest.raises(JobNotFound):
        await catalog.note_extra(serial("X"), came_with=name("other"), who=WHO)
    assert await catalog.extras() == []


async def test_a_verb_that_is_refused_changes_nothing(catalog: Catalog) -> None:
    await walk(catalog, "ship-1", "A", ARRIVE, BEGIN)
    before, history = await catalog.job(name()), await catalog.history(name())
    for call in (
        catalog.ship_back_job(name(), who=WHO, package=Package("FedEx", "1")),
        catalog.ship_back_drive(name(), A, who=WHO),
        catalog.resolve_drive(name(), A, who=WHO, note="x"),
        catalog.resolve_drive(name(), A, who=WHO, note="x", give_up=True),
        catalog.miss_drive(name(), A, who=WHO),
        catalog.resolve_job(name(), who=WHO, note="x"),
        catalog.delete_job(name(), who=WHO),
    ):
        with pytest.raises(MoveRefused):
            await call
    assert await catalog.job(name()) == before
    assert await catalog.history(name()) == history
