"""``give_up_after_s`` is kept to the second, however many requests hang, and whatever they wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agent.errors import BlobNotFound, StoreThrottled, StoreUnreachable
from agent.transfer.board import Board
from agent.transfer.deadlines import FLOOR_S
from agent.transfer.outage import LAST_TRY_S
from agent.transfer.pace import Pace
from agent.transfer.patience import LONGEST_PAUSE_S, Patience
from tests.kit import clock

GIVE_UP_S = 120.0
BLOCK_BYTES = 4 << 20


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _hangs() -> None:
    await asyncio.sleep(1e6)


async def _refuses() -> None:
    raise StoreUnreachable("connection refused")


async def _busy() -> None:
    raise StoreThrottled("503", 5.0)


def _patience(give_up_s: float = GIVE_UP_S) -> Patience:
    """Of one drive that may send 16 requests at once."""
    hurry = asyncio.Event()
    pace = Pace(Board(), hurry, account="a", job="j", drive="d", connections=16)
    return Patience(give_up_s, hurry, pace=pace)


async def _until_one_gives_up(calls: int, call: Callable[[], Awaitable[object]]) -> float:
    """Seconds until the first of many calls gives up, which ends them all."""
    begun = _now()

    async def ask_all() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(calls):
                group.create_task(call())  # type: ignore[arg-type]

    with pytest.raises(ExceptionGroup) as caught:
        await ask_all()
    assert caught.group_contains(StoreUnreachable) or caught.group_contains(StoreThrottled)
    return _now() - begun


@pytest.mark.parametrize(("store", "calls"), [(_hangs, 1), (_hangs, 200), (_refuses, 1), (_refuses, 200)])
def test_a_store_that_is_gone_is_given_up_when_the_setting_says_so(
    store: Callable[[], Awaitable[None]], calls: int
) -> None:
    async def scene() -> None:
        patience = _patience()
        took_s = await _until_one_gives_up(calls, lambda: patience.call(store, BLOCK_BYTES))
        if store is _hangs:
            # The deadline of a large request on a line that nobody knows yet is longer than that.
            slow_s = 45 + 6 * BLOCK_BYTES / 65536
            assert took_s == pytest.approx(slow_s + GIVE_UP_S, abs=0.1)
        else:
            assert GIVE_UP_S - LONGEST_PAUSE_S <= took_s <= GIVE_UP_S + 0.1

    clock.run(scene())


@pytest.mark.parametrize("calls", [1, 200])
def test_small_requests_that_hang_are_counted_from_the_first_one_on(calls: int) -> None:
    async def scene() -> None:
        patience = _patience()
        took_s = await _until_one_gives_up(calls, lambda: patience.call(_hangs))
        assert FLOOR_S < took_s <= GIVE_UP_S + 0.1

    clock.run(scene())


def test_a_line_that_was_quick_makes_no_secret_of_an_outage_of_large_requests() -> None:
    async def scene() -> None:
        patience = _patience()

        async def quick() -> None:
            await asyncio.sleep(0.5)

        for _ in range(20):
            await patience.call(quick, BLOCK_BYTES)
        took_s = await _until_one_gives_up(64, lambda: patience.call(_hangs, BLOCK_BYTES))
        assert took_s == pytest.approx(GIVE_UP_S, abs=0.1)

    clock.run(scene())


def test_any_answer_shows_that_there_is_no_outage() -> None:
    async def scene() -> None:
        patience = _patience()
        left = 40

        async def missing() -> None:
            raise BlobNotFound("404")

        async def ask_now_and_then() -> None:
            for _ in range(8):
                await asyncio.sleep(GIVE_UP_S / 4)
                with pytest.raises(BlobNotFound):
                    await patience.call(missing)

        async def slow() -> str:
            nonlocal left
            left -= 1
            await asyncio.sleep(300 if left > 38 else 0)
            return "answer"

        async with asyncio.TaskGroup() as group:
            group.create_task(ask_now_and_then())
            answer = group.create_task(patience.call(slow, BLOCK_BYTES))
        assert answer.result() == "answer"
        assert patience.cut_requests == 0

    clock.run(scene())


def test_a_busy_store_is_not_given_up_while_it_says_when_to_come_again() -> None:
    async def scene() -> None:
        patience = _patience(give_up_s=30)
        told = [StoreThrottled("503", 100.0)]

        async def busy_once() -> str:
            if told:
                raise told.pop()
            return "answer"

        assert await patience.call(busy_once) == "answer"

    clock.run(scene())


def test_a_store_that_is_busy_for_ever_is_given_up() -> None:
    async def scene() -> None:
        patience = _patience()
        took_s = await _until_one_gives_up(64, lambda: patience.call(_busy))
        # The 5 s that it asks for come on top, once.
        assert took_s <= GIVE_UP_S + 5.1

    clock.run(scene())


def test_what_is_still_asked_for_when_the_time_is_over_is_asked_once_and_shortly() -> None:
    async def scene() -> None:
        patience = _patience()
        await _until_one_gives_up(3, lambda: patience.call(_hangs))
        begun = _now()
        with pytest.raises(StoreUnreachable, match=r"no request was answered for 120 s|not answered within"):
            await patience.call(_hangs)
        assert _now() - begun <= LAST_TRY_S + 0.1

        async def answers() -> str:
            return "answer"

        assert await patience.call(answers) == "answer"
        took_s = await _until_one_gives_up(3, lambda: patience.call(_hangs))
        assert took_s > FLOOR_S

    clock.run(scene())
