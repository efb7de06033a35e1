"""One limit an account, shared by all drives: simulated with a virtual clock."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.errors import StateUnusable, StoreUnreachable
from agent.transfer.aimd import STALE_S, shares
from agent.transfer.board import Board
from agent.transfer.limiter import Limiter
from tests.kit import clock

CEILING = 16


@dataclass
class Service:
    """Takes ``rate`` requests a second, each ``seconds`` long, and refuses what is more."""

    rate: float
    seconds: float = 0.05
    is_down: bool = False
    retry_after_s: float = 0.0
    accepted: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    under_way: int = 0
    most_under_way: int = 0
    begun_at: list[float] = field(default_factory=list)
    _room: float = 1.0
    _at: float = clock.BEGIN_S

    async def ask(self, drive: str) -> bool:
        now = asyncio.get_running_loop().time()
        self.begun_at.append(now)
        self._room = min(self._room + (now - self._at) * self.rate, max(2.0, self.rate * 0.05))
        self._at = now
        is_taken = not self.is_down and self._room >= 1
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        self._room -= is_taken
        try:
            await asyncio.sleep(self.seconds * random.uniform(0.8, 1.2))
        finally:
            self.under_way -= 1
        self.accepted[drive] += is_taken
        self.refused += not is_taken
        return is_taken


class Drive:
    """Wants ``streams`` requests at once, for ever."""

    def __init__(self, name: str, service: Service, board: Board, streams: int = CEILING) -> None:
        self.name, self.service = name, service
        self.limiter = Limiter(board, "acct", name, CEILING, asyncio.Event())
        self.tasks = [asyncio.create_task(self._stream()) for _ in range(streams)]

    async def _stream(self) -> None:
        while True:
            begun = await self.limiter.enter()
            is_taken = False
            try:
                is_taken = await self.service.ask(self.name)
            finally:
                self.limiter.leave(
                    begun,
                    refused=not is_taken,
                    retry_after_s=0.0 if is_taken else self.service.retry_after_s,
                )
            if not is_taken:
                await asyncio.sleep(random.uniform(0.1, 0.2))

    async def kill(self) -> None:
        """As ``kill -9``: nobody is told."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.limiter._timer is not None:
            self.limiter._timer.cancel()


def _boards(folder: Path) -> Callable[[], Board]:
    """Boards on one file, as the processes of a station have them."""
    return lambda: Board(folder / "pace.json")


@pytest.fixture(autouse=True)
def _same_every_time() -> None:
    random.seed(7)


def test_requests_of_all_drives_together_come_near_what_the_account_takes(tmp_path: Path) -> None:
    async def scene() -> None:
        service, board = Service(rate=400), _boards(tmp_path)
        drives = [Drive(f"d{number}", service, board()) for number in range(4)]
        await asyncio.sleep(20)
        service.accepted.clear()
        service.refused = 0
        await asyncio.sleep(60)
        taken = service.accepted.total() / 60
        assert 0.7 * service.rate <= taken <= 1.01 * service.rate
        assert service.refused < 0.1 * service.accepted.total()
        assert max(service.accepted.values()) < 1.5 * min(service.accepted.values())
        for drive in drives:
            await drive.kill()

    clock.run(scene())


def test_without_a_refusal_there_is_no_limit_but_the_drives_own(tmp_path: Path) -> None:
    async def scene() -> None:
        service, board = Service(rate=1e9), _boards(tmp_path)
        drives = [Drive(f"d{number}", service, board(), streams=40) for number in range(3)]
        await asyncio.sleep(5)
        assert service.most_under_way == 3 * CEILING
        for drive in drives:
            await drive.kill()

    clock.run(scene())


def test_even_where_the_account_takes_next_to_nothing_no_drive_starves(tmp_path: Path) -> None:
    async def scene() -> None:
        service, board = Service(rate=5), _boards(tmp_path)
        drives = [Drive(f"d{number}", service, board()) for number in range(6)]
        await asyncio.sleep(300)
        assert set(service.accepted) == {f"d{number}" for number in range(6)}
        assert max(service.accepted.values()) < 2 * min(service.accepted.values())
        assert service.accepted.total() > 0.4 * 5 * 300
        assert service.refused < 2 * service.accepted.total()
        for drive in drives:
            await drive.kill()

    clock.run(scene())


def test_it_recovers_from_an_outage(tmp_path: Path) -> None:
    async def scene() -> None:
        service, board = Service(rate=400), _boards(tmp_path)
        drives = [Drive(f"d{number}", service, board()) for number in range(4)]
        await asyncio.sleep(20)
        service.is_down = True
        await asyncio.sleep(30)
        asked = len(service.begun_at)
        await asyncio.sleep(30)
        # Hardly anybody knocks while nobody answers.
        assert len(service.begun_at) - asked < 30 * 4
        service.is_down = False
        await asyncio.sleep(10)
        service.accepted.clear()
        await asyncio.sleep(20)
        assert service.accepted.total() / 20 > 0.7 * service.rate
        for drive in drives:
            await drive.kill()

    clock.run(scene())


