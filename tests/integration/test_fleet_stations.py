"""Stations with one catalog on PostgreSQL: a drive that moves, a station that dies, a server that is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.catalog import Catalog
from agent.catalog.connection import Connection
from agent.catalog.database import Database
from agent.catalog.drive_moves import drive_event
from agent.catalog.keeping import KeepingCatalog
from agent.catalog.turn import Turn
from agent.config import Settings, StoreSettings, TransferSettings
from agent.devices.fake import FakeSource
from agent.errors import DriveBusy, MoveRefused
from agent.model.destination import Destination
from agent.model.identity import SerialNumber
from agent.model.job import Drive, DriveSpec, JobSpec
from agent.model.states import DriveEvent, DriveState
from agent.model.tally import Count, Tally
from agent.station import lineup as lineup_module
from agent.station import station as station_module
from agent.station import visit as visit_module
from agent.station.clock import LoopClock
from agent.station.lease import Lease, machine_seconds, take_lease
from agent.station.visit import Visit
from agent.transfer.pair import Pair
from tests.integration.fleet_cases import Fleet
from tests.kit import images
from tests.kit.bench import EXPECTED_FILES, JOB, Bench
from tests.kit.jumping import JumpingClock
from tests.kit.log import KeptLog
from tests.unit.catalog_cases import CLEAN, WHO, name, serial, spec, walk
from tests.unit.test_visits import FINISHED, OPENED, STAYS, Script

S1 = SerialNumber.parse("S1")


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(station_module, "RECONCILE_EVERY_S", 0.1)
    monkeypatch.setattr(visit_module, "REPORT_AGAIN_S", 0.2)
    monkeypatch.setattr(lineup_module, "LOOK_FOR_LEASE_S", 0.1)


@asynccontextmanager
async def _station(fleet: Fleet, which: str, folder: Path) -> AsyncIterator[Bench]:
    """A machine of its own: nothing is common but the catalog, its key and the store."""
    settings = Settings(
        state_dir=folder / which,
        store=StoreSettings("directory", str(folder / "blobs")),
        transfer=TransferSettings(give_up_after_s=2),
    )
    settings.state_dir.mkdir()
    async with fleet.station(which) as catalog:
        yield Bench(catalog, FakeSource(), KeptLog(), settings, images.unpack("demo", folder / which))


@asynccontextmanager
async def _away(fleet: Fleet) -> AsyncIterator[None]:
    """The server has crashed, and comes back at the end."""
    await asyncio.to_thread(fleet.host.stop, "immediate")
    try:
        yield
    finally:
        await asyncio.to_thread(fleet.host.start)


def _is_completed(drive: Drive) -> bool:
    return drive.state is DriveState.COMPLETED


async def test_a_drive_that_is_plugged_into_two_stations_in_turn_goes_on_in_the_second(
    fleet: Fleet, tmp_path: Path
) -> None:
    async with _station(fleet, "one", tmp_path) as one, _station(fleet, "two", tmp_path) as two:
        await one.file_job("S1")
        async with one.running(), two.running():
            one.source.plug("1", one.image, "S1")
            await one.until_logged("opened")
            # Its twin, or the same drive before the first station is done with it.
            two.source.plug("7", two.image, "S1")
            await two.until_logged("drive.left_alone")
            assert two.log.named("opened") == []
            one.source.pull("1")
            drive = await two.until(_is_completed, "S1")
        (refusal,) = two.log.named("drive.left_alone")
        assert refusal["error"] == "DriveBusy"
        assert "S1 of job box is held by station one" in refusal["detail"]
        assert drive.tally.done.files == EXPECTED_FILES
        assert two.stored() == EXPECTED_FILES
        told = await two.catalog.history(JOB)
        moves = [(event.what, event.origin) for event in told if event.now and event.serial]
        assert moves == [
            ("drive.arrive", "station one"),
            ("drive.begin", "station one"),
            ("drive.finish_clean", "station two"),
        ]
        assert (await two.catalog.verify_history()).broken is None
        assert await two.catalog.claims() == []


async def test_a_station_that_died_loses_its_claim_and_another_goes_on(fleet: Fleet, tmp_path: Path) -> None:
    async with _station(fleet, "two", tmp_path) as two:
        await two.file_job("S1")
        await two.catalog.claim_drive(fleet.server("dead", lease_s=1.5), JOB, S1)
        await walk(two.catalog, "box", "S1", DriveEvent.ARRIVE, DriveEvent.BEGIN)
        async with two.running():
            two.source.plug("7", two.image, "S1")
            await two.until_logged("drive.left_alone")
            assert two.log.named("opened") == []
            drive = await two.until(_is_completed, "S1")
        assert "held by station dead" in two.log.named("drive.left_alone")[0]["detail"]
        assert drive.tally.done.files == EXPECTED_FILES


async def test_a_station_that_is_cut_off_finishes_what_it_has_and_reports_later(
    fleet: Fleet, tmp_path: Path
) -> None:
    async with _station(fleet, "one", tmp_path) as one:
        await one.file_job("S1")

        def crash(event: Mapping[str, Any]) -> None:
            if event["event"] == "opened":
                fleet.host.stop("immediate")

        async with one.running(watch=crash):
            one.source.plug("1", one.image, "S1")
            await one.until_logged("drive.report_waits")
            assert one.stored() == EXPECTED_FILES
            await asyncio.to_thread(fleet.host.start)
            drive = await one.until(_is_completed, "S1")
        assert len(one.log.named("opened")) == 1
        assert drive.tally.balances
        assert (await one.catalog.verify_history()).broken is None


class _Hold:
    """A visit with scripted pairs, whose lease is short."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, pairs: list[list[Any]]) -> None:
        self.script = Script(JumpingClock(), pairs)
        monkeypatch.setattr(Pair, "start", self.script.start)
        self.folder, self.log, self.source = folder, KeptLog(), FakeSource()

    async def visit(self, catalog: Catalog, fleet: Fleet, lease_s: float, settle_s: float) -> Visit:
        image = self.folder / "drive.img"
        image.write_bytes(bytes(4096))
        asked_at = machine_seconds()
        claim, job = await catalog.claim_drive(fleet.server("one", lease_s), name("box"), S1)
        lease = Lease(catalog, claim, asked_at, self.log, settle_s=settle_s)
        settings = Settings(self.folder / "state", StoreSettings("directory", str(self.folder / "blobs")))
        device = self.source.plug("1", image, "S1")
        return Visit(
            lease.catalog,
            self.source,
            settings,
            self.log,
            device,
            job,
            patient=True,
            clock=LoopClock(),
            lease=lease,
        )

    async def until(self, what: str) -> None:
        async with asyncio.timeout(60):
            while not self.log.named(what):  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_a_station_whose_lease_may_have_run_out_begins_nothing_until_it_is_renewed(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.station.retries.FIRST_WAIT_S", 0.05)
    hold = _Hold(tmp_path, monkeypatch, [[OPENED, STAYS], [OPENED, FINISHED]])
    async with fleet.station("one") as catalog:
        await catalog.create_job(_plain_job(), ship=True, who=WHO)
        visit = await hold.visit(catalog, fleet, lease_s=2.0, settle_s=1.0)
        running = asyncio.create_task(visit.run())
        await hold.until("opened")
        async with _away(fleet):
            await hold.until("drive.interrupted")
            await hold.until("drive.waits")
            await asyncio.sleep(0.5)
            assert len(hold.script.begun) == 1
        async with asyncio.timeout(60):
            await running
        assert len(hold.script.begun) == 2
        assert (await catalog.job(JOB)).drive(S1).state is DriveState.COMPLETED
        assert len(hold.log.named("catalog.away")) == 1
        told = [event.what for event in await catalog.drive_history(S1)]
        assert told.index("drive.begin") < told.index("drive.waits") < told.index("drive.finish_clean")
        assert (await catalog.verify_history()).broken is None
        assert await catalog.claims() == []


async def test_a_visit_whose_drive_went_on_elsewhere_ends_and_moves_nothing(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = _Hold(tmp_path, monkeypatch, [[OPENED, STAYS]])
    async with fleet.station("one") as one, fleet.station("two") as two:
        await one.create_job(_plain_job(), ship=True, who=WHO)
        visit = await hold.visit(one, fleet, lease_s=3.0, settle_s=1.0)
        running = asyncio.create_task(visit.run())
        await hold.until("opened")
        # As if the first had been away for the whole of its lease.
        await asyncio.to_thread(fleet.sql, "UPDATE claim SET until = taken")
        await two.claim_drive(fleet.server("two"), name("box"), S1)
        async with asyncio.timeout(60):
            with pytest.raises(DriveBusy, match="went on in station two"):
                await running
        assert len(hold.script.begun) == 1
        assert [shown.station for shown in await two.claims()] == ["two"]


async def test_processes_of_one_station_take_turns_and_take_over_what_a_dead_one_claimed(
    fleet: Fleet, tmp_path: Path
) -> None:
    async with fleet.station("one") as catalog:
        job = await catalog.create_job(_plain_job(), ship=True, who=WHO)
        await catalog.claim_drive(fleet.server("one"), JOB, S1)
        _, held, lease = await take_lease(catalog, tmp_path, job, S1, KeptLog())
        assert isinstance(held, KeepingCatalog)
        assert held.claim.epoch == 2
        assert lease is not None
        async with lease.kept(lambda: None):
            with pytest.raises(DriveBusy, match="another process of this station works on drive S1"):
                await take_lease(catalog, tmp_path, job, S1, KeptLog())
            assert [shown.station for shown in await catalog.claims()] == ["one"]
        assert await catalog.claims() == []


async def test_late_reports_of_a_lost_drive_are_refused_and_its_events_are_told_all_the_same(
    fleet: Fleet,
) -> None:
    async with fleet.station("one") as one, fleet.station("two") as two:
        await one.create_job(spec("box", "S1"), ship=True, who=WHO)
        claim, _ = await one.claim_drive(fleet.server("one", lease_s=0.2), name("box"), S1)
        held = KeepingCatalog(one, claim)
        await held.move_drive(name("box"), S1, DriveEvent.ARRIVE, who=WHO)
        await held.move_drive(name("box"), S1, DriveEvent.BEGIN, who=WHO)
        await asyncio.sleep(0.3)
        # It ran out, and nobody wanted the drive: nothing is lost.
        await held.record_progress(name("box"), S1, Tally(Count(3, 300), Count(1, 100)), 33, None)
        assert (await two.job(name("box"))).percent_complete == 33
        await two.claim_drive(fleet.server("two"), name("box"), S1)
        with pytest.raises(DriveBusy, match="went on in station two"):
            await held.move_drive(name("box"), S1, DriveEvent.FINISH_CLEAN, who=WHO, tally=CLEAN)
        with pytest.raises(DriveBusy, match="went on in station two"):
            await held.record_progress(name("box"), S1, Tally(Count(3, 300), Count(2, 200)), 66, None)
        await held.record_event("drive.smart", who=WHO, job=name("box"), serial=S1, detail="healthy")
        drive = (await two.job(name("box"))).drive(S1)
        assert (drive.state, drive.percent_complete) == (DriveState.TRANSFERRING, 33)
        assert (await two.drive_history(S1))[-1].what == "drive.smart"


async def test_a_station_that_is_paused_in_the_middle_of_its_last_report_keeps_the_drive_until_it_is_told(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused, goes_on = asyncio.Event(), asyncio.Event()

    async def pause(turn: Turn, *told: Any) -> None:
        paused.set()
        await goes_on.wait()
        await drive_event(turn, *told)

    async with fleet.station("one") as one, fleet.station("two") as two:
        await one.create_job(spec("box", "S1"), ship=True, who=WHO)
        claim, _ = await one.claim_drive(fleet.server("one", lease_s=0.2), name("box"), S1)
        held = KeepingCatalog(one, claim)
        for event in (DriveEvent.ARRIVE, DriveEvent.BEGIN):
            await held.move_drive(name("box"), S1, event, who=WHO)
        monkeypatch.setattr("agent.catalog.working.drive_event", pause)
        telling = asyncio.create_task(
            held.move_drive(name("box"), S1, DriveEvent.FINISH_CLEAN, who=WHO, tally=CLEAN)
        )
        await paused.wait()
        # Its lease runs out, and another station wants the drive.
        await asyncio.sleep(0.3)
        taking = asyncio.create_task(two.claim_drive(fleet.server("two"), name("box"), S1))
        await asyncio.sleep(0.3)
        assert not taking.done()
        goes_on.set()
        await telling
        with pytest.raises(MoveRefused, match="is in Completed by now"):
            await taking
        assert await two.claims() == []
        assert (await two.verify_history()).broken is None


async def test_what_happened_while_the_server_was_away_is_told_in_order_when_it_is_back(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[Database]()
    real = Database.write_rows

    def counted(self: Database) -> AbstractAsyncContextManager[Connection]:
        asked.append(self)
        return real(self)

    monkeypatch.setattr(Database, "write_rows", counted)
    async with fleet.station("one") as one:
        await one.create_job(spec("box", "S1"), ship=True, who=WHO)
        claim, _ = await one.claim_drive(fleet.server("one"), name("box"), S1)
        held = KeepingCatalog(one, claim)
        await held.move_drive(name("box"), S1, DriveEvent.ARRIVE, who=WHO)
        await held.move_drive(name("box"), S1, DriveEvent.BEGIN, who=WHO)
        async with _away(fleet):
            for detail in ("first", "second"):
                await held.record_event("drive.told", who=WHO, job=name("box"), serial=S1, detail=detail)
            assert held.kept == 2
            asked.clear()
            for _ in range(20):
                await held.record_progress(name("box"), S1, Tally(Count(3, 300), Count(1, 100)), 33, None)
            assert len(asked) <= 1
        await held.move_drive(name("box"), S1, DriveEvent.FINISH_CLEAN, who=WHO, tally=CLEAN)
        assert held.kept == 0
        first, second, finish = (await one.drive_history(S1))[-3:]
        assert first.detail.startswith("first (at 20")
        assert first.detail.endswith("told late: the catalog was away)")
        assert second.detail.startswith("second ")
        assert finish.what == "drive.finish_clean"
        assert (await one.verify_history()).broken is None


def _plain_job() -> JobSpec:
    return JobSpec(
        name=JOB,
        drives=(DriveSpec(serial("S1"), None),),
        destination=Destination.parse("data"),
        allow_unencrypted=True,
    )
