"""The one retry layer."""

from __future__ import annotations

import asyncio

import pytest

from agent.errors import ChecksumMismatch, LeasePresent, StoreThrottled, StoreUnreachable
from agent.transfer import patience as module
from agent.transfer.patience import CHECKSUM_TRIES, Patience


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
