"""The catalog on PostgreSQL: the same schema, the same rules, one history whoever writes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, create_engine

from agent.catalog import open_catalog, schema
from agent.catalog.migrate import REVISIONS, migrate
from agent.catalog.server import Server
from agent.errors import DriveBusy, MoveRefused, StateUnusable
from agent.model.keys import RecoveryPassword
from agent.model.secrets import Secret
from agent.model.states import DriveEvent, DriveState, JobState
from tests.integration.fleet_cases import Fleet
from tests.unit.catalog_cases import CLEAN, KEY, WHO, name, serial, spec, walk
from tests.unit.test_catalog_migrations import HELD, made_by


async def test_a_job_walks_to_its_end_on_a_server(fleet: Fleet) -> None:
    async with fleet.station() as catalog:
        await catalog.create_job(spec("ship-1", "WD 01", "WD 02"), ship=True, who=WHO)
        for one in ("WD01", "WD02"):
            job = await walk(
                catalog, "ship-1", one, DriveEvent.ARRIVE, DriveEvent.BEGIN, DriveEvent.FINISH_CLEAN
            )
        assert job.state is JobState.PACKAGING
        assert job.percent_complete == 100
        assert (await catalog.ship_back_job(name(), who=WHO)).state is JobState.COMPLETED
        assert await catalog.credential(name(), serial("WD01")) == RecoveryPassword.parse(KEY)
        check = await catalog.verify_history()
        assert (check.broken, check.events) == (None, len(await catalog.history(name())))
        assert (await catalog.find_jobs()).jobs == [await catalog.job(name())]
    assert KEY.encode() not in b"".join(row[0] or b"" for row in fleet.sql("SELECT sealed_key FROM drive"))


async def test_stations_that_write_at_once_write_one_chain(fleet: Fleet) -> None:
    async def use(number: int) -> None:
        async with fleet.station(f"station-{number}") as catalog:
            for job in range(3):
                drive = f"s{number}{job}"
                await catalog.create_job(spec(f"ship-{drive}", drive), ship=True, who=WHO)
                await walk(catalog, f"ship-{drive}", drive, DriveEvent.ARRIVE, DriveEvent.BEGIN)

    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(use(number))
    async with fleet.station() as catalog:
        check = await catalog.verify_history()
        assert check.broken is None
        told = await catalog.events_after(0, limit=1000)
        assert [event.id for event in told] == list(range(1, check.events + 1))
        assert {event.origin for event in told} == {f"station station-{number}" for number in range(4)}


@pytest.mark.parametrize("verb", ["UPDATE event SET who = 'nobody'", "DELETE FROM event", "TRUNCATE event"])
async def test_events_are_only_ever_added_on_a_server_too(fleet: Fleet, verb: str) -> None:
    import psycopg

    async with fleet.station() as catalog:
        await catalog.create_job(spec("ship-1", "S1"), ship=False, who=WHO)
        with pytest.raises(psycopg.errors.RaiseException, match="only ever added"):
            await asyncio.to_thread(fleet.sql, verb)


async def test_a_station_with_another_key_or_none_is_told_so(fleet: Fleet, tmp_path: Path) -> None:
    async with fleet.station() as catalog:
        await catalog.create_job(spec("ship-1", "S1"), ship=False, who=WHO)
    own = fleet.key_file
    fleet.key_file = tmp_path / "none.key"
    with pytest.raises(StateUnusable, match=r"none.key is (gone|missing)"):
        async with fleet.station("two"):
            pass
    assert not fleet.key_file.exists()
    fleet.key_file.write_bytes(bytes(32))
    fleet.key_file.chmod(0o600)
    with pytest.raises(StateUnusable, match=r"is not that of catalog .*copy that of another"):
        async with fleet.station("two"):
            pass
    fleet.key_file.write_bytes(own.read_bytes())
    async with fleet.station("two") as catalog:
        assert (await catalog.job(name())).name == name()


async def test_a_server_that_is_not_there_is_one_clear_line(fleet: Fleet) -> None:
    fleet.database = "elsewhere"
    with pytest.raises(StateUnusable) as caught:
        async with fleet.station():
            pass
    assert "elsewhere" in caught.value.detail
    assert "\n" not in caught.value.detail


@pytest.mark.parametrize("version", REVISIONS)
async def test_a_server_of_any_version_is_brought_up_to_date_with_all_it_held(
    fleet: Fleet, tmp_path: Path, version: str
) -> None:
    await asyncio.to_thread(_fill, fleet, version, tmp_path)
    async with fleet.station() as catalog:
        job = await catalog.job(name())
        assert (job.state, job.drive(serial("WD01")).state) == (
            JobState.TRANSFERRING,
            DriveState.TRANSFERRING,
        )
        assert job.created.isoformat() == "2024-02-03T12:00:00+00:00"
        assert (await catalog.verify_history()).broken is None
        done = await catalog.move_drive(name(), serial("WD01"), DriveEvent.FINISH_CLEAN, who=WHO, tally=CLEAN)
        assert done.state is JobState.PACKAGING
        check = await catalog.verify_history()
        assert (check.broken, check.chained_later) == (None, 1)
    await asyncio.to_thread(_compare, fleet)


def _fill(fleet: Fleet, version: str, folder: Path) -> None:
    """What the sample of this version holds in SQLite, at the same version of the schema."""
    import sqlite3

    path = made_by(version, folder)
    with sqlite3.connect(path) as file:
        file.executescript(HELD[version])
    file.close()
    source, target = create_engine(f"sqlite:///{path}"), fleet.server("migration").engine(10)
    with source.connect() as held, target.begin() as connection:
        migrate(connection, version)
        tables = MetaData()
        tables.reflect(connection)
        for table in tables.sorted_tables:
            if table.name != "alembic_version" and (rows := held.execute(table.select()).mappings().all()):
                connection.execute(table.insert(), [dict(row) for row in rows])
    source.dispose()
    target.dispose()


def _compare(fleet: Fleet) -> None:
    engine = fleet.server("comparison").engine(10)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()


async def test_a_claimed_drive_is_refused_to_others_until_it_is_given_up(fleet: Fleet) -> None:
    async with fleet.station("one") as one, fleet.station("two") as two:
        await one.create_job(spec("ship-1", "S1"), ship=True, who=WHO)
        claim, job = await one.claim_drive(fleet.server("one"), name(), serial("S1"))
        assert job.state is JobState.SHIPPING
        with pytest.raises(DriveBusy, match="S1 of job ship-1 is held by station one"):
            await two.claim_drive(fleet.server("two"), name(), serial("S1"))
        (shown,) = await two.claims()
        assert (shown.serial, shown.job, shown.station) == ("S1", "ship-1", "one")
        assert (shown.until - shown.taken).total_seconds() == pytest.approx(600, abs=5)
        await one.renew_claim(claim)
        await one.give_up_claim(claim)
        taken, _ = await two.claim_drive(fleet.server("two"), name(), serial("S1"))
        assert taken.epoch == claim.epoch + 1
        with pytest.raises(DriveBusy, match="went on in station two"):
            await one.renew_claim(claim)
        await one.give_up_claim(claim)
        assert [shown.station for shown in await one.claims()] == ["two"]


async def test_a_drive_that_is_finished_meanwhile_is_not_claimed(fleet: Fleet) -> None:
    async with fleet.station("one") as one:
        await one.create_job(spec("ship-1", "S1"), ship=True, who=WHO)
        await walk(one, "ship-1", "S1", DriveEvent.ARRIVE, DriveEvent.BEGIN, DriveEvent.FINISH_CLEAN)
        with pytest.raises(MoveRefused, match="is in Completed by now"):
            await one.claim_drive(fleet.server("one"), name(), serial("S1"))
        assert await one.claims() == []


CANARY = "canary-of-the-database"


def _ingest_agent(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from agent.cli.main import main; main()",
            "--config",
            str(tmp_path / "agent.toml"),
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


async def test_commands_use_the_server_of_the_settings_and_no_message_holds_its_password(
    fleet: Fleet, tmp_path: Path
) -> None:
    for statement in (
        f"CREATE ROLE guarded LOGIN PASSWORD '{CANARY}'",
        f"ALTER DATABASE {fleet.database} OWNER TO guarded",
    ):
        await asyncio.to_thread(fleet.host.sql, statement)
    password = tmp_path / "password"
    password.write_text(CANARY)
    password.chmod(0o600)
    url = fleet.host.url(fleet.database).replace("tester@", "guarded@")
    (tmp_path / "agent.toml").write_text(
        f'state_dir = "{tmp_path}/state"\nkey_file = "{fleet.key_file}"\n'
        f'[catalog]\nurl = "{url}"\npassword_file = "{password}"\nstation = "hall-2"\n'
    )
    filed = await asyncio.to_thread(
        _ingest_agent,
        tmp_path,
        "job",
        "create",
        "box-7",
        "--drive",
        "S1",
        "--to",
        "data",
        "--allow-unencrypted",
    )
    assert filed.returncode == 0, filed.stderr
    assert not (tmp_path / "state/catalog.sqlite").exists()
    assert fleet.sql("SELECT name FROM job") == [("box-7",)]
    server = Server(url, "hall-1", "another", 600.0, Secret(CANARY))
    async with open_catalog(server, fleet.key_file) as catalog:
        claim, _ = await catalog.claim_drive(server, name("box-7"), serial("S1"))
        listed = await asyncio.to_thread(_ingest_agent, tmp_path, "fleet", "claims")
        assert listed.stdout.startswith("S1  box-7  hall-1  since 20")
        released = await asyncio.to_thread(
            _ingest_agent, tmp_path, "fleet", "release", "S1", "--note", "burnt down"
        )
        assert released.stdout == "drive S1 is released: station hall-1 held it for job box-7\n"
        with pytest.raises(DriveBusy):
            await catalog.renew_claim(claim)
        assert await catalog.claims() == []
        last = (await catalog.drive_history(serial("S1")))[-1]
        assert (last.what, last.detail) == ("drive.released", "station hall-1 held it; burnt down")
        with pytest.raises(MoveRefused, match="no station holds drive S1"):
            await catalog.release_claim(serial("S1"), who=WHO, note="again")
    doctor = await asyncio.to_thread(_ingest_agent, tmp_path, "doctor", "--json")
    assert f"{fleet.database} at {fleet.host.folder} answers: PostgreSQL" in doctor.stdout
    password.write_text(f"{CANARY}-of-yesterday")
    doctor = await asyncio.to_thread(_ingest_agent, tmp_path, "doctor", "--json")
    assert f"catalog {fleet.database} at {fleet.host.folder} does not let this station in" in doctor.stdout
    assert CANARY not in doctor.stdout + doctor.stderr
    refused = await asyncio.to_thread(_ingest_agent, tmp_path, "job", "list")
    assert refused.returncode == 5
    assert "does not let this station in" in refused.stderr
    for done in (filed, refused):
        assert CANARY not in done.stdout + done.stderr
