"""A hold on a drive by the clock of the machine, which goes on while the machine and its programs sleep."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.catalog import Catalog
from agent.catalog.claims import Claim
from agent.catalog.server import Server
from agent.errors import StateUnusable
from agent.station.lease import Lease
from tests.kit.log import KeptLog
from tests.unit.catalog_cases import name, opened_at_once, serial

HELD = Claim(serial("A"), name(), Server("postgresql://x@/y", "one", "holder", 60.0), 1)


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    async with opened_at_once(tmp_path) as catalog:
        yield catalog


async def test_a_machine_that_slept_past_its_lease_lets_go_though_the_loop_did_not_see_the_time(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept_s, let_go, is_away = [0.0], asyncio.Queue[None](), [True]
    looked = asyncio.Semaphore(0)

    async def renew(_self: Catalog, _claim: Claim) -> None:
        looked.release()
        if is_away[0]:
            raise StateUnusable("the server is away")

    monkeypatch.setattr("agent.station.lease.BEATS", 2000)
    monkeypatch.setattr(Catalog, "renew_claim", renew)

    def seconds() -> float:
        return time.monotonic() + slept_s[0]

    lease = Lease(catalog, HELD, seconds(), KeptLog(), settle_s=15.0, seconds=seconds)
    async with lease.kept(lambda: let_go.put_nowait(None)), asyncio.timeout(20):
        await looked.acquire()
        assert let_go.empty()
        slept_s[0] = 3600.0
        await let_go.get()
        assert not lease.is_good
        for _ in range(5):
            await looked.acquire()
        assert let_go.empty()
        is_away[0] = False
        for _ in range(2):
            await looked.acquire()
        assert lease.is_good
        is_away[0], slept_s[0] = True, 7200.0
        await let_go.get()
