"""Caps, settings that change, credentials that are renewed: with real processes."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent.blobs.faults import Call, FaultyBlobStore
from agent.blobs.memory import MemoryBlobStore
from agent.config import BandwidthSettings, Settings, StoreSettings
from agent.errors import ConfigInvalid
from agent.model.bandwidth import Cap
from agent.model.codes import Disposition
from agent.model.going import NOT_GOING
from agent.model.job import Drive
from agent.model.secrets import Secret
from agent.model.states import DriveState
from agent.station import station as station_module
from agent.station.places import board_of
from agent.transfer.board import Board
from agent.transfer.meter import BURST_S, LEASE_BYTES, STATION, granted, of_job
from tests.kit import images
from tests.kit import transfer as kit
from tests.kit.bench import Bench, bench_in

if TYPE_CHECKING:
    from fixtures.azurite import Azurite

MB = 1_000_000


@asynccontextmanager
async def working(bench: Bench, **more: Any) -> AsyncIterator[None]:
    """The daemon with the drive in a bay, and its orderly end; ``more`` is for its making."""
    await bench.file_job("S1", disposition=Disposition.OVERWRITE)
    bench.source.plug("3", bench.image, "S1")
    async with bench.running(**more):
        yield


async def done(bench: Bench) -> Drive:
    """The drive once it is."""
    return await bench.until(_is_completed, "S1")


def _is_completed(drive: Drive) -> bool:
    return drive.state in (DriveState.COMPLETED, DriveState.COMPLETED_MORE_INFO)


@pytest.fixture(autouse=True)
def _reconcile_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(station_module, "RECONCILE_EVERY_S", 0.1)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench_in(tmp_path, give_up_after_s=5) as bench:
        yield bench


def _granted(bench: Bench, bucket: str) -> float:
    board = Board(board_of(bench.settings.state_dir))
    try:
        return board.change(lambda rows: granted(rows, bucket)) or 0.0
    finally:
        board.close()


async def test_a_capped_drive_sends_what_the_caps_let_go(bench: Bench) -> None:
    caps = BandwidthSettings(station=Cap(8 * MB), jobs={"box": Cap(4 * MB)})
    bench.settings = replace(bench.settings, bandwidth=caps)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with working(bench):
        drive = await done(bench)
    (told,) = bench.log.named("bandwidth.caps")
    assert told.items() >= {"station": "8 MB/s", "account": "unlimited", "job": "4 MB/s"}.items()
    for bucket, rate in ((of_job("box"), 4 * MB), (STATION, 8 * MB)):
        let_go = _granted(bench, bucket)
        assert let_go >= drive.tally.done.bytes
        # However slow the machine is, no more than this has passed.
        assert (
            let_go
            <= (loop.time() - begun + BURST_S) * rate + bench.settings.transfer.block_bytes + LEASE_BYTES
        )


async def test_who_looks_on_sees_what_holds_a_drive_up_while_it_runs_and_not_when_it_stands(
    bench: Bench,
) -> None:
    bench.settings = replace(bench.settings, bandwidth=BandwidthSettings(station=Cap(MB)))
    async with working(bench):
        drive = await bench.until(lambda drive: drive.going.limited_by == "cap", "S1")
    stopped = await bench.drive("S1")
    assert stopped.state is DriveState.TRANSFERRING
    assert stopped.percent_complete >= drive.percent_complete
    assert stopped.going == drive.going.standing == NOT_GOING


async def test_a_cap_is_lifted_under_a_running_drive_by_a_signal(bench: Bench) -> None:
    slow = replace(bench.settings, bandwidth=BandwidthSettings(station=Cap(10_000)))
    fast = replace(bench.settings, state_dir=Path("/elsewhere"))
    told: list[Settings | ConfigInvalid] = [ConfigInvalid("agent.toml is no TOML"), fast]

    def reload() -> Settings:
        news = told.pop(0)
        if isinstance(news, ConfigInvalid):
            raise news
        return news

    bench.settings = slow
    async with working(bench, reload=reload):
        await bench.until_logged("opened")
        os.kill(os.getpid(), signal.SIGHUP)
        await bench.until_logged("settings.kept")
        os.kill(os.getpid(), signal.SIGHUP)
        assert (await done(bench)).tally.failed.files == 0
    (kept,) = bench.log.named("settings.kept")
    assert kept["detail"] == "agent.toml is no TOML"
    assert bench.log.named("settings.reloaded") == [{"changed": "bandwidth.station"}]
    assert bench.log.named("settings.need_restart") == [{"settings": "state_dir"}]
    assert [fields["station"] for fields in bench.log.named("bandwidth.caps")] == ["10 kB/s", "unlimited"]


def _azure(bench: Bench, emulator: Azurite, credential: Secret, file: Path) -> None:
    store = StoreSettings("azure", emulator.endpoint, credential, file)
    bench.settings = replace(bench.settings, store=store)


WRONG = Secret(base64.b64encode(b"no key of anybody").decode())


async def test_a_refused_credential_is_read_again_before_the_drive_pauses(
    bench: Bench, azurite: Azurite, tmp_path: Path
) -> None:
    (tmp_path / "credential").write_text(azurite.key)
    _azure(bench, azurite, WRONG, tmp_path / "credential")
    async with working(bench):
        drive = await done(bench)
    assert drive.tally.failed.files == 0
    assert len(bench.log.named("credential.renewed")) == 1
    assert not bench.log.named("drive.paused")
    assert azurite.key not in str(bench.log.lines)


async def test_a_credential_that_stays_refused_is_told(
    bench: Bench, azurite: Azurite, tmp_path: Path
) -> None:
    (tmp_path / "credential").write_text(WRONG.reveal())
    _azure(bench, azurite, WRONG, tmp_path / "credential")
    async with working(bench):
        drive = await done(bench)
    assert drive.copy_status == "BlobRequestForbidden"
    assert bench.log.named("credential.refused")
    assert WRONG.reveal() not in str(bench.log.lines)


@pytest.mark.usefixtures("_brief_pauses")
async def test_a_throttled_account_slows_a_drive_down_and_fails_no_file(tmp_path: Path) -> None:
    drive = kit.Drive(image=images.unpack("demo", tmp_path), work=tmp_path / "work", give_up_after_s=60)

    def busy(call: Call) -> str:
        return "T" if call.number % 7 == 3 else "."

    store = FaultyBlobStore(MemoryBlobStore(), busy)
    told = await kit.ingest(drive, store)
    assert told.last["event"] == "finished"
    assert told.last["tally"]["failed"] == [0, 0]
    assert told.named("waiting")
    assert any(event["limit"] for event in told.named("progress"))
