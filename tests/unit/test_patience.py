"""The one retry layer."""

from __future__ import annotations

import asyncio

import pytest

from agent.errors import ChecksumMismatch, LeasePresent, StoreRefused, StoreThrottled, StoreUnreachable
from agent.transfer import patience as module
from agent.transfer.patience import CHECKSUM_TRIES, Patience
from tests.kit import clock


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.001)


class _Store:
    """Raises the errors in turn, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.calls = 0

    async def request(self) -> str:
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return "answer"


async def test_weather_is_waited_for() -> None:
    store = _Store(StoreUnreachable("down"), StoreThrottled("busy"))
    patience = Patience(5, asyncio.Event())
    assert await patience.call(store.request) == "answer"
    assert store.calls == 3
    assert patience.waiting_for is None


async def test_a_refusal_is_an_answer() -> None:
    store = _Store(LeasePresent("leased"))
    with pytest.raises(LeasePresent):
        await Patience(5, asyncio.Event()).call(store.request)
    assert store.calls == 1


async def test_it_gives_up_after_its_time() -> None:
    store = _Store(*(StoreUnreachable("down") for _ in range(1000)))
    with pytest.raises(StoreUnreachable):
        await Patience(0.05, asyncio.Event()).call(store.request)
    assert 1 < store.calls < 1000


async def test_bytes_that_change_on_the_way_every_time_are_not_sent_forever() -> None:
    store = _Store(*(ChecksumMismatch("changed") for _ in range(1000)))
    with pytest.raises(ChecksumMismatch):
        await Patience(60, asyncio.Event()).call(store.request)
    assert store.calls == CHECKSUM_TRIES


async def test_a_stop_ends_the_waiting() -> None:
    hurry = asyncio.Event()
    store = _Store(*(StoreUnreachable("down") for _ in range(1000)))
    patience = Patience(3600, hurry)
    waiting = asyncio.create_task(patience.call(store.request))
    await asyncio.sleep(0.01)
    assert patience.waiting_for == "down"
    hurry.set()
    with pytest.raises(StoreUnreachable):
        await asyncio.wait_for(waiting, 5)


async def test_throttling_is_waited_for_while_it_lasts_and_the_service_is_heard() -> None:
    async def scene() -> None:
        errors = [StoreThrottled("busy", 20.0), *(StoreThrottled("busy") for _ in range(29))]
        store = _Store(*errors)
        patience = Patience(600, asyncio.Event())
        begun = asyncio.get_running_loop().time()
        assert await patience.call(store.request) == "answer"
        assert asyncio.get_running_loop().time() - begun >= 20
        assert patience.throttled_requests == 30

    await asyncio.to_thread(clock.run, scene())


async def test_a_request_that_stalls_is_cut_told_and_sent_again() -> None:
    async def scene() -> None:
        told: list[str] = []
        stalls = 2

        async def request() -> str:
            nonlocal stalls
            if stalls:
                stalls -= 1
                await asyncio.sleep(1e6)
            return "answer"

        patience = Patience(300, asyncio.Event(), told.append)
        assert await patience.call(request, 4096) == "answer"
        assert patience.cut_requests == 2
        assert told[0] == "4096 bytes were not answered within 45 s, and cut off"

    await asyncio.to_thread(clock.run, scene())


async def test_an_outage_is_told_when_it_begins_and_now_and_then_while_it_lasts() -> None:
    async def scene() -> None:
        told: list[str] = []
        store = _Store(*(StoreUnreachable("down") for _ in range(1000)))
        with pytest.raises(StoreUnreachable):
            await Patience(300, asyncio.Event(), told.append).call(store.request)
        assert told[0] == "down"
        assert 5 <= len(told) <= 11
        assert "requests since" in told[1]

    await asyncio.to_thread(clock.run, scene())


class _Renewal:
    """Has so many more credentials."""

    def __init__(self, others: int) -> None:
        self.generation = 0
        self.others = others
        self.asked = 0

    async def renew(self, refused: int) -> bool:
        self.asked += 1
        if refused < self.generation:
            return True
        if not self.others:
            return False
        self.others -= 1
        self.generation += 1
        return True


async def test_a_refused_credential_is_tried_again_when_there_is_another() -> None:
    store, renewal = _Store(StoreRefused("403")), _Renewal(1)
    assert await Patience(5, asyncio.Event(), renewal=renewal).call(store.request) == "answer"
    assert renewal.asked == 1


@pytest.mark.parametrize("others", [0, 9])
async def test_a_credential_that_is_refused_again_is_an_answer(others: int) -> None:
    store = _Store(*(StoreRefused("403") for _ in range(5)))
    with pytest.raises(StoreRefused):
        await Patience(5, asyncio.Event(), renewal=_Renewal(others)).call(store.request)
    assert store.calls == (2 if others else 1)
