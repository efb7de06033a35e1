"""A credential that changes while requests are under way."""

from __future__ import annotations

import asyncio

import pytest

from agent.blobs.memory import MemoryBlobStore
from agent.blobs.renewable import RenewableStore
from agent.blobs.store import BlobProperties, BlobStore
from agent.errors import ConfigInvalid, StoreRefused
from agent.model.blobs import BlobName
from agent.model.identity import ContainerName
from agent.model.secrets import Secret
from agent.transfer import renewal as module
from agent.transfer.patience import Patience
from agent.transfer.renewal import StationRenewal

OLD, NEW = Secret("old"), Secret("new")
BOX = ContainerName.parse("box")


class Store(MemoryBlobStore):
    """Refuses the old credential once it is over; a call may be held."""

    def __init__(self, credential: Secret | None, held: asyncio.Event) -> None:
        super().__init__()
        self.credential, self.held = credential, held
        self.is_closed = False

    async def ensure_container(self, container: ContainerName) -> None:
        if self.credential == OLD:
            raise StoreRefused("403")
        await super().ensure_container(container)

    async def properties(self, name: BlobName) -> BlobProperties:
        await self.held.wait()
        assert not self.is_closed
        return await super().properties(name)

    async def close(self) -> None:
        self.is_closed = True


class Bench:
    def __init__(self) -> None:
        self.held, self.opened, self.asked = asyncio.Event(), list[Store](), 0
        self.store = RenewableStore(self._open, OLD)
        self.renewal = StationRenewal(self.store, self._ask)

    def _open(self, credential: Secret | None) -> BlobStore:
        if credential is not None and credential.reveal() == "broken":
            raise ConfigInvalid("neither a key nor a SAS")
        self.opened.append(Store(credential, self.held))
        return self.opened[-1]

    def _ask(self) -> None:
        self.asked += 1


async def test_a_refused_request_goes_on_with_the_stations_answer_and_it_is_asked_once() -> None:
    bench = Bench()
    patience = Patience(5, asyncio.Event(), renewal=bench.renewal)
    calls = [asyncio.create_task(patience.call(lambda: bench.store.ensure_container(BOX))) for _ in range(8)]
    while not bench.asked:  # noqa: ASYNC110
        await asyncio.sleep(0)
    await bench.renewal.take(NEW)
    await asyncio.gather(*calls)
    assert bench.asked == 1
    assert [store.credential for store in bench.opened] == [OLD, NEW]


async def test_without_another_credential_the_refusal_stands() -> None:
    bench = Bench()
    call = asyncio.create_task(
        Patience(5, asyncio.Event(), renewal=bench.renewal).call(lambda: bench.store.ensure_container(BOX))
    )
    while not bench.asked:  # noqa: ASYNC110
        await asyncio.sleep(0)
    await bench.renewal.take(None)
    with pytest.raises(StoreRefused):
        await call


async def test_a_station_that_does_not_answer_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_TIMEOUT_S", 0.01)
    assert not await Bench().renewal.renew(0)


@pytest.mark.parametrize("credential", [OLD, Secret("broken")])
async def test_the_same_or_a_broken_credential_is_no_other(credential: Secret) -> None:
    bench = Bench()
    await bench.renewal.take(credential)
    assert bench.renewal.generation == 0
    assert len(bench.opened) == 1
    assert not bench.opened[0].is_closed


async def test_a_store_is_closed_when_the_last_call_that_used_it_has_ended() -> None:
    bench = Bench()
    under_way = asyncio.create_task(bench.store.properties(BlobName.parse("box/a")))
    await asyncio.sleep(0)
    await bench.renewal.take(NEW)
    assert not bench.opened[0].is_closed
    bench.held.set()
    await asyncio.gather(under_way, return_exceptions=True)
    assert bench.opened[0].is_closed
    assert not bench.opened[1].is_closed
    await bench.store.close()
    assert bench.opened[1].is_closed
