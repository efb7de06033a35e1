"""Drives that are held up by one thing, and what their progress names."""

from __future__ import annotations

import asyncio
import base64
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agent.blobs.azure import AzureBlobStore
from agent.blobs.faults import Call, FaultyBlobStore
from agent.blobs.memory import MemoryBlobStore
from agent.blobs.store import BlobStore, Body
from agent.model.blobs import BlobAttributes, BlobName
from agent.model.secrets import Secret
from agent.transfer import gauge
from agent.transfer.bottleneck import WINDOW
from agent.transfer.meter import STATION, set_rates
from agent.transfer.uploading import Uploader
from agent.volume.block import BlockSource
from tests.kit import images
from tests.kit.slow_service import SlowService
from tests.kit.transfer import Drive, Told, ingest

KEY = Secret(base64.b64encode(b"a key of nobody").decode())


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window of a second; and that others use the processors of this machine does not count."""
    monkeypatch.setattr(gauge, "LOOK_EVERY_S", 1 / WINDOW)
    monkeypatch.setattr(gauge, "MEASURE_EVERY_S", 0.2)
    monkeypatch.setattr(gauge, "BUSY", float("inf"))


@pytest.fixture
def drive(tmp_path: Path) -> Drive:
    return Drive(images.unpack("demo", tmp_path), tmp_path / "work")


def _named(told: Told) -> str:
    """What was named most of the time; and that the name did not go back and forth."""
    names = [event["limited_by"] for event in told.named("progress")]
    changes = sum(name is not before for before, name in pairwise(names))
    assert changes <= 5, names
    counts = Counter(name for name in names if name is not None)
    assert counts, told.named("progress")[-3:]
    return str(counts.most_common(1)[0][0])


class _SlowDrive:
    """Each read takes its time, and no processor."""

    def __init__(self, inner: BlockSource) -> None:
        self._inner = inner
        self.size_bytes, self.sector_size = inner.size_bytes, inner.sector_size
        self.is_slow = False

    def read_into(self, offset: int, buffer: memoryview) -> None:
        if self.is_slow:
            time.sleep(0.05 + len(buffer) / 20e6)
        self._inner.read_into(offset, buffer)


async def test_a_slow_drive_is_named(drive: Drive) -> None:
    slow: list[_SlowDrive] = []

    def wrap(source: BlockSource) -> BlockSource:
        slow.append(_SlowDrive(source))
        return slow[0]

    def listed(event: dict[str, Any], _: Uploader) -> None:
        slow[0].is_slow = slow[0].is_slow or event["event"] == "inventory"

    drive.wrap = wrap
    assert _named(await ingest(drive, MemoryBlobStore(), listed)) == "drive"


class _BusyStore(MemoryBlobStore):
    """Computes in the uploader's own thread."""

    async def put_blob(
        self, name: BlobName, body: Body, crc64: int, attributes: BlobAttributes, *, replace: bool
    ) -> None:
        begun = time.thread_time()
        while time.thread_time() - begun < 0.01:
            pass
        await asyncio.sleep(0)
        await super().put_blob(name, body, crc64, attributes, replace=replace)


async def test_processors_are_named(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauge, "BUSY", 0.85)
    assert _named(await ingest(drive, _BusyStore())) == "cpu"


@pytest.fixture
async def served() -> AsyncIterator[Callable[[SlowService], BlobStore]]:
    opened: list[tuple[SlowService, AzureBlobStore]] = []

    def serve(service: SlowService) -> BlobStore:
        opened.append((service, AzureBlobStore.connect(service.endpoint, KEY, connections=8)))
        return opened[-1][1]

    yield serve
    for service, store in opened:
        await store.close()
        service.close()


async def test_a_slow_line_is_named(drive: Drive, served: Callable[[SlowService], BlobStore]) -> None:
    drive.block_bytes = 1 << 20
    told = await ingest(drive, served(SlowService(bytes_per_s=500_000)))
    assert _named(told) == "network"


async def test_a_service_that_takes_its_time_to_answer_is_named(
    drive: Drive, served: Callable[[SlowService], BlobStore]
) -> None:
    told = await ingest(drive, served(SlowService(answer_s=0.1)))
    assert _named(told) == "service"


async def test_a_service_that_has_no_room_is_named_and_counted(drive: Drive) -> None:
    refused = 0

    def busy(call: Call) -> str:
        nonlocal refused
        is_refused = call.operation == "put_blob" and 30 <= call.number < 36
        refused += is_refused
        return "T" if is_refused else "."

    drive.give_up_after_s = 60
    told = await ingest(drive, FaultyBlobStore(MemoryBlobStore(), busy))
    assert _named(told) == "service"
    assert 0 < told.last["throttled_requests"] <= refused
    assert told.last["cut_requests"] == 0


async def test_a_cap_is_named(drive: Drive) -> None:
    def cap(event: dict[str, Any], uploader: Uploader) -> None:
        if event["event"] == "opened":
            now = asyncio.get_running_loop().time()
            uploader._pace._board.change(lambda rows: set_rates(rows, {STATION: 4_000_000}, now))

    assert _named(await ingest(drive, MemoryBlobStore(), cap)) == "cap"


@pytest.mark.usefixtures("_brief_pauses")
async def test_an_outage_is_the_networks(drive: Drive) -> None:
    def lost(call: Call) -> str:
        return "U" if call.number > 20 else "."

    drive.give_up_after_s = 1
    told = await ingest(drive, FaultyBlobStore(MemoryBlobStore(), lost))
    assert told.last["event"] == "paused"
    assert _named(told) == "network"
