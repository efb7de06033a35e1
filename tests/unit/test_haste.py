"""Stragglers are cut early and sent again: simulated with a virtual clock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from agent.errors import StoreThrottled
from agent.transfer.haste import LEAST_S, MOST_SPARED, SPARE
from agent.transfer.patience import Patience
from tests.kit import clock

CONNECTIONS = 16
STALL_S = 600.0
SMALL = 4096


@pytest.fixture(autouse=True)
def _same_every_time() -> None:
    random.seed(7)


@dataclass
class Service:
    """Answers in ``usual_s`` or so, but for one request in ``one_in``, which it never answers."""

    usual_s: float = 0.025
    one_in: int = 0
    asked: int = 0
    stalled: int = 0
    longest_s: float = 0.0
    landed: list[int] = field(default_factory=list)

    async def put(self, number: int = 0) -> None:
        self.asked += 1
        is_stalled = self.one_in > 0 and random.randrange(self.one_in) == 0
        self.stalled += is_stalled
        try:
            await asyncio.sleep(STALL_S if is_stalled else self.usual_s * random.lognormvariate(0, 0.5))
        finally:
            if is_stalled:
                # It was lost on its way back: the service has done it.
                self.landed.append(number)
        self.landed.append(number)


async def _send(
    patience: Patience, service: Service, count: int, *, is_repeatable: bool = True, body_bytes: int = SMALL
) -> tuple[float, float]:
    """Seconds that all took, and the slowest."""
    loop, numbers, slowest = asyncio.get_running_loop(), iter(range(count)), 0.0

    async def stream() -> None:
        nonlocal slowest
        for number in numbers:
            begun = loop.time()
            await patience.call(lambda: service.put(number), body_bytes, is_repeatable=is_repeatable)  # noqa: B023
            slowest = max(slowest, loop.time() - begun)

    begun = loop.time()
    await asyncio.gather(*[stream() for _ in range(CONNECTIONS)])
    return loop.time() - begun, slowest


def _run(scene: Callable[[], object]) -> None:
    clock.run(scene())  # type: ignore[arg-type]


def test_with_one_request_in_a_hundred_lost_a_transfer_takes_three_times_as_long_and_not_twenty() -> None:
    async def scene() -> None:
        good, _ = await _send(Patience(3600, asyncio.Event()), Service(), 20_000)
        service, patience = Service(one_in=100), Patience(3600, asyncio.Event())
        took, _ = await _send(patience, service, 20_000)
        by_deadline, slowest = await _send(
            Patience(3600, asyncio.Event()), Service(one_in=100), 20_000, is_repeatable=False
        )
        assert took < 3.5 * good
        assert by_deadline > 15 * good
        assert slowest >= 45
        assert patience.cut_requests == service.stalled

    _run(scene)


def test_nothing_is_cut_where_nothing_straggles() -> None:
    async def scene() -> None:
        for usual_s in (0.005, 0.1, 2.0):
            patience = Patience(3600, asyncio.Event())
            await _send(patience, Service(usual_s), 3000)
            assert patience.cut_requests <= 3

    _run(scene)


def test_a_service_that_becomes_slow_as_a_whole_is_not_asked_for_everything_twice() -> None:
    async def scene() -> None:
        service, patience = Service(), Patience(3600, asyncio.Event())
        await _send(patience, service, 1000)
        service.usual_s, service.asked = 5.0, 0
        await _send(patience, service, 2000)
        again = service.asked - 2000
        assert again <= MOST_SPARED + SPARE * 2000
        assert again == patience.cut_requests

    _run(scene)


def test_what_must_not_arrive_late_waits_for_its_deadline() -> None:
    async def scene() -> None:
        patience = Patience(3600, asyncio.Event())
        await _send(patience, Service(), 1000)
        _, slowest = await _send(patience, Service(one_in=50), 200, is_repeatable=False)
        assert slowest >= 45

    _run(scene)


def test_under_throttling_nothing_is_cut_early() -> None:
    async def scene() -> None:
        patience, is_told = Patience(3600, asyncio.Event()), False
        service = Service()
        await _send(patience, service, 1000)

        async def busy() -> None:
            nonlocal is_told
            if not is_told:
                is_told = True
                raise StoreThrottled("busy")

        # The account has a limit from here on.
        await asyncio.gather(patience.call(busy, SMALL), _send(patience, service, 50))
        lost = Service(one_in=1)
        before = patience.cut_requests
        lost_call = asyncio.create_task(patience.call(lost.put, SMALL, is_repeatable=True))
        await asyncio.sleep(40)
        assert patience.cut_requests == before
        lost_call.cancel()
        await asyncio.gather(lost_call, return_exceptions=True)

    _run(scene)


def test_a_straggler_that_straggles_again_has_longer_and_one_of_another_size_is_judged_by_its_like() -> None:
    async def scene() -> None:
        patience, loop = Patience(3600, asyncio.Event()), asyncio.get_running_loop()
        await _send(patience, Service(), 1000)
        asked: list[float] = []

        async def lost() -> None:
            asked.append(loop.time())
            await asyncio.sleep(STALL_S if len(asked) < 3 else 0.01)

        await patience.call(lost, SMALL, is_repeatable=True)
        assert LEAST_S <= asked[1] - asked[0] <= LEAST_S + 0.5
        assert 4 * LEAST_S <= asked[2] - asked[1] <= 4 * LEAST_S + 0.5
        # Of large ones nothing is known yet.
        asked.clear()
        large = asyncio.create_task(patience.call(lost, 4 << 20, is_repeatable=True))
        await asyncio.sleep(40)
        assert len(asked) == 1
        large.cancel()
        await asyncio.gather(large, return_exceptions=True)

    _run(scene)


def test_what_its_deadline_cut_and_what_lets_go_late_does_not_end_all_early_cuts() -> None:
    async def scene() -> None:
        patience = Patience(3600, asyncio.Event())

        async def let_go_late() -> None:
            try:
                await asyncio.sleep(STALL_S)
            finally:
                await asyncio.sleep(5)

        await _send(patience, Service(), 40)
        # Nothing is spared yet, so the deadline cuts it; while it lets go, others are answered.
        lost = asyncio.create_task(patience.call(let_go_late, SMALL, is_repeatable=True))
        await asyncio.sleep(46)
        await _send(patience, Service(), 1000)
        await asyncio.sleep(1)
        lost.cancel()
        await asyncio.gather(lost, return_exceptions=True)
        service = Service(one_in=1)
        before = patience.cut_requests
        again = asyncio.create_task(patience.call(service.put, SMALL, is_repeatable=True))
        await asyncio.sleep(10)
        assert patience.cut_requests > before
        again.cancel()
        await asyncio.gather(again, return_exceptions=True)

    _run(scene)
