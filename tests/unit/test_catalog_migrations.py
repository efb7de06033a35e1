"""Every schema version leads to today's, with what it held."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from agent.catalog import open_catalog, schema
from agent.catalog.books import utc_now
from agent.catalog.migrate import REVISIONS, migrate, script_config
from agent.model.blobs import AccessTier
from agent.model.going import NOT_GOING, Going
from agent.model.papers import NO_PAPERS, Package, Papers
from agent.model.states import DriveEvent, DriveState, JobState
from agent.model.tally import Count, Tally
from agent.model.treatment import AS_USUAL, Treatment
from agent.model.verification import NONE_VERIFIED, Verification, VerifiedCounts
from tests.unit.catalog_cases import CLEAN, WHO, name, opened, serial, spec, walk

# What a station's file held, written as that version wrote it. A version is added, never changed.
HELD = {
    "0001": """
        INSERT INTO job VALUES (7, 'ship-1', 'Transferring', 'data', 'box/', 'rename', 'waimportexport',
            'Verbose', 1, 1, 0, '2024-02-03 12:00:00.000000', '2024-02-03 12:30:00.000000');
        INSERT INTO drive VALUES (9, 7, 0, 'WD01', 'WD 01', 'Transferring', NULL, NULL, '\\m.xml', NULL, '',
            'InProgress', 40, 10, 1000, 4, 400, 0, 0, 0, 0, NULL, NULL, NULL);
        INSERT INTO event VALUES (1, '2024-02-03 12:00:00.000000', 'clerk', 'ship-1', NULL, 'job.create', '');
    """,
    "0002": """
        INSERT INTO job VALUES (7, 'ship-1', 'Transferring', 'data', 'box/', 'rename', 'waimportexport',
            'Verbose', 1, 1, 0, '2024-02-03 12:00:00.000000', '2024-02-03 12:30:00.000000', 0);
        INSERT INTO drive VALUES (9, 7, 0, 'WD01', 'WD 01', 'Transferring', NULL, NULL, '\\m.xml', NULL, '',
            'InProgress', 40, 10, 1000, 4, 400, 0, 0, 0, 0, NULL, NULL, NULL);
        INSERT INTO event VALUES (1, '2024-02-03 12:00:00.000000', 'clerk', 'ship-1', NULL, 'job.create', '');
    """,
    "0003": """
        INSERT INTO job VALUES (7, 'ship-1', 'Transferring', 'data', 'box/', 'rename', 'waimportexport',
            'Verbose', 1, 1, 0, '2024-02-03 12:00:00.000000', '2024-02-03 12:30:00.000000', 0,
            'readback:10%', 1, 1, 'Cool', 0);
        INSERT INTO drive VALUES (9, 7, 0, 'WD01', 'WD 01', 'Transferring', NULL, NULL, '\\m.xml', NULL, '',
            'InProgress', 40, 10, 1000, 4, 400, 0, 0, 0, 0, NULL, NULL, NULL, 3, 0, 1, 0, 0);
        INSERT INTO event VALUES (1, '2024-02-03 12:00:00.000000', 'clerk', 'ship-1', NULL, 'job.create', '');
    """,
    "0004": """
        INSERT INTO job VALUES (7, 'ship-1', 'Transferring', 'data', 'box/', 'rename', 'waimportexport',
            'Verbose', 1, 1, 0, '2024-02-03 12:00:00.000000', '2024-02-03 12:30:00.000000', 0,
            'readback:10%', 1, 1, 'Cool', 0);
        INSERT INTO drive VALUES (9, 7, 0, 'WD01', 'WD 01', 'Transferring', NULL, NULL, '\\m.xml', NULL, '',
            'InProgress', 40, 10, 1000, 4, 400, 0, 0, 0, 0, NULL, NULL, NULL, 3, 0, 1, 0, 0,
            'drive', 120000000, 90, 12, 3);
        INSERT INTO event VALUES (1, '2024-02-03 12:00:00.000000', 'clerk', 'ship-1', NULL, 'job.create', '');
    """,
    "0005": """
        INSERT INTO job VALUES (7, 'ship-1', 'Transferring', 'data', 'box/', 'rename', 'waimportexport',
            'Verbose', 1, 1, 0, '2024-02-03 12:00:00.000000', '2024-02-03 12:30:00.000000', 0,
            'readback:10%', 1, 1, 'Cool', 0,
            '1-2-3', 'ingest', 'TRK1', NULL, NULL,
            '{"subscription": "1-2-3", "resourceGroup": "Ingest",
               "deliveryPackage": {"carrierName": "FedEx", "trackingNumber": "TRK1"}}',
            40, '2024-02-17 12:00:00.000000', NULL);
        INSERT INTO drive VALUES (9, 7, 0, 'WD01', 'WD 01', 'Transferring', NULL, NULL, '\\m.xml', NULL, '',
            'InProgress', 40, 10, 1000, 4, 400, 0, 0, 0, 0, NULL, NULL, NULL, 3, 0, 1, 0, 0,
            'drive', 120000000, 90, 12, 3);
        INSERT INTO event VALUES (1, '2024-02-03 12:00:00.000000', 'clerk', 'ship-1', NULL, 'job.create', '',
            '', '', '9632b45b80e71f9fa6c54062184398009b3ab372d723b15c3bb623422e97af3f', NULL, NULL);
        INSERT INTO event VALUES (2, '2024-02-04 12:00:00.000000', 'migration', NULL, NULL, 'history.chained',
            '1 events of an older version were chained as they stood here', '',
            '9632b45b80e71f9fa6c54062184398009b3ab372d723b15c3bb623422e97af3f',
            '707ac4888fcbd1f8a7c46c3b233c1fff13250b263dc9d3d4f75e49b6cb258afc', NULL, NULL);
        INSERT INTO history_head VALUES (1, 2,
            '707ac4888fcbd1f8a7c46c3b233c1fff13250b263dc9d3d4f75e49b6cb258afc', NULL);
        INSERT INTO extra VALUES (1, 'X9', 'X 9', 'ship-1', '2024-02-03 12:00:00.000000', NULL, NULL);
    """,
}
HELD["0006"] = HELD["0005"]
"""That version added two tables, and changed none."""
_ASKED = Treatment(Verification.parse("readback:10%"), True, True, AccessTier.COOL, file_facts=False)
_FOUND = VerifiedCounts(transit=3, readback=1)
_WENT = Going("drive", 120_000_000, 90, throttled_requests=12, cut_requests=3)
_PAPERS = Papers("1-2-3", "Ingest", delivery_package=Package("FedEx", "TRK1"))
ASKED = {"0003": _ASKED, "0004": _ASKED, "0005": _ASKED, "0006": _ASKED}
FOUND = {"0003": _FOUND, "0004": _FOUND, "0005": _FOUND, "0006": _FOUND}
WENT = {"0004": _WENT, "0005": _WENT, "0006": _WENT}
PAPERS = {"0005": _PAPERS, "0006": _PAPERS}


def made_by(version: str, folder: Path) -> Path:
    path = folder / "catalog.sqlite"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        migrate(connection, version)
    engine.dispose()
    return path


def test_every_version_has_its_script_and_its_sample() -> None:
    scripts = ScriptDirectory.from_config(script_config())
    found = [script.revision for script in scripts.walk_revisions()]
    assert tuple(reversed(found)) == REVISIONS
    assert tuple(HELD) == REVISIONS


def test_migrations_lead_to_the_tables_that_the_program_uses(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{made_by(REVISIONS[-1], tmp_path)}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()


@pytest.mark.parametrize("version", REVISIONS)
async def test_catalog_of_any_version_is_brought_up_to_date_with_all_it_held(
    tmp_path: Path, version: str
) -> None:
    path = await asyncio.to_thread(made_by, version, tmp_path)
    connection = sqlite3.connect(path)
    connection.executescript(HELD[version])
    connection.close()
    async with opened(tmp_path) as catalog:
        job = await catalog.job(name())
        drive = job.drive(serial("WD 01"))
        assert job.state is JobState.TRANSFERRING
        assert str(job.destination) == "data/box/"
        assert job.created.isoformat() == "2024-02-03T12:00:00+00:00"
        assert drive.state is DriveState.TRANSFERRING
        assert drive.tally == Tally(Count(10, 1000), Count(4, 400))
        assert drive.percent_complete == 40
        assert drive.manifest_file == "\\m.xml"
        assert job.treatment == ASKED.get(version, AS_USUAL)
        assert drive.going == WENT.get(version, NOT_GOING)
        assert drive.verified == FOUND.get(version, NONE_VERIFIED)
        assert job.papers == PAPERS.get(version, NO_PAPERS)
        assert job.due is not None
        assert [extra.came_with for extra in await catalog.extras()] == (
            [name()] if version in PAPERS else []
        )
        assert [event.who for event in await catalog.history(name())] == ["clerk"]
        check = await catalog.verify_history()
        assert (check.events, check.broken, check.chained_later) == (2, None, 1)
        done = await catalog.move_drive(name(), serial("WD01"), DriveEvent.FINISH_CLEAN, who=WHO, tally=CLEAN)
        assert done.state is JobState.PACKAGING
        assert (await catalog.verify_history()).broken is None
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(REVISIONS[-1],)]
    connection.close()


async def test_clocks_of_an_old_catalog_begin_when_it_is_brought_up_to_date(tmp_path: Path) -> None:
    path = await asyncio.to_thread(made_by, "0004", tmp_path)
    connection = sqlite3.connect(path)
    connection.executescript(HELD["0004"].replace("'Transferring'", "'Creating'", 1))
    connection.close()
    before = utc_now()
    async with open_catalog(path, tmp_path / "key") as catalog:
        assert await catalog.look_at_clocks() == 0
        due = (await catalog.job(name())).due
        assert due is not None
        assert before + timedelta(days=14) <= due <= utc_now() + timedelta(days=14)


async def test_processes_that_open_a_new_catalog_at_once_make_one(tmp_path: Path) -> None:
    async def use(number: int) -> None:
        async with opened(tmp_path) as catalog:
            await catalog.create_job(spec(f"ship-{number}", f"S{number}"), ship=True, who=WHO)
            await walk(catalog, f"ship-{number}", f"S{number}", DriveEvent.ARRIVE)

    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(use(number))
    async with opened(tmp_path) as catalog:
        assert sorted([str(job.name) async for job in catalog.jobs()]) == [f"ship-{n}" for n in range(6)]


async def test_migration_that_is_interrupted_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr("alembic.op.create_index", interrupt)
        with pytest.raises(Interrupted):
            async with opened(tmp_path):
                pass
    connection = sqlite3.connect(tmp_path / "catalog.sqlite")
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    connection.close()
    async with opened(tmp_path) as catalog:
        assert [job async for job in catalog.jobs()] == []
