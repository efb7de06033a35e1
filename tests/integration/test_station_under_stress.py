"""Real workers are killed, drives are torn out while they are read, and more come than there are places."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from agent.config import BandwidthSettings, Settings
from agent.model.bandwidth import Cap
from agent.model.concurrency import Concurrency
from agent.model.identity import SerialNumber
from agent.model.job import Drive
from agent.model.states import DriveState
from agent.station import attempt as attempt_module
from agent.station import retries as retries_module
from agent.station import station as station_module
from agent.station.pauses import PAUSED, PULLED, RESUMED, standing
from agent.station.view import View
from agent.transfer.orders import UploadOrder
from agent.transfer.pair import Pair
from agent.transfer.reader_order import ReaderOrder
from tests.kit.bench import EXPECTED_FILES, JOB, Bench, bench_in

SLOW = BandwidthSettings(station=Cap(1_500_000))


@dataclass
class Workers:
    """All pairs that were started, by the serial of their drive."""

    pairs: dict[str, list[Pair]] = field(default_factory=dict)
    running: int = 0
    most: int = 0

    def kill(self, serial: str, which: str) -> None:
        pair = self.pairs[serial][-1]
        process = pair._reader if which == "reader" else pair._uploader
        os.kill(process.pid, signal.SIGKILL)


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Workers:
    monkeypatch.setattr(station_module, "RECONCILE_EVERY_S", 0.1)
    monkeypatch.setattr(retries_module, "FIRST_WAIT_S", 0.05)
    made, start, close = Workers(), Pair.start, Pair.close

    async def counted(fd: int, reader: ReaderOrder, upload: UploadOrder) -> Pair:
        pair = await start(fd, reader, upload)
        made.pairs.setdefault(upload.serial.normal, []).append(pair)
        made.running += 1
        made.most = max(made.most, made.running)
        return pair

    async def closed(pair: Pair) -> None:
        await close(pair)
        made.running -= 1

    monkeypatch.setattr(attempt_module.Pair, "start", counted)
    monkeypatch.setattr(attempt_module.Pair, "close", closed)
    return made


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench_in(tmp_path, give_up_after_s=2) as bench:
        bench.settings = replace(bench.settings, bandwidth=SLOW)
        yield bench


def _quick(bench: Bench) -> dict[str, Callable[[], Settings]]:
    """What a reload finds: no cap any more."""
    return {"reload": lambda: replace(bench.settings, bandwidth=BandwidthSettings())}


def _is_done(drive: Drive) -> bool:
    return drive.state in (DriveState.COMPLETED, DriveState.COMPLETED_MORE_INFO, DriveState.FAULTED)


def _is_under_way(drive: Drive) -> bool:
    return drive.tally.done.bytes > 0


def _copy(bench: Bench) -> Path:
    return Path(shutil.copy(bench.image, bench.image.with_name("second.img")))


async def _events(bench: Bench, serial: str) -> list[str]:
    return [event.what for event in await bench.catalog.drive_history(SerialNumber.parse(serial))]


@pytest.mark.parametrize("which", ["reader", "uploader"])
async def test_a_worker_that_is_killed_is_its_drives_event_and_no_others(
    bench: Bench, workers: Workers, which: str
) -> None:
    await bench.file_job("S1", "S2")
    async with bench.running(**_quick(bench)) as station:
        bench.source.plug("1", bench.image, "S1")
        bench.source.plug("2", _copy(bench), "S2")
        for serial in ("S1", "S2"):
            await bench.until(_is_under_way, serial)
        before = await bench.drive("S1")
        workers.kill("S1", which)
        await bench.until_logged("worker.lost")
        station.reload()
        for serial in ("S1", "S2"):
            drive = await bench.until(_is_done, serial)
            assert drive.state in (DriveState.COMPLETED, DriveState.COMPLETED_MORE_INFO)
            assert drive.tally.done.files == EXPECTED_FILES
            assert drive.percent_complete >= before.percent_complete
    (line,) = bench.log.named("worker.lost")
    assert (line["drive"], line["crashes"]) == ("S1", 1)
    assert f"the {which} process ended: signal 9 (SIGKILL)" in line["detail"]
    assert line["next"] == "it is started again in 0.05 s"
    assert [len(workers.pairs[serial]) for serial in ("S1", "S2")] == [2, 1]
    assert (await _events(bench, "S1")).count("worker.lost") == 1
    assert not {"worker.lost", PAUSED} & set(await _events(bench, "S2"))


async def test_a_drive_torn_out_while_it_is_read_is_one_event_and_goes_on_in_any_bay(
    bench: Bench, workers: Workers
) -> None:
    await bench.file_job("S1")
    kept = _copy(bench)
    async with bench.running(**_quick(bench)) as station:
        bench.source.plug("1", bench.image, "S1")
        before = await bench.until(_is_under_way, "S1")
        # Reads fail from now on; a moment later the kernel takes the device away.
        os.truncate(bench.image, 0)
        await asyncio.sleep(0.3)
        bench.source.pull("1")
        async with asyncio.timeout(60):
            while workers.running:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        assert [what for what in await _events(bench, "S1") if what in (PAUSED, PULLED)] == [PULLED]
        stands = await standing(bench.catalog, JOB, SerialNumber.parse("S1"))
        assert stands is not None
        assert stands.detail.startswith("the drive was pulled from bay 1; its place is kept")
        drive = await bench.drive("S1")
        assert drive.state is DriveState.TRANSFERRING
        assert drive.percent_complete >= before.percent_complete
        station.reload()
        bench.source.plug("2", kept, "S1")
        done = await bench.until(_is_done, "S1")
    assert done.state is DriveState.COMPLETED
    assert done.tally.done.files == EXPECTED_FILES == bench.stored()
    events = await bench.catalog.drive_history(SerialNumber.parse("S1"))
    assert [event.detail for event in events if event.what == RESUMED] == ["bay 2"]
    assert len(bench.log.named("drive.pulled")) == 1
    assert bench.log.named("drive.paused") == bench.log.named("worker.lost") == []
    assert await standing(bench.catalog, JOB, SerialNumber.parse("S1")) is None


async def test_more_drives_than_places_are_worked_one_after_the_other(bench: Bench, workers: Workers) -> None:
    await bench.file_job("S1", "S2")
    bench.settings = replace(bench.settings, concurrency=Concurrency(station=1))
    view = View()
    async with bench.running(view=view, **_quick(bench)) as station:
        bench.source.plug("1", bench.image, "S1")
        await bench.until(_is_under_way, "S1")
        bench.source.plug("2", _copy(bench), "S2")
        await bench.until_logged("drive.waits")
        assert "S2 bay 2 waits for a place" in view.status()
        assert (await bench.drive("S2")).state is DriveState.RECEIVED
        station.reload()
        for serial in ("S1", "S2"):
            await bench.until(_is_done, serial)
    assert workers.most == 1
    (line,) = bench.log.named("drive.waits")
    assert line["detail"] == "waits for a place: 1 drive is being read (concurrency.station = 1)"


async def test_a_reload_lets_more_drives_have_their_turn(bench: Bench, workers: Workers) -> None:
    await bench.file_job("S1", "S2")
    bench.settings = replace(bench.settings, concurrency=Concurrency(controller=1))
    more = replace(bench.settings, concurrency=Concurrency(controller=2), bandwidth=BandwidthSettings())
    where: dict[str, Any] = {"controller": "pci-0000:00:1f.2"}
    async with bench.running(reload=lambda: more) as station:
        bench.source.plug("1", bench.image, "S1", **where)
        await bench.until(_is_under_way, "S1")
        bench.source.plug("2", _copy(bench), "S2", **where)
        await bench.until_logged("drive.waits")
        station.reload()
        for serial in ("S1", "S2"):
            await bench.until(_is_done, serial)
    assert "controller pci-0000:00:1f.2" in bench.log.named("drive.waits")[0]["detail"]
    assert "concurrency" in bench.log.named("settings.reloaded")[0]["changed"]
    assert workers.most == 2
