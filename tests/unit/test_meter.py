"""Caps on bandwidth, shared by all who send: simulated with a virtual clock."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from agent.errors import StoreUnreachable
from agent.transfer.board import Board
from agent.transfer.meter import BURST_S, LEASE_BYTES, STATION, Meter, granted, of_account, of_job, set_rates
from tests.kit import clock

MB = 1_000_000
BLOCK = 4 * 1024 * 1024
BUCKETS = (of_job("box"), of_account("acct"), STATION)


@pytest.fixture(autouse=True)
def _same_every_time() -> None:
    random.seed(7)


def _cap(board: Board, **rates: int | None) -> None:
    names = {"station": STATION, "account": of_account("acct"), "job": of_job("box")}
    now = asyncio.get_running_loop().time()
    board.change(lambda rows: set_rates(rows, {names[key]: rate for key, rate in rates.items()}, now))


def _granted(board: Board, bucket: str) -> float:
    return board.change(lambda rows: granted(rows, bucket)) or 0.0


class Sender:
    """Sends bodies of one size for ever."""

    def __init__(self, board: Board, name: str, size: int, buckets: tuple[str, ...] = BUCKETS) -> None:
        self.sent = 0
        self.meter = Meter(board, buckets, name, asyncio.Event())
        self.tasks = [asyncio.create_task(self._stream(size)) for _ in range(8)]

    async def _stream(self, size: int) -> None:
        while True:
            if not self.meter.may_spend(size):
                await self.meter.spend(size)
            self.sent += size
            await asyncio.sleep(0.001)

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@pytest.mark.parametrize("size", [4096, 300_000, BLOCK])
def test_a_cap_is_kept_to_the_byte_whatever_the_size_of_the_bodies(tmp_path: Path, size: int) -> None:
    async def scene() -> None:
        board = Board(tmp_path / "pace.json")
        _cap(board, station=5 * MB)
        sender = Sender(board, "d", size)
        await asyncio.sleep(30)
        await sender.end()
        assert abs(_granted(board, STATION) - 5 * MB * 30) <= 5 * MB * BURST_S + BLOCK
        assert 0 <= _granted(board, STATION) - sender.sent <= LEASE_BYTES

    clock.run(scene())


def test_without_a_cap_nothing_is_waited_for(tmp_path: Path) -> None:
    async def scene() -> None:
        meter = Meter(Board(tmp_path / "pace.json"), BUCKETS, "d", asyncio.Event())
        assert all(meter.may_spend(BLOCK) for _ in range(1000))

    clock.run(scene())


def test_drives_share_a_cap_by_bytes_however_large_their_bodies_are(tmp_path: Path) -> None:
    async def scene() -> None:
        path = tmp_path / "pace.json"
        _cap(Board(path), account=6 * MB)
        senders = [Sender(Board(path), f"d{n}", size) for n, size in enumerate((4096, 500_000, BLOCK))]
        await asyncio.sleep(60)
        for sender in senders:
            await sender.end()
        sent = [sender.sent for sender in senders]
        assert sum(sent) == pytest.approx(360 * MB, rel=0.05)
        assert min(sent) > 0.75 * 120 * MB

    clock.run(scene())


def test_the_narrowest_of_three_caps_counts_and_does_not_hold_up_other_jobs(tmp_path: Path) -> None:
    async def scene() -> None:
        path = tmp_path / "pace.json"
        board = Board(path)
        _cap(board, station=10 * MB, account=50 * MB, job=1 * MB)
        capped = Sender(Board(path), "capped", 500_000)
        free = Sender(Board(path), "free", 500_000, (of_job("other"), of_account("acct"), STATION))
        await asyncio.sleep(60)
        await capped.end()
        await free.end()
        assert capped.sent == pytest.approx(60 * MB, rel=0.1)
        assert free.sent == pytest.approx(540 * MB, rel=0.05)
        assert _granted(board, STATION) == pytest.approx(600 * MB, rel=0.03)

    clock.run(scene())


def test_a_cap_changes_while_bytes_wait_for_it(tmp_path: Path) -> None:
    async def scene() -> None:
        board = Board(tmp_path / "pace.json")
        _cap(board, station=100_000)
        sender = Sender(board, "d", BLOCK)
        await asyncio.sleep(30)
        assert sender.sent <= 2 * BLOCK
        _cap(board, station=100 * MB)
        await asyncio.sleep(10)
        assert sender.sent > 900 * MB
        _cap(board, station=None)
        await asyncio.sleep(10)
        before = sender.sent
        await asyncio.sleep(1)
        assert sender.sent - before > 100 * BLOCK
        await sender.end()

    clock.run(scene())


def test_a_killed_uploader_holds_nobody_up(tmp_path: Path) -> None:
    async def scene() -> None:
        path = tmp_path / "pace.json"
        _cap(Board(path), station=5 * MB)
        killed, other = Sender(Board(path), "killed", BLOCK), Sender(Board(path), "other", BLOCK)
        await asyncio.sleep(10)
        await killed.end()
        before = other.sent
        await asyncio.sleep(30)
        assert other.sent - before > 0.85 * 150 * MB
        await other.end()

    clock.run(scene())


def test_who_is_told_to_stop_does_not_wait_for_bandwidth() -> None:
    async def scene() -> None:
        board, hurry = Board(), asyncio.Event()
        _cap(board, station=1000)
        meter = Meter(board, BUCKETS, "d", hurry)
        assert not meter.may_spend(BLOCK)
        first = asyncio.create_task(meter.spend(BLOCK))
        second = asyncio.create_task(meter.spend(BLOCK))
        await asyncio.sleep(1)
        hurry.set()
        async with asyncio.timeout(5):
            with pytest.raises(StoreUnreachable, match="stopped"):
                await second
        await asyncio.gather(first, return_exceptions=True)

    clock.run(scene())


def test_what_was_spent_is_counted(tmp_path: Path) -> None:
    async def scene() -> Counter[str]:
        board = Board(tmp_path / "pace.json")
        _cap(board, job=2 * MB)
        meter = Meter(board, BUCKETS, "d", asyncio.Event())
        for _ in range(6):
            if not meter.may_spend(MB):
                await meter.spend(MB)
        return Counter(job=int(_granted(board, of_job("box"))), station=int(_granted(board, STATION)))

    assert clock.run(scene()) == Counter(job=6 * MB, station=0)