def test_retry_after_holds_up_every_drive(tmp_path: Path) -> None:
    async def scene() -> None:
        service, board = Service(rate=400, retry_after_s=7.0), _boards(tmp_path)
        drives = [Drive(f"d{number}", service, board()) for number in range(3)]
        await asyncio.sleep(3)
        loop = asyncio.get_running_loop()
        service.is_down = True
        before = service.refused
        while service.refused == before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        said = loop.time()
        service.is_down = False
        await asyncio.sleep(30)
        # The others hear of it within a tick while they are held up, and within a beat at the latest.
        quiet = [at for at in service.begun_at if said + 1.1 < at < said + 6.9]
        assert quiet == []
        assert [at for at in service.begun_at if at > said + 6.9]
        for drive in drives:
            await drive.kill()

    clock.run(scene())


def test_the_share_of_a_killed_uploader_comes_back(tmp_path: Path) -> None:
    async def scene() -> None:
        service, board = Service(rate=300), _boards(tmp_path)
        first, second = Drive("first", service, board()), Drive("second", service, board())
        await asyncio.sleep(30)
        service.accepted.clear()
        await asyncio.sleep(20)
        shared = service.accepted["second"] / 20
        await first.kill()
        await asyncio.sleep(STALE_S + 15)
        service.accepted.clear()
        await asyncio.sleep(20)
        assert service.accepted["second"] / 20 > 1.4 * shared
        await second.kill()

    clock.run(scene())


def test_a_drive_that_ends_leaves_its_share_at_once(tmp_path: Path) -> None:
    async def scene() -> None:
        board = Board(tmp_path / "pace.json")
        limiter = Limiter(board, "acct", "d", 4, asyncio.Event())
        limiter.leave(await limiter.enter())
        assert board.change(lambda rows: [name for name in rows if name.startswith("drive ")])
        limiter.close()
        assert not board.change(lambda rows: [name for name in rows if name.startswith("drive ")])

    clock.run(scene())


def test_a_drive_with_little_to_do_leaves_the_rest_to_the_others(tmp_path: Path) -> None:
    async def scene() -> None:
        service, board = Service(rate=400), _boards(tmp_path)
        idle, busy = Drive("idle", service, board(), streams=1), Drive("busy", service, board())
        await asyncio.sleep(60)
        assert service.accepted.total() / 60 > 0.6 * service.rate * 0.8
        assert service.accepted["busy"] > 3 * service.accepted["idle"]
        assert service.accepted["idle"] > 0
        await idle.kill()
        await busy.kill()

    clock.run(scene())


def test_requests_that_failed_together_lower_the_limit_once() -> None:
    async def scene() -> None:
        limiter = Limiter(Board(), "acct", "d", 16, asyncio.Event())
        begun = [await limiter.enter() for _ in range(16)]
        await asyncio.sleep(1)
        for at in begun:
            limiter.leave(at, refused=True)
        assert limiter.limit == 12
        await asyncio.sleep(1)
        at = await limiter.enter()
        await asyncio.sleep(1)
        limiter.leave(at, refused=True)
        assert limiter.limit == 1

    clock.run(scene())


def test_a_request_that_is_given_up_while_it_waits_takes_no_turn() -> None:
    async def scene() -> None:
        limiter = Limiter(Board(), "acct", "d", 1, asyncio.Event())
        begun = await limiter.enter()
        waiting = asyncio.create_task(limiter.enter())
        also = asyncio.create_task(limiter.enter())
        await asyncio.sleep(0.01)
        waiting.cancel()
        limiter.leave(begun)
        async with asyncio.timeout(5):
            limiter.leave(await also)
            limiter.leave(await limiter.enter())
        with suppress(asyncio.CancelledError):
            await waiting

    clock.run(scene())


def test_a_turn_that_came_together_with_the_cancellation_is_given_back() -> None:
    async def scene() -> None:
        limiter = Limiter(Board(), "acct", "d", 1, asyncio.Event())
        begun = await limiter.enter()
        waiting = asyncio.create_task(limiter.enter())
        await asyncio.sleep(0.01)
        limiter.leave(begun)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        async with asyncio.timeout(5):
            limiter.leave(await limiter.enter())

    clock.run(scene())


def test_who_is_told_to_stop_does_not_wait_for_a_turn() -> None:
    async def scene() -> None:
        hurry = asyncio.Event()
        limiter = Limiter(Board(), "acct", "d", 1, hurry)
        begun = await limiter.enter()
        waiting = asyncio.create_task(limiter.enter())
        await asyncio.sleep(0.01)
        hurry.set()
        with pytest.raises(StoreUnreachable, match="stopped"):
            await waiting
        with pytest.raises(StoreUnreachable, match="stopped"):
            await limiter.enter()
        limiter.leave(begun)

    clock.run(scene())


def test_limits_that_cannot_be_kept_are_the_stations_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        limiter = Limiter(Board(tmp_path / "pace.json"), "acct", "d", 1, asyncio.Event())

        def full(*_: object) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("agent.transfer.board.os.pwrite", full)
        with pytest.raises(StateUnusable, match="No space left"):
            await limiter.enter()

    clock.run(scene())


@pytest.mark.parametrize(
    ("limit", "wanted", "given"),
    [
        (10, [20, 20], [5, 5]),
        (10, [2, 20], [2, 8]),
        (11, [20, 20, 1], [5, 5, 1]),
        (2, [5, 5, 5], [1, 1, 1]),
        (10, [0, 3], [1, 9]),
        (7, [], []),
    ],
)
def test_shares_are_fair(limit: int, wanted: list[int], given: list[int]) -> None:
    assert shares(limit, wanted) == given
