"""The station and the life cycle: clocks run out while it works, and drives nobody awaits are told of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.catalog import Catalog, open_catalog
from agent.config import Settings, StoreSettings
from agent.devices.fake import FakeSource
from agent.errors import StateUnusable
from agent.model.identity import JobName, SerialNumber
from agent.model.job import Destination, DriveSpec, JobSpec
from agent.model.states import DriveEvent, DriveState, JobState
from agent.station import station as station_module
from agent.station import timers as timers_module
from agent.station.ledger import Ledger
from agent.station.station import Station
from tests.kit.log import KeptLog
from tests.unit.catalog_cases import Ticking

WAIT_S = 60
JOB = JobName.parse("box")
S1 = SerialNumber.parse("S1")


@dataclass
class Bench:
    catalog: Catalog
    clock: Ticking
    source: FakeSource
    log: KeptLog
    settings: Settings
    image: Path

    async def file_job(self, *, ship: bool) -> None:
        spec = JobSpec(JOB, (DriveSpec(S1, None),), Destination.parse("data"), allow_unencrypted=True)
        await self.catalog.create_job(spec, ship=ship, who="test")

    async def until_told(self, reason: str) -> dict[str, Any]:
        """What operators are told for the reason."""
        async with asyncio.timeout(WAIT_S):
            while True:
                for line in self.log.named("operators.notified"):
                    if line["reason"] == reason:
                        return line
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        station = Station(self.catalog, self.source, self.settings, self.log)
        task = asyncio.create_task(station.run())
        try:
            yield
        finally:
            station.stop()
            async with asyncio.timeout(WAIT_S):
                await task


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(station_module, "RECONCILE_EVERY_S", 0.02)
    monkeypatch.setattr(timers_module, "LOOK_EVERY", timedelta(0))
    settings = Settings(tmp_path / "state", StoreSettings("directory", str(tmp_path / "blobs")))
    image, clock = tmp_path / "disk.img", Ticking()
    image.write_bytes(bytes(8192))
    async with open_catalog(tmp_path / "catalog.sqlite", tmp_path / "key", clock=clock) as catalog:
        yield Bench(catalog, clock, FakeSource(), KeptLog(), settings, image)


async def test_a_job_whose_drives_do_not_come_is_told_of_and_closed_by_the_running_station(
    bench: Bench,
) -> None:
    await bench.file_job(ship=True)
    async with bench.running():
        bench.clock.pass_days(14)
        assert (await bench.until_told("late"))["job"] == "box"
        bench.clock.pass_days(30)
        await bench.until_told("unanswered")
        assert (await bench.catalog.job(JOB)).state is JobState.CLOSED
        bench.clock.pass_days(90)
        await bench.until_told("expired")
    assert [job async for job in bench.catalog.jobs()] == []
    assert (await bench.catalog.verify_history()).broken is None


async def test_an_extra_drive_in_a_bay_is_written_down_once_and_told_of(bench: Bench) -> None:
    async with bench.running():
        bench.source.plug("3", bench.image, "S1")
        told = await bench.until_told("extra")
        assert (told["drive"], told["detail"]) == ("S1", "bay 3")
        bench.source.pull("3")
        await asyncio.sleep(0.2)
        bench.source.plug("4", bench.image, "S1")
        async with asyncio.timeout(WAIT_S):
            while len(bench.log.named("drive.left_alone")) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert [extra.serial for extra in await bench.catalog.extras()] == [S1]
    assert len(bench.log.named("operators.notified")) == 1


@pytest.mark.parametrize("method", ["record_event", "note_idle_drive"])
async def test_an_extra_drive_is_written_down_once_when_the_catalog_takes_it_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    refused: list[str] = []
    write = getattr(bench.catalog, method)

    async def full(*arguments: Any, **options: Any) -> None:
        if len(refused) < 3:
            refused.append(method)
            raise StateUnusable("the disk is full")
        await write(*arguments, **options)

    monkeypatch.setattr(bench.catalog, method, full)
    async with bench.running():
        bench.source.plug("3", bench.image, "S1")
        await bench.until_told("extra")
        async with asyncio.timeout(WAIT_S):
            while not await _written(bench):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
    assert len(refused) == 3
    assert [extra.serial for extra in await bench.catalog.extras()] == [S1]
    assert await _written(bench) == 1
    assert len(bench.log.named("drive.left_alone")) == 1


async def _written(bench: Bench) -> int:
    return [event.what for event in await bench.catalog.drive_history(S1)].count("drive.left_alone")


async def test_a_drive_whose_job_is_not_shipped_waits_and_operators_are_told(bench: Bench) -> None:
    await bench.file_job(ship=False)
    async with bench.running():
        bench.source.plug("3", bench.image, "S1")
        assert (await bench.until_told("not_shipped"))["job"] == "box"
    assert (await bench.catalog.job(JOB)).drive(S1).state is DriveState.SPECIFIED


async def test_a_drive_that_was_ended_while_it_waited_for_its_turn_is_not_ended_again(bench: Bench) -> None:
    await bench.file_job(ship=True)
    bench.source.plug("3", bench.image, "S1")
    (device,) = await bench.source.devices()
    ledger = Ledger(bench.catalog, device, await bench.catalog.job(JOB), bench.log)
    await ledger.arrive()
    await bench.catalog.cancel_job(JOB, "test")
    await ledger.finish_cancelled()
    drive = (await bench.catalog.job(JOB)).drive(S1)
    assert (drive.state, drive.copy_status) == (DriveState.COMPLETED_MORE_INFO, "Cancelled")
    ends = [e for e in await bench.catalog.history(JOB) if e.what == f"drive.{DriveEvent.BEGIN.name.lower()}"]
    assert len(ends) == 1
