"""What customers change of their jobs, until when, and how jobs are found."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.catalog import Catalog, JobQuery
from agent.errors import JobNotFound, MalformedInput, MoveRefused, SerialConflict
from agent.model.codes import LogLevel
from agent.model.job import DriveSpec, JobChanges, JobSpec
from agent.model.keys import Password, RecoveryPassword
from agent.model.papers import NO_PAPERS, Address, Package, Papers, ReturnShipping
from agent.model.secrets import Secret
from agent.model.states import DriveEvent, JobState
from tests.unit.catalog_cases import KEY, WHO, name, opened_at_once, serial, spec, walk

HOME = Address("A. Person", "1 Quay", "Port", "00001", "XX", "1000000000", "a@example.com")
PACKAGE = Package("FedEx", "TRK1", 1, "2/1/2024 9:05:00 PM")
PAPERS = Papers(
    "SUB-1",
    "Ingest",
    "West US",
    {"owner": "harbour"},
    "/subscriptions/x",
    "tenant",
    HOME,
    ReturnShipping("FedEx", "000"),
    PACKAGE,
    None,
    {"city": "Port"},
    {"kekType": "MicrosoftManaged"},
)
ARRIVE, BEGIN = DriveEvent.ARRIVE, DriveEvent.BEGIN


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    async with opened_at_once(tmp_path) as catalog:
        yield catalog


async def whats(catalog: Catalog) -> list[tuple[str, str]]:
    return [(event.what, event.detail) for event in await catalog.history(name())]


async def test_papers_come_back_as_they_were_filed(catalog: Catalog) -> None:
    filed = await catalog.create_job(spec("ship-1", "A"), ship=False, who=WHO, papers=PAPERS)
    assert filed.papers == PAPERS
    await catalog.create_job(spec("ship-2", "B"), ship=False, who=WHO)
    assert (await catalog.job(name("ship-2"))).papers == NO_PAPERS


@pytest.mark.parametrize(
    ("papers", "lacks"),
    [
        (NO_PAPERS, "it has no deliveryPackage and no returnAddress"),
        (replace(PAPERS, return_address=None), "it has no returnAddress"),
        (replace(PAPERS, delivery_package=None), "it has no deliveryPackage"),
    ],
)
async def test_a_job_ships_with_a_package_and_a_return_address(
    catalog: Catalog, papers: Papers, lacks: str
) -> None:
    with pytest.raises(MoveRefused, match=f"job ship-1 cannot ship yet: {lacks}$"):
        await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO, papers=papers, by_hand=False)
    with pytest.raises(JobNotFound):
        await catalog.job(name())
    await catalog.create_job(spec("ship-1", "A"), ship=False, who=WHO, papers=papers)
    with pytest.raises(MoveRefused, match=lacks):
        await catalog.update_job(name(), JobChanges(ship=True), who=WHO)
    both = JobChanges(ship=True, delivery_package=PACKAGE, return_address=HOME)
    shipped = await catalog.update_job(name(), both, who=WHO)
    assert (shipped.state, shipped.papers.delivery_package) == (JobState.SHIPPING, PACKAGE)


async def test_a_job_that_was_filed_by_the_api_is_not_taken_as_brought_by_hand(catalog: Catalog) -> None:
    papers = replace(PAPERS, delivery_package=None)
    await catalog.create_job(spec("ship-1", "A"), ship=False, who=WHO, papers=papers)
    with pytest.raises(MoveRefused, match="no deliveryPackage"):
        await catalog.ship_job(name(), WHO)
    assert (await catalog.ship_job(name(), WHO, by_hand=True, note="at the gate")).state is JobState.SHIPPING
    assert (await whats(catalog))[-1] == (
        "job.ship",
        "brought by hand: no package, no return address; at the gate",
    )


async def test_an_update_is_done_whole_or_not_at_all(catalog: Catalog) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=False, who=WHO, papers=NO_PAPERS)
    before, history = await catalog.job(name()), await whats(catalog)
    changes = JobChanges(tags={"a": "b"}, log_level=LogLevel.VERBOSE, cancel=True, ship=True)
    with pytest.raises(MoveRefused):
        await catalog.update_job(name(), changes, who=WHO)
    assert await catalog.job(name()) == before
    assert await whats(catalog) == history


async def test_an_update_tells_what_was_changed_and_no_address(catalog: Catalog) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=False, who=WHO)
    changes = JobChanges(
        tags={"a": "b"},
        return_address=HOME,
        return_shipping=ReturnShipping("FedEx", "000"),
        delivery_package=PACKAGE,
        log_level=LogLevel.VERBOSE,
        backup_manifest=True,
        cancel=True,
        ship=True,
    )
    updated = await catalog.update_job(name(), changes, who=WHO, note="please")
    assert (updated.state, updated.cancel_requested) == (JobState.SHIPPING, True)
    assert (updated.log_level, updated.backup_manifest) == (LogLevel.VERBOSE, True)
    assert await whats(catalog) == [
        ("job.create", ""),
        ("job.update", "its two weeks begin anew"),
        ("job.update_papers", "tags, returnAddress, returnShipping, deliveryPackage"),
        ("job.update_options", "logLevel Verbose, backupManifest True"),
        ("job.cancel", "please"),
        ("job.ship", "please"),
    ]
    again = await catalog.update_job(name(), changes, who=WHO)
    assert replace(again, updated=updated.updated) == updated
    assert len(await whats(catalog)) == 6


@pytest.mark.parametrize("begun", [False, True])
async def test_options_change_until_a_drive_begins_and_papers_until_the_end(
    catalog: Catalog, begun: bool
) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    await walk(catalog, "ship-1", "A", ARRIVE, *([BEGIN] if begun else []))
    options = JobChanges(log_level=LogLevel.VERBOSE)
    if begun:
        with pytest.raises(MoveRefused, match="may have a drive that began under the old settings"):
            await catalog.update_job(name(), options, who=WHO)
        await walk(catalog, "ship-1", "A", DriveEvent.FINISH_CLEAN)
    else:
        assert (await catalog.update_job(name(), options, who=WHO)).log_level is LogLevel.VERBOSE
        await walk(catalog, "ship-1", "A", BEGIN, DriveEvent.FINISH_CLEAN)
    moved = await catalog.update_job(name(), JobChanges(return_address=HOME), who=WHO)
    assert moved.papers.return_address == HOME
    await walk(catalog, "ship-1", "A", DriveEvent.SHIP_BACK)
    with pytest.raises(MoveRefused, match="in Completed: it has ended"):
        await catalog.update_job(name(), JobChanges(tags={"a": "b"}), who=WHO)


async def test_drives_are_exchanged_while_the_job_is_not_shipped_and_keep_their_keys(
    catalog: Catalog,
) -> None:
    await catalog.create_job(spec("ship-1", "A", "B"), ship=False, who=WHO)
    new = (
        DriveSpec(serial("C"), Password(Secret("pw"))),
        DriveSpec(serial("B"), None, "\\new.xml", "a" * 32),
    )
    changed = await catalog.update_job(name(), JobChanges(drives=new), who=WHO)
    assert [(str(one.serial), one.manifest_file) for one in changed.drives] == [
        ("C", None),
        ("B", "\\new.xml"),
    ]
    assert await catalog.credentials(name()) == [
        (serial("C"), Password(Secret("pw"))),
        (serial("B"), RecoveryPassword.parse(KEY)),
    ]
    assert (await whats(catalog))[-1] == ("job.update_drives", "drives C, B")
    await catalog.ship_job(name(), WHO)
    with pytest.raises(MoveRefused, match="is shipped: its drives are as they are"):
        await catalog.update_job(name(), JobChanges(drives=new), who=WHO)


async def test_a_drive_without_key_that_had_none_is_refused_and_nothing_is_changed(catalog: Catalog) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=False, who=WHO)
    before = await catalog.job(name())
    for drives in ((DriveSpec(serial("B"), None),), ()):
        with pytest.raises(MalformedInput):
            await catalog.update_job(name(), JobChanges(drives=drives), who=WHO)
    assert await catalog.job(name()) == before


async def test_drives_of_another_open_job_are_refused(catalog: Catalog) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=False, who=WHO)
    await catalog.create_job(spec("ship-2", "B"), ship=False, who=WHO)
    taken = (DriveSpec(serial("A"), None), DriveSpec(serial("B"), RecoveryPassword.parse(KEY)))
    with pytest.raises(SerialConflict, match="drive B is already specified by the open job ship-2"):
        await catalog.update_job(name(), JobChanges(drives=taken), who=WHO)
    with pytest.raises(SerialConflict):
        await catalog.replace_job(spec("ship-1", "A", "B"), who=WHO, papers=PAPERS)


async def test_a_job_is_replaced_while_it_is_not_shipped(catalog: Catalog) -> None:
    filed = await catalog.create_job(spec("ship-1", "A"), ship=False, who=WHO, papers=PAPERS)
    drives = (DriveSpec(serial("A"), None, "\\m.xml"), DriveSpec(serial("B"), RecoveryPassword.parse(KEY)))
    asked = JobSpec(name(), drives, filed.destination, log_level=LogLevel.VERBOSE, keeps_keys=True)
    papers = replace(PAPERS, location="East US", tags={})
    replaced = await catalog.replace_job(asked, who=WHO, papers=papers)
    assert (replaced.created, replaced.papers, replaced.log_level) == (
        filed.created,
        papers,
        LogLevel.VERBOSE,
    )
    assert [key for _, key in await catalog.credentials(name())] == [RecoveryPassword.parse(KEY)] * 2
    await catalog.ship_job(name(), WHO)
    with pytest.raises(MoveRefused, match="job ship-1 is in Shipping: it is shipped"):
        await catalog.replace_job(asked, who=WHO, papers=papers)


async def test_a_job_that_keeps_keys_that_it_does_not_have_is_refused(catalog: Catalog) -> None:
    bare = replace(spec("ship-1", "A"), drives=(DriveSpec(serial("A"), None),), keeps_keys=True)
    with pytest.raises(MalformedInput, match="drive A has no BitLocker key"):
        await catalog.create_job(bare, ship=False, who=WHO)


@pytest.mark.parametrize("state", ["Creating", "Completed", "Closed"])
async def test_a_job_that_has_no_drives_here_is_deleted_with_its_keys(
    tmp_path: Path, catalog: Catalog, state: str
) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=state != "Creating", who=WHO)
    end = DriveEvent.FINISH_CLEAN if state == "Completed" else DriveEvent.FINISH_WITH_FINDINGS
    if state != "Creating":
        await walk(catalog, "ship-1", "A", ARRIVE, BEGIN, end, DriveEvent.SHIP_BACK)
    assert (await catalog.job(name())).state == state
    await catalog.delete_job(name(), who=WHO, note="no longer wanted")
    with pytest.raises(JobNotFound):
        await catalog.job(name())
    assert (await whats(catalog))[-1] == ("job.delete", "no longer wanted")
    connection = sqlite3.connect(tmp_path / "catalog.sqlite")
    assert connection.execute("SELECT count(*) FROM drive").fetchone() == (0,)
    connection.close()


async def test_a_job_with_drives_on_their_way_or_here_is_not_deleted(catalog: Catalog) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    steps = (ARRIVE, BEGIN, DriveEvent.FINISH_CLEAN)
    for event in (None, *steps):
        if event is not None:
            await walk(catalog, "ship-1", "A", event)
        with pytest.raises(MoveRefused, match="it has drives on their way or here"):
            await catalog.delete_job(name(), who=WHO)


async def filed(catalog: Catalog, job: str, drive: str, papers: Papers, *, ship: bool = False) -> None:
    await catalog.create_job(spec(job, drive), ship=ship, who=WHO, papers=papers)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (JobQuery(), ["a-1", "a-2", "b-1", "none"]),
        (JobQuery("sub-A"), ["a-1", "a-2"]),
        (JobQuery("SUB-a", "GROUP-1"), ["a-1"]),
        (JobQuery("sub-c"), []),
        (JobQuery("sub-b", with_unfiled=True), ["b-1", "none"]),
        (JobQuery("sub-a", "group-2", with_unfiled=True), ["a-2", "none"]),
        (JobQuery(state=JobState.SHIPPING), ["a-2", "none"]),
        (JobQuery("sub-a", state=JobState.CREATING), ["a-1"]),
        (JobQuery(tracking_number="T-2"), ["a-2"]),
        (JobQuery(tracking_number="t-2"), []),
    ],
)
async def test_jobs_are_found_by_where_they_stand_their_state_and_their_package(
    catalog: Catalog, query: JobQuery, found: list[str]
) -> None:
    await filed(catalog, "a-1", "A", Papers("Sub-A", "Group-1"))
    two = Papers("sub-a", "group-2", delivery_package=Package("FedEx", "T-2"))
    await filed(catalog, "a-2", "B", two, ship=True)
    await filed(catalog, "b-1", "C", Papers("sub-b", "group-1"))
    await filed(catalog, "none", "D", NO_PAPERS, ship=True)
    page = await catalog.find_jobs(query)
    assert ([str(job.name) for job in page.jobs], page.next) == (found, None)


async def test_pages_of_jobs_hold_each_job_once_also_while_jobs_are_filed(catalog: Catalog) -> None:
    for number in range(7):
        await filed(catalog, f"job-{number}", f"S{number}", Papers("sub", "group"))
    seen: list[str] = []
    after: str | None = None
    while True:
        page = await catalog.find_jobs(JobQuery("sub"), after=after, size=3)
        seen += [str(job.name) for job in page.jobs]
        if len(seen) == 6:
            await filed(catalog, "job-7", "S7", Papers("sub", "group"))
        after = page.next
        if after is None:
            break
        assert after.replace("-", "").isalnum()
    assert seen == [f"job-{number}" for number in range(8)]


@pytest.mark.parametrize(
    "token", ["", "x", "1", "1-", "-1-2", "1-2-3", "9" * 30 + "-1", "999999999999999999-1", "1-²"]
)
async def test_a_place_in_a_list_that_no_page_gave_is_refused(catalog: Catalog, token: str) -> None:
    with pytest.raises(MalformedInput, match="no place in a list of jobs"):
        await catalog.find_jobs(after=token)


async def test_papers_of_a_job_are_shown_by_no_repr(catalog: Catalog) -> None:
    job = await catalog.create_job(spec("ship-1", "A"), ship=False, who=WHO, papers=PAPERS)
    for told in (repr(job), repr(PAPERS), repr(JobChanges(return_address=HOME))):
        assert not any(secret in told for secret in ("Person", "Quay", "1000000000", "example.com", "TRK1"))
