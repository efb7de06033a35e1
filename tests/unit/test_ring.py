"""The ring between reader and uploader."""

from __future__ import annotations

import asyncio
import os

import pytest

from agent.transfer.ring import SLOT_BYTES, Ring, slots_for
from agent.transfer.slots import SlotPool


def test_both_sides_see_the_same_bytes() -> None:
    ring = Ring.create(4)
    other = Ring(os.dup(ring.fd), 4)
    view = other.slot(2, 5)
    view[:] = b"hello"
    view.release()
    assert bytes(ring.slot(2, 5)) == b"hello"
    other.close()
    ring.close()


def test_views_spread_a_length_over_slots_in_order() -> None:
    ring = Ring.create(4)
    lengths = [len(view) for view in ring.views([3, 0], SLOT_BYTES + 7)]
    assert lengths == [SLOT_BYTES, 7]


@pytest.mark.parametrize(("number", "length"), [(-1, 1), (4, 1), (0, SLOT_BYTES + 1), (0, -1)])
def test_a_slot_outside_the_ring_is_refused(number: int, length: int) -> None:
    with pytest.raises(IndexError):
        Ring.create(4).slot(number, length)


def test_slots_for_a_length_round_up() -> None:
    assert [slots_for(n) for n in (0, 1, SLOT_BYTES, SLOT_BYTES + 1)] == [0, 1, 1, 2]


async def test_takers_are_served_in_the_order_they_came() -> None:
    pool, served = SlotPool(4), []
    first = await pool.take(3)

    async def take(name: str, count: int) -> None:
        slots = await pool.take(count)
        served.append(name)
        pool.put_back(slots)

    big = asyncio.create_task(take("big", 4))
    await asyncio.sleep(0)
    small = asyncio.create_task(take("small", 1))
    await asyncio.sleep(0)
    assert served == []
    pool.put_back(first)
    await asyncio.gather(big, small)
    assert served == ["big", "small"]
    assert pool.in_use == 0


async def test_a_taker_that_gives_up_blocks_nobody_and_loses_no_slot() -> None:
    pool = SlotPool(2)
    held = await pool.take(2)
    waiting = asyncio.create_task(pool.take(2))
    await asyncio.sleep(0)
    pool.put_back(held)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert sorted(await pool.take(2)) == [0, 1]


async def test_when_a_taker_of_many_gives_up_those_behind_it_take_what_is_free() -> None:
    pool = SlotPool(4)
    await pool.take(2)
    many = asyncio.create_task(pool.take(3))
    await asyncio.sleep(0)
    few = asyncio.create_task(pool.take(2))
    await asyncio.sleep(0)
    many.cancel()
    with pytest.raises(asyncio.CancelledError):
        await many
    async with asyncio.timeout(5):
        assert await few == [2, 3]


async def test_more_slots_than_there_are_is_an_error_and_no_hang() -> None:
    with pytest.raises(ValueError, match="3 slots"):
        await SlotPool(2).take(3)
