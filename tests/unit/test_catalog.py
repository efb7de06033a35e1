"""Jobs in the catalog: filed, shipped, cancelled, listed, with a record of it all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import agent.catalog.listing as listing_module
from agent.catalog import Catalog
from agent.errors import (
    JobExists,
    JobNotFound,
    MalformedInput,
    MoveRefused,
    SerialConflict,
    SerialNotSpecified,
)
from agent.model.codes import Disposition, LogLevel
from agent.model.identity import ContainerName
from agent.model.job import Destination, Drive, DriveSpec, JobChanges, JobSpec
from agent.model.keys import ClearKey, Credential, Password, RecoveryPassword, StartupKey
from agent.model.papers import NO_PAPERS
from agent.model.secrets import Secret
from agent.model.states import DriveEvent, DriveState, JobState
from tests.unit.catalog_cases import KEY, WHO, Ticking, name, nobody_answers, opened, serial, spec, walk

TO_THE_END = (DriveEvent.ARRIVE, DriveEvent.BEGIN, DriveEvent.FINISH_CLEAN)


@pytest.fixture
def clock() -> Ticking:
    return Ticking()


@pytest.fixture
async def catalog(tmp_path: Path, clock: Ticking) -> AsyncIterator[Catalog]:
    async with opened(tmp_path, clock=clock) as catalog:
        yield catalog


async def test_job_comes_back_as_it_was_filed(catalog: Catalog) -> None:
    asked = JobSpec(
        name=name("harbour-1"),
        drives=(
            DriveSpec(serial("WD 01"), Password(Secret("pw")), "\\m.xml", "a" * 32, "head"),
            DriveSpec(serial("WD02"), None),
        ),
        destination=Destination.parse("data/größe/"),
        disposition=Disposition.RENAME,
        diagnostics=ContainerName("logs"),
        log_level=LogLevel.VERBOSE,
        backup_manifest=True,
        allow_unencrypted=True,
    )
    filed = await catalog.create_job(asked, ship=False, who=WHO)
    assert filed == await catalog.job(name("harbour-1"))
    assert filed.name == asked.name
    assert filed.state is JobState.CREATING
    assert filed.drives == (
        Drive(serial("WD 01"), manifest_file="\\m.xml", manifest_hash="a" * 32, header_hash="head"),
        Drive(serial("WD02")),
    )
    assert [str(drive.serial) for drive in filed.drives] == ["WD 01", "WD02"]
    assert filed.destination == asked.destination
    assert filed.disposition is Disposition.RENAME
    assert filed.diagnostics == ContainerName("logs")
    assert filed.log_level is LogLevel.VERBOSE
    assert filed.backup_manifest
    assert filed.allow_unencrypted
    assert not filed.cancel_requested
    assert filed.created == filed.updated == datetime(2024, 2, 3, 12, 0, 1, tzinfo=UTC)


async def test_job_outlives_the_process(tmp_path: Path) -> None:
    async with opened(tmp_path) as first:
        filed = await first.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    async with opened(tmp_path) as second:
        assert await second.job(name()) == filed
        assert await second.credential(name(), serial("A")) == RecoveryPassword.parse(KEY)


async def test_job_filed_to_ship_is_in_shipping(catalog: Catalog) -> None:
    filed = await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    assert filed.state is JobState.SHIPPING
    assert [event.what for event in await catalog.history(name())] == ["job.create", "job.ship"]


async def test_job_is_shipped_once(catalog: Catalog) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=False, who=WHO)
    assert (await catalog.ship_job(name(), WHO)).state is JobState.SHIPPING
    told = await catalog.history(name())
    assert (await catalog.ship_job(name(), WHO)).state is JobState.SHIPPING
    assert await catalog.history(name()) == told


async def test_second_job_of_a_name_is_refused(catalog: Catalog) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=False, who=WHO)
    with pytest.raises(JobExists, match="ship-1"):
        await catalog.create_job(spec("ship-1", "B"), ship=False, who=WHO)
    assert await catalog.find_drive(serial("B")) == []


async def test_serial_that_an_open_job_waits_for_is_refused_however_it_is_spaced(catalog: Catalog) -> None:
    await catalog.create_job(spec("ship-1", "WD 01"), ship=True, who=WHO)
    with pytest.raises(SerialConflict, match="WD 01 is already specified by the open job ship-1"):
        await catalog.create_job(spec("ship-2", "OTHER", "WD01"), ship=True, who=WHO)
    with pytest.raises(JobNotFound):
        await catalog.job(name("ship-2"))
    assert await catalog.find_drive(serial("OTHER")) == []


@pytest.mark.parametrize("missed", [False, True])
async def test_serial_is_free_again_once_its_job_is_cancelled(catalog: Catalog, missed: bool) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    if missed:
        await walk(catalog, "ship-1", "A", DriveEvent.MISS)
    await catalog.cancel_job(name(), WHO)
    await catalog.create_job(spec("ship-2", "A"), ship=True, who=WHO)
    found = await catalog.find_drive(serial("A"))
    assert [str(job.name) for job, _ in found] == ["ship-2", "ship-1"]


async def test_serial_is_free_again_once_it_was_copied(catalog: Catalog) -> None:
    await catalog.create_job(spec("ship-1", "A", "B"), ship=True, who=WHO)
    await walk(catalog, "ship-1", "A", *TO_THE_END)
    await catalog.create_job(spec("ship-2", "A"), ship=True, who=WHO)
    with pytest.raises(SerialConflict, match="drive B"):
        await catalog.create_job(spec("ship-3", "B"), ship=True, who=WHO)


async def test_serial_is_free_again_once_nobody_answered(catalog: Catalog, clock: Ticking) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    await nobody_answers(catalog, clock)
    assert (await catalog.job(name())).state is JobState.CLOSED
    await catalog.create_job(spec("ship-2", "A"), ship=True, who=WHO)
    found = await catalog.find_drive(serial("A"))
    assert [str(job.name) for job, _ in found] == ["ship-2", "ship-1"]


async def test_drive_that_still_waits_is_found_before_newer_jobs_that_are_done_with_it(
    catalog: Catalog,
) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    await walk(catalog, "ship-1", "A", *TO_THE_END)
    await catalog.create_job(spec("ship-2", "A"), ship=True, who=WHO)
    await catalog.cancel_job(name("ship-2"), WHO)
    await catalog.create_job(spec("ship-3", "A"), ship=True, who=WHO)
    await walk(catalog, "ship-3", "A", *TO_THE_END)
    await catalog.create_job(spec("ship-4", "A"), ship=True, who=WHO)
    await catalog.create_job(spec("ship-5", "B"), ship=True, who=WHO)
    found = await catalog.find_drive(serial(" A "))
    assert [str(job.name) for job, _ in found] == ["ship-4", "ship-3", "ship-2", "ship-1"]
    assert [drive.state for _, drive in found] == [
        DriveState.SPECIFIED,
        DriveState.COMPLETED,
        DriveState.SPECIFIED,
        DriveState.COMPLETED,
    ]


async def test_cancel_sets_the_flag_and_leaves_the_state(catalog: Catalog) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    cancelled = await catalog.cancel_job(name(), "someone")
    assert cancelled.cancel_requested
    assert cancelled.state is JobState.SHIPPING
    assert await catalog.cancel_job(name(), "someone else") == cancelled
    assert [(event.what, event.who) for event in await catalog.history(name())][2:] == [
        ("job.cancel", "someone")
    ]


async def test_cancel_is_refused_once_the_drives_are_processed(catalog: Catalog) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    await walk(catalog, "ship-1", "A", *TO_THE_END)
    with pytest.raises(MoveRefused, match="job ship-1 is in Packaging: it is copied already"):
        await catalog.cancel_job(name(), WHO)


async def test_job_that_is_not_there_is_named(catalog: Catalog) -> None:
    missing = name("no-such-job")
    for call in (
        catalog.job(missing),
        catalog.ship_job(missing, WHO),
        catalog.cancel_job(missing, WHO),
        catalog.delete_job(missing, who=WHO),
        catalog.update_job(missing, JobChanges(cancel=True), who=WHO),
        catalog.replace_job(spec("no-such-job", "A"), who=WHO, papers=NO_PAPERS),
        catalog.receive_drive(missing, serial("A"), who=WHO),
        catalog.receive_job(missing, who=WHO),
        catalog.miss_drive(missing, serial("A"), who=WHO),
        catalog.ship_back_drive(missing, serial("A"), who=WHO),
        catalog.ship_back_job(missing, who=WHO),
        catalog.fault_drive(missing, serial("A"), who=WHO, note="x"),
        catalog.resolve_drive(missing, serial("A"), who=WHO, note="x"),
        catalog.fault_job(missing, who=WHO, note="x"),
        catalog.resolve_job(missing, who=WHO, note="x"),
        catalog.extend_job(missing, who=WHO),
        catalog.note_extra(serial("A"), came_with=missing, who=WHO),
        catalog.history(missing),
        catalog.credential(missing, serial("A")),
        catalog.move_drive(missing, serial("A"), DriveEvent.ARRIVE, who=WHO),
    ):
        with pytest.raises(JobNotFound, match="no-such-job"):
            await call


async def test_jobs_come_in_the_order_they_were_filed_over_all_pages(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing_module, "PAGE_JOBS", 3)
    for count in (0, 1, 3, 7):
        names = [str(job.name) async for job in catalog.jobs()]
        while len(names) < count:
            names.append(f"job-{9 - len(names)}")
            await catalog.create_job(spec(names[-1], f"S{len(names)}", f"T{len(names)}"), ship=True, who=WHO)
        assert [str(job.name) async for job in catalog.jobs()] == names
    listed = await catalog.list_drives()
    assert [(str(job.name), str(drive.serial)) for job, drive in listed][:3] == [
        ("job-9", "S1"),
        ("job-9", "T1"),
        ("job-8", "S2"),
    ]
    assert len(listed) == 14


@pytest.mark.parametrize(
    "credential",
    [
        RecoveryPassword.parse(KEY),
        Password(Secret("größe\n two lines ")),
        StartupKey.from_bytes(bytes(range(256))),
        ClearKey(),
    ],
    ids=lambda credential: type(credential).__name__,
)
async def test_key_is_given_back_as_it_was_filed(catalog: Catalog, credential: Credential) -> None:
    await catalog.create_job(spec("ship-1", "A", credential=credential), ship=True, who=WHO)
    assert await catalog.credential(name(), serial("A")) == credential


async def test_password_that_is_no_valid_unicode_is_given_back_too(catalog: Catalog) -> None:
    odd = Password(Secret("half \ud800 a character"))
    await catalog.create_job(spec("ship-1", "A", credential=odd), ship=True, who=WHO)
    found = await catalog.credential(name(), serial("A"))
    assert isinstance(found, Password)
    assert found.secret.reveal() == odd.secret.reveal()


async def test_drive_without_key_has_none(catalog: Catalog) -> None:
    bare = JobSpec(name(), (DriveSpec(serial("A"), None),), Destination.parse("data"), allow_unencrypted=True)
    await catalog.create_job(bare, ship=True, who=WHO)
    assert await catalog.credential(name(), serial("A")) is None


async def test_key_of_a_drive_that_the_job_does_not_specify_is_refused(catalog: Catalog) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    with pytest.raises(SerialNotSpecified, match="job ship-1 does not specify drive B"):
        await catalog.credential(name(), serial("B"))


async def test_history_tells_who_did_what_when_to_which_drive(catalog: Catalog) -> None:
    await catalog.create_job(spec("ship-1", "W D"), ship=True, who="clerk")
    await catalog.move_drive(name(), serial("W D"), DriveEvent.ARRIVE, who="station", detail="bay 3")
    told = await catalog.history(name())
    assert [(event.who, event.serial, event.what, event.detail) for event in told] == [
        ("clerk", None, "job.create", ""),
        ("clerk", None, "job.ship", "brought by hand: no package, no return address"),
        ("station", "WD", "drive.arrive", "bay 3"),
        ("station", None, "job.all_received", ""),
    ]
    times = [event.at for event in told]
    assert times == sorted(times)
    assert all(at.tzinfo is UTC for at in times)


async def test_drive_of_no_job_is_written_down(catalog: Catalog) -> None:
    await catalog.record_event("drive.extra", who="station", serial=serial("X 9"), detail="bay 1")
    told = await catalog.drive_history(serial("X9"))
    assert [(event.job, event.serial, event.what) for event in told] == [(None, "X9", "drive.extra")]


async def test_detail_from_a_hostile_drive_stays_one_line_of_bounded_length(catalog: Catalog) -> None:
    detail = "a\nb\x1b[2J\ud800\u202e" + "x" * 10_000
    await catalog.record_event("drive.extra", who="st\nation", serial=serial("X"), detail=detail)
    event = (await catalog.drive_history(serial("X")))[0]
    assert event.detail.startswith("a\\nb\\x1b[2J\\ud800\\u202e")
    assert event.detail.isprintable()
    assert len(event.detail) == 2000
    assert event.who == "st\\nation"


async def test_manifest_path_with_half_a_character_is_refused(catalog: Catalog) -> None:
    drive = DriveSpec(serial("A"), RecoveryPassword.parse(KEY), "\\m\ud800.xml")
    with pytest.raises(MalformedInput, match="drive A"):
        await catalog.create_job(JobSpec(name(), (drive,)), ship=True, who=WHO)
    assert [job async for job in catalog.jobs()] == []
