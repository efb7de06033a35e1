"""The two processes of a drive, real ones, where one of them does not do what it should."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import StateUnusable, WorkerLost
from agent.transfer import pair as pair_module
from agent.transfer.orders import StoreOrder
from agent.transfer.pair import Pair
from tests.kit.transfer import Drive


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_module, "STOP_TIMEOUT_S", 0.5)
    monkeypatch.setattr(pair_module, "KILLED_WITHIN_S", 0.1)


@asynccontextmanager
async def _started(image: Path, folder: Path, mapfile: str | None = None) -> AsyncIterator[Pair]:
    drive = Drive(image, folder)
    upload = replace(drive.upload_order(), store=StoreOrder("directory", str(folder / "blobs")))
    fd = os.open(image, os.O_RDONLY)
    try:
        pair = await Pair.start(fd, replace(drive.reader_order(), mapfile=mapfile), upload)
    finally:
        os.close(fd)
    try:
        yield pair
    finally:
        await pair.close()


async def _names(pair: Pair) -> list[str]:
    return [event["event"] async for event in pair.events()]


async def test_a_reader_that_dies_before_it_takes_its_order_holds_nobody_up(
    demo_image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/true")
    async with _started(demo_image, tmp_path, mapfile="#" * 300_000) as pair:
        with pytest.raises(WorkerLost):
            await _names(pair)


async def test_a_station_that_can_start_no_process_pauses_the_drive(
    demo_image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(StateUnusable, match="no worker can be started: No such file"):
        async with _started(demo_image, tmp_path):
            pass
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_pair_whose_drive_does_not_open_is_interrupted_at_once(
    demo_image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_module, "STOP_TIMEOUT_S", 600)
    async with _started(demo_image, tmp_path) as pair:
        os.kill(pair._reader.pid, signal.SIGSTOP)
        pair.tell("stop")
        assert await _names(pair) == ["interrupted"]
        assert not pair._is_given_up
        os.kill(pair._reader.pid, signal.SIGKILL)


async def test_an_uploader_that_has_to_be_ended_after_a_stop_did_not_crash(
    demo_image: Path, tmp_path: Path
) -> None:
    async with _started(demo_image, tmp_path) as pair:
        os.kill(pair._uploader.pid, signal.SIGSTOP)
        pair.tell("stop")
        assert await _names(pair) == ["interrupted"]


class _Undying:
    """A process that hangs in the kernel: no signal ends it."""

    def __init__(self) -> None:
        self.kills = 0

    def kill(self) -> None:
        self.kills += 1

    async def wait(self) -> int:
        return await asyncio.get_running_loop().create_future()


async def test_a_reader_that_hangs_in_the_kernel_does_not_hold_up_the_visit(
    demo_image: Path, tmp_path: Path
) -> None:
    async with _started(demo_image, tmp_path) as pair:
        real, pair._reader = pair._reader, _Undying()  # type: ignore[assignment]
        await pair.close()
        assert pair._reader.kills == 1  # type: ignore[attr-defined]
        pair._reader = real
