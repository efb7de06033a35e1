"""The station: drives that come, go, move and return, worked by real processes."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.devices.fake import FakeSource
from agent.devices.health import Health, Verdict
from agent.devices.hindrance import Hindrance, HindranceKind
from agent.devices.source import Device
from agent.model.identity import JobName, SerialNumber
from agent.model.job import Drive
from agent.model.states import DriveEvent, DriveState, JobState
from agent.station import attempt as attempt_module
from agent.station import lineup as lineup_module
from agent.station import retries as retries_module
from agent.station import station as station_module
from agent.station.pauses import standing
from agent.station.places import journal_of
from agent.station.station import Station
from agent.transfer import room as room_module
from agent.transfer.pair import Pair
from agent.volume.block import BytesSource
from agent.volume.manner import GENTLY
from agent.volume.ntfs import NtfsVolume
from tests.kit.bench import EXPECTED_FILES, JOB, WAIT_S, Bench, bench_in


@pytest.fixture(autouse=True)
def _reconcile_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(station_module, "RECONCILE_EVERY_S", 0.1)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench_in(tmp_path, give_up_after_s=2) as bench:
        yield bench


def _is(state: DriveState) -> Callable[[Drive], bool]:
    return lambda drive: drive.state is state


async def test_a_plugged_drive_is_worked_to_the_end(bench: Bench) -> None:
    await bench.file_job("S1")
    async with bench.running():
        bench.source.plug("3", bench.image, "S1")
        drive = await bench.until(_is(DriveState.COMPLETED), "S1")
    assert drive.percent_complete == 100
    assert drive.tally.balances
    assert (await bench.catalog.job(JOB)).state is JobState.PACKAGING
    assert bench.stored() == EXPECTED_FILES
    moves = [event.what for event in await bench.catalog.history(JOB)]
    assert [what for what in moves if what.startswith("drive.")] == [
        "drive.arrive",
        "drive.begin",
        "drive.finish_clean",
    ]


async def test_a_drive_that_is_there_at_the_start_is_worked_as_well(bench: Bench) -> None:
    await bench.file_job("S1")
    bench.source.plug("3", bench.image, "S1")
    async with bench.running():
        await bench.until(_is(DriveState.COMPLETED), "S1")


async def test_two_drives_are_worked_at_once_and_the_job_waits_for_both(bench: Bench) -> None:
    await bench.file_job("S1", "S2")
    second = shutil.copy(bench.image, bench.image.with_name("second.img"))
    async with bench.running():
        bench.source.plug("1", bench.image, "S1")
        await bench.until(_is(DriveState.COMPLETED), "S1")
        assert (await bench.catalog.job(JOB)).state is JobState.TRANSFERRING
        bench.source.plug("2", Path(second), "S2")
        # The same files again: each goes beside the first drive's, under a new name.
        drive = await bench.until(_is(DriveState.COMPLETED_MORE_INFO), "S2")
        assert drive.copy_status == "CompletedWithWarnings"
    assert (await bench.catalog.job(JOB)).state is JobState.PACKAGING


async def test_an_extra_drive_is_left_alone_said_once_and_taken_when_its_job_is_filed(bench: Bench) -> None:
    async with bench.running():
        bench.source.plug("3", bench.image, "S1")
        await bench.until_logged("drive.left_alone")
        await asyncio.sleep(0.5)
        (line,) = bench.log.named("drive.left_alone")
        assert "extra drive" in line["detail"]
        await bench.file_job("S1")
        await bench.until(_is(DriveState.COMPLETED), "S1")


async def test_a_drive_that_spins_up_is_told_of_as_information_and_a_silent_one_as_a_warning(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = Hindrance(HindranceKind.NOT_ANSWERING, "drive S1 does not answer yet", is_news=False)
    late = Hindrance(HindranceKind.NOT_ANSWERING, "drive S1 has not answered for 30 s")
    drive = bench.source.plug("3", bench.image, "S1", hindrance=early)

    async def silent() -> list[Device]:
        return [replace(drive, hindrance=late)]

    async with bench.running():
        await bench.until_logged("drive.left_alone")
        assert "drive.left_alone" not in bench.log.warned
        monkeypatch.setattr(bench.source, "devices", silent)
        await bench.until_logged("drive.left_alone", count=2)
        assert "drive.left_alone" in bench.log.warned


async def test_a_serial_that_is_attached_twice_is_touched_by_nobody(bench: Bench) -> None:
    await bench.file_job("S1")
    bench.source.plug("1", bench.image, "S1")
    bench.source.plug("2", bench.image, "S1")
    async with bench.running():
        await bench.until_logged("drive.left_alone", count=2)
    assert (await bench.drive("S1")).state is DriveState.SPECIFIED


async def test_a_twin_that_comes_while_its_drive_is_worked_is_left_alone_at_once(bench: Bench) -> None:
    await bench.file_job("S1")
    async with bench.running():
        bench.source.plug("1", bench.image, "S1")
        await bench.until_logged("drive.begin")
        bench.source.plug("2", bench.image, "S1")
        await bench.until_logged("drive.left_alone")
        (line,) = bench.log.named("drive.left_alone")
        assert (line["bay"], line["error"]) == ("2", "SerialConflict")
        await bench.until(_is(DriveState.COMPLETED), "S1")
    assert len(bench.log.named("drive.begin")) == 1


async def test_a_draft_waits_and_begins_when_it_is_released(bench: Bench) -> None:
    await bench.file_job("S1", ship=False)
    async with bench.running():
        bench.source.plug("3", bench.image, "S1")
        await bench.until_logged("drive.left_alone")
        await bench.catalog.ship_job(JOB, "test")
        await bench.until(_is(DriveState.COMPLETED), "S1")


async def test_a_drive_pulled_and_plugged_into_another_bay_goes_on(bench: Bench) -> None:
    await bench.file_job("S1")
    async with bench.running():
        bench.source.plug("1", bench.image, "S1")
        await bench.until_logged("opened")
        bench.source.pull("1")
        bench.source.plug("2", bench.image, "S1")
        drive = await bench.until(_is(DriveState.COMPLETED), "S1")
    assert drive.tally.done.files == EXPECTED_FILES
    assert bench.stored() == EXPECTED_FILES
    assert {fields["bay"] for fields in bench.log.named("opened")} == {"1", "2"}


async def test_a_drained_station_keeps_the_place_and_the_next_one_goes_on(bench: Bench) -> None:
    await bench.file_job("S1")
    bench.source.plug("1", bench.image, "S1")
    async with bench.running():
        await bench.until_logged("opened")
    assert (await bench.drive("S1")).state is DriveState.TRANSFERRING
    stands = await standing(bench.catalog, JOB, SerialNumber.parse("S1"))
    assert stands is not None
    assert stands.what == "drive.stopped"
    assert stands.detail.endswith("It goes on when the station runs again.")
    async with bench.running():
        await bench.until(_is(DriveState.COMPLETED), "S1")
    assert [event.what for event in await bench.catalog.history(JOB)].count("drive.resumed") == 1
    assert bench.stored() == EXPECTED_FILES


async def test_a_job_cancelled_during_the_copy_ends_its_drive_and_the_books_balance(bench: Bench) -> None:
    await bench.file_job("S1")
    async with bench.running():
        bench.source.plug("1", bench.image, "S1")
        await bench.until_logged("drive.begin")
        await bench.catalog.cancel_job(JOB, "test")
        drive = await bench.until(_is(DriveState.COMPLETED_MORE_INFO), "S1")
    assert drive.tally.balances
    assert drive.copy_status == "Cancelled"


def _let_workers_die(monkeypatch: pytest.MonkeyPatch, deaths: int) -> None:
    """The first pairs are killed as soon as they are started."""
    left = deaths
    real = Pair.start

    async def start(*arguments: Any) -> Pair:
        nonlocal left
        pair = await real(*arguments)
        if left:
            left -= 1
            pair.kill()
        return pair

    monkeypatch.setattr(attempt_module.Pair, "start", start)
    monkeypatch.setattr(retries_module, "FIRST_WAIT_S", 0.05)


async def test_a_worker_that_dies_is_one_event_and_is_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    _let_workers_die(monkeypatch, deaths=1)
    await bench.file_job("S1")
    async with bench.running():
        bench.source.plug("1", bench.image, "S1")
        await bench.until(_is(DriveState.COMPLETED), "S1")
    assert len(bench.log.named("worker.lost")) == 1


async def test_workers_that_die_again_and_again_fault_the_drive_until_it_is_resolved(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    _let_workers_die(monkeypatch, deaths=retries_module.MAX_CRASHES)
    await bench.file_job("S1")
    async with bench.running():
        bench.source.plug("1", bench.image, "S1")
        await bench.until(_is(DriveState.FAULTED), "S1")
        assert (await bench.catalog.job(JOB)).state is JobState.FAULTED
        await bench.catalog.move_drive(JOB, SerialNumber.parse("S1"), DriveEvent.RESOLVE, who="test")
        await bench.until(_is(DriveState.COMPLETED), "S1")


def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries_module, "FIRST_WAIT_S", 0.1)
    monkeypatch.setattr(lineup_module, "LOOK_FOR_ROOM_S", 0.1)


async def test_no_drive_is_begun_while_the_state_disk_has_no_room_and_then_it_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    _look_often(monkeypatch)
    with monkeypatch.context() as full:
        full.setattr(room_module, "free_bytes", lambda folder: 100 << 20)
        await bench.file_job("S1")
        async with bench.running():
            bench.source.plug("3", bench.image, "S1")
            await bench.until_logged("drive.paused", 2)
            assert (await bench.drive("S1")).state is DriveState.SPECIFIED
            (told, *_) = bench.log.named("drive.paused")
            assert told["side"] == "station"
            assert told["detail"].startswith(
                "the state disk has 100 MiB left, and 256 MiB are kept free there: free space, or lower"
            )
            full.undo()
            await bench.until(_is(DriveState.COMPLETED), "S1")
    assert [event.what for event in await bench.catalog.history(JOB)].count("drive.paused") == 1


async def test_a_drive_that_needs_more_room_than_one_may_take_waits_for_its_settings(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    _look_often(monkeypatch)
    few = replace(bench.settings, transfer=replace(bench.settings.transfer, drive_state_bytes=1 << 20))
    station = Station(bench.catalog, bench.source, few, bench.log, reload=lambda: bench.settings)
    await bench.file_job("S1")
    bench.source.plug("3", bench.image, "S1")
    task = asyncio.create_task(station.run())
    await bench.until_logged("drive.paused")
    (told, *_) = bench.log.named("drive.paused")
    assert "a drive may take 1 MiB there: raise transfer.drive_state_mib" in told["detail"]
    station.reload()
    await bench.until(_is(DriveState.COMPLETED), "S1")
    station.stop()
    await task


async def test_the_journal_of_a_finished_drive_is_removed(bench: Bench) -> None:
    await bench.file_job("S1")
    journals = bench.settings.state_dir / "journals"
    async with bench.running():
        bench.source.plug("3", bench.image, "S1")
        await bench.until(_is(DriveState.COMPLETED), "S1")
    assert [path.name for path in journals.rglob("*") if path.is_file()] == ["room.lock"]


async def test_a_journal_that_a_killed_station_left_of_a_finished_drive_is_removed_at_the_start(
    bench: Bench,
) -> None:
    await bench.file_job("S1", "S2")
    async with bench.running():
        bench.source.plug("3", bench.image, "S1")
        await bench.until(_is(DriveState.COMPLETED), "S1")
    left, needed = (journal_of(bench.settings.state_dir, JOB, SerialNumber.parse(s)) for s in ("S1", "S2"))
    for journal in (left, needed):
        journal.write_bytes(b"as it was")
    async with bench.running():
        async with asyncio.timeout(WAIT_S):
            while left.exists():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert needed.exists()


class _Stumbling(FakeSource):
    """Its events never come, and its first look fails as nobody thought of."""

    looks = 0

    async def devices(self) -> list[Device]:
        self.looks += 1
        if self.looks == 1:
            raise RuntimeError("can't start new thread")
        return await super().devices()

    async def changes(self) -> AsyncIterator[None]:
        raise PermissionError("netlink")
        yield


async def test_a_source_that_stumbles_does_not_end_the_station(bench: Bench) -> None:
    bench.source = _Stumbling()
    await bench.file_job("S1")
    bench.source.plug("3", bench.image, "S1")
    async with bench.running():
        await bench.until(_is(DriveState.COMPLETED), "S1")
    (crash,) = bench.log.named("reconcile.failed")
    assert crash["error"] == "RuntimeError"
    assert Path(__file__).name in crash["at"]
    (lost,) = bench.log.named("events.lost")
    assert lost["next"]


class _Bewitched(FakeSource):
    """One of its drives makes the station itself fail."""

    async def health(self, device: Device) -> Health | None:
        if device.serial.normal == "S1":
            raise RuntimeError("as nobody thought of")
        return None


async def test_a_drive_at_which_the_station_fails_is_faulted_and_the_other_is_worked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    _look_often(monkeypatch)
    bench.source = _Bewitched()
    await bench.file_job("S1", name="bad")
    await bench.file_job("S2")
    second = Path(shutil.copy(bench.image, bench.image.with_name("second.img")))
    async with bench.running():
        bench.source.plug("1", bench.image, "S1")
        bench.source.plug("2", second, "S2")
        await bench.until_logged("drive.faulted")
        await bench.until(_is(DriveState.COMPLETED), "S2")
    assert len(bench.log.named("visit.crashed")) == retries_module.MAX_CRASHES
    drive = await bench.drive("S1", JobName.parse("bad"))
    assert drive.state is DriveState.FAULTED
    (line,) = bench.log.named("drive.faulted")
    assert line["detail"].startswith("the station failed at it 3 times: RuntimeError at ")
    assert len(bench.log.named("opened")) == 1


class _Ill(FakeSource):
    """Its drives say of themselves that they are failing."""

    async def health(self, device: Device) -> Health | None:
        return Health(Verdict.FAILING, ("8 sectors wait to be read or replaced",))


async def test_a_failing_drive_is_read_gently_by_a_real_reader_and_what_can_be_read_arrives(
    bench: Bench, tmp_path: Path
) -> None:
    bench.source = _Ill()
    await bench.file_job("S1")
    size = bench.image.stat().st_size
    entry = NtfsVolume.open(BytesSource(bench.image.read_bytes())).find("\\session-1\\video\\harbour.mp4")
    assert entry is not None
    hole = entry.streams[0].extents[0][0]
    assert hole is not None
    mapfile = tmp_path / "drive.map"
    mapfile.write_text(
        f"0x0 +\n0x0 0x{hole:x} +\n0x{hole:x} 0x1000 -\n0x{hole + 4096:x} 0x{size - hole - 4096:x} +\n"
    )
    async with bench.running():
        bench.source.plug("3", bench.image, "S1", mapfile=mapfile)
        drive = await bench.until(_is(DriveState.COMPLETED_MORE_INFO), "S1")
    assert (drive.tally.failed.files, drive.tally.done.files) == (1, EXPECTED_FILES - 1)
    (line,) = bench.log.named("drive.gently")
    assert "8 sectors wait to be read or replaced; it is read gently" in line["detail"]
    assert bench.log.named("opened")[0]["reading"] == GENTLY.sentence
    assert bench.log.named("drive.unreadable")[0]["files"] == 1
    assert {"drive.unreadable", "drive.gently", "drive.finished"} <= bench.log.warned
    assert "opened" not in bench.log.warned
    told = [event.what for event in await bench.catalog.history(JOB)]
    assert told.index("drive.gently") < told.index("drive.finish_with_findings")
