"""The mover against a drive of memory that fails at random places, and a store with weather.

What must come out of each run is known beforehand, blob by blob.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.blobs.faults import Call, FaultyBlobStore
from agent.blobs.memory import MemoryBlobStore
from agent.blobs.store import BlobStore
from agent.model.blobs import BlobName
from agent.model.codes import BlobType, Disposition
from agent.model.treatment import Treatment
from agent.model.verification import Verification
from agent.transfer import patience
from agent.transfer.books import Books
from agent.transfer.items import Item, ItemState, Marker, Outcome, Piece
from agent.transfer.journal import Journal
from agent.transfer.link import Source, Trouble, VolumeRange
from agent.transfer.mover import OPEN_ITEMS, Mover
from agent.transfer.patience import Patience
from agent.transfer.ring import Ring
from agent.transfer.sender import Sender
from agent.transfer.slots import SlotPool
from agent.volume.ntfs import StreamKind, StreamRef

BLOCK = 1 << 20
SECTOR = 512
SLOTS = 16


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.0001)


@dataclass
class World:
    """A volume in memory with bad sectors, and what is to be moved from it."""

    dice: random.Random
    volume: bytearray = field(default_factory=bytearray)
    items: list[Item] = field(default_factory=list)
    fleeting: set[int] = field(default_factory=set)
    """Sectors that can be read once they are read anew."""
    lasting: set[int] = field(default_factory=set)
    expected: dict[str, bytes | None] = field(default_factory=dict)
    """What is to be in the store; None where the blob has to fail."""

    def write(self, content: bytes) -> tuple[tuple[int, int], ...]:
        """Put a file on the volume, now and then in two pieces."""
        cut = len(content) // 2 // 4096 * 4096 if self.dice.random() < 0.2 else 0
        extents = []
        for part in filter(None, (content[:cut], content[cut:])):
            if self.dice.random() < 0.3:
                self.volume += bytes(4096 * self.dice.randrange(1, 40))
            extents.append((len(self.volume), -(-len(part) // 4096) * 4096))
            self.volume += part + bytes(-len(part) % 4096)
        return tuple(extents)

    def add(self) -> None:
        """One more file, with whatever may happen to it."""
        dice, seq = self.dice, len(self.items)
        size = dice.choice([0, 1, 700, 4096, 5000, 70_000, BLOCK, BLOCK + 1, 3 * BLOCK + 512])
        kind = dice.choice([BlobType.BLOCK, BlobType.BLOCK, BlobType.PAGE])
        if kind is BlobType.PAGE:
            size -= size % SECTOR
        content = dice.randbytes(size)
        extents = self.write(content)
        first = extents[0][0] if extents else len(self.volume)
        ref = StreamRef(
            record=seq,
            sequence=1,
            name="",
            kind=StreamKind.PLAIN,
            size=size,
            valid_size=size,
            unit_bytes=0,
            extents=extents,
            unsupported=None,
            first_offset=first,
        )
        length, is_lost = size, False
        pieces: tuple[Piece, ...] | None = None
        fate = dice.random()
        if fate < 0.1 and size:
            length, is_lost = size + dice.choice([512, BLOCK]), True
        if kind is BlobType.PAGE or dice.random() < 0.5:
            pieces = self._pieces(content, length)
        if 0.1 < fate < 0.2 and pieces:
            spoilt = dice.randrange(len(pieces))
            wrong = Piece(spoilt, pieces[spoilt].offset, pieces[spoilt].length, None, bytes(16))
            pieces, is_lost = (*pieces[:spoilt], wrong, *pieces[spoilt + 1 :]), True
        if fate > 0.8 and extents:
            bad = self.fleeting if fate < 0.9 else self.lasting
            place = dice.randrange(size)
            bad.add(self._place(extents, place) // SECTOR)
            is_lost = is_lost or fate >= 0.9
        name = f"box/{seq:05}"
        self.items.append(
            Item(seq, f"\\{seq}", name, kind, length, Disposition.NO_OVERWRITE, ref, pieces=pieces)
        )
        self.expected[name] = None if is_lost else content

    def _pieces(self, content: bytes, length: int) -> tuple[Piece, ...]:
        cut = range(0, length, BLOCK)
        ends = [min(at + BLOCK, length) for at in cut]
        return tuple(
            Piece(n, at, end - at, None, hashlib.md5(content[at:end]).digest())
            for n, (at, end) in enumerate(zip(cut, ends, strict=True))
        )

    @staticmethod
    def _place(extents: tuple[tuple[int, int], ...], offset: int) -> int:
        for start, length in extents:
            if offset < length:
                return start + offset
            offset -= length
        raise AssertionError


class FailingLink:
    """A reader of two threads over that volume; stale bytes are left where something could not be read."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ring, self.pool = Ring.create(SLOTS), SlotPool(SLOTS)
        self._refs: dict[int, StreamRef] = {}
        self._queue: asyncio.Queue[tuple[Source, int, int, list[memoryview], asyncio.Future[Trouble | None]]]
        self._queue = asyncio.Queue()
        self._retrying = False
        self.threads = [asyncio.ensure_future(self._serve()) for _ in range(2)]

    async def open(self, ref: StreamRef) -> int:
        self._refs[len(self._refs)] = ref
        return len(self._refs) - 1

    async def drop(self, sid: int) -> None: ...

    async def rescue(self, *, retrying: bool) -> None:
        assert self._queue.empty()
        self._retrying = retrying

    async def fill(
        self, source: Source, offset: int, length: int, slots: list[int], at: int = 0
    ) -> asyncio.Future[Trouble | None]:
        future: asyncio.Future[Trouble | None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((source, offset, length, self.ring.views(slots, length, at), future))
        return future

    async def _serve(self) -> None:
        while True:
            source, offset, length, views, future = await self._queue.get()
            for _ in range(self.world.dice.randrange(6)):
                await asyncio.sleep(0)
            data = self._read(source, offset, length)
            left = data if data is not None else b"\xee" * length
            for view in views:
                view[:], left = left[: len(view)], left[len(view) :]
            trouble = None if data is not None else Trouble("bad", later=not self._retrying)
            if not future.cancelled():
                future.set_result(trouble)

    def _read(self, source: Source, offset: int, length: int) -> bytes | None:
        if isinstance(source, VolumeRange):
            return self._range(source.start + offset, length)
        ref = source if isinstance(source, StreamRef) else self._refs[source]
        parts, at = [], 0
        for start, size in ref.extents:
            assert start is not None
            low, high = max(offset, at), min(offset + length, at + size)
            if low < high:
                parts.append(self._range(start + low - at, high - low))
            at += size
        return None if None in parts else b"".join(part for part in parts if part is not None)

    def _range(self, start: int, length: int) -> bytes | None:
        world = self.world
        for sector in range(start // SECTOR, -(-(start + length) // SECTOR)):
            if sector in world.lasting or (sector in world.fleeting and not self._retrying):
                return None
        return bytes(world.volume[start : start + length]).ljust(length, b"\0")


async def _move(
    world: World, folder: Path, store: BlobStore, treatment: Treatment
) -> tuple[list[Outcome], int]:
    journal = Journal(folder / "journal.sqlite", {"job": "job"})
    journal.add([(item, None) for item in world.items])
    journal.finish_inventory()
    stop = asyncio.Event()
    percents: list[int] = []
    books = Books(journal, lambda tally, percent: percents.append(percent))
    await books.load()
    link = FailingLink(world)
    mover = Mover(
        link,  # type: ignore[arg-type]
        Sender(store, Patience(5, stop), 8),
        journal,
        books,
        marker_of=Marker("job", "S1", "00FF"),
        block_bytes=BLOCK,
        volume_bytes=len(world.volume),
        stop=stop,
        treatment=treatment,
    )
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, len(asyncio.all_tasks()))
            await asyncio.sleep(0)

    watching = asyncio.ensure_future(watch())
    try:
        async with asyncio.timeout(60):
            await mover.move()
        await books.flush()
        assert journal.tally().balances
        assert percents == sorted(percents)
        assert link.pool.in_use == 0
        return [outcome for _, outcome in journal.outcomes()], most
    finally:
        for task in (watching, *link.threads):
            task.cancel()
        journal.close()


async def _content(store: MemoryBlobStore, name: str) -> bytes:
    return b"".join([part async for part in store.read(BlobName.parse(name))])


TREATMENTS = {
    "usual": Treatment(),
    "hashes": Treatment(content_md5=True, sha256=True),
    "readback": Treatment(Verification.parse("readback"), sha256=True),
}


@pytest.mark.usefixtures("_brief_pauses")
@pytest.mark.parametrize("treatment", TREATMENTS.values(), ids=TREATMENTS)
@pytest.mark.parametrize("seed", range(4))
async def test_every_blob_ends_as_its_bytes_allow(tmp_path: Path, seed: int, treatment: Treatment) -> None:
    dice = random.Random(seed)
    world = World(dice)
    for _ in range(80):
        world.add()
    weather = dict.fromkeys((n for n in range(3000) if dice.random() < 0.03), "U")
    inner = MemoryBlobStore()

    def fault(call: Call) -> str:
        return weather.get(call.number, ".")

    outcomes, _ = await _move(world, tmp_path, FaultyBlobStore(inner, fault), treatment)
    failed = {outcome.final_blob for outcome in outcomes if outcome.state is ItemState.FAILED}
    assert failed == {name for name, content in world.expected.items() if content is None}
    for name, content in world.expected.items():
        if content is not None:
            assert await _content(inner, name) == content, name


async def test_blobs_that_need_nothing_read_do_not_all_wait_at_once(tmp_path: Path) -> None:
    world = World(random.Random(1))
    world.volume += bytes(4096)
    for seq in range(1500):
        ref = StreamRef(seq, 1, "", StreamKind.PLAIN, 0, 0, 0, (), None, 4096)
        item = Item(seq, f"\\{seq}", f"box/{seq:05}", BlobType.PAGE, 512, Disposition.NO_OVERWRITE, ref)
        world.items.append(item)
    outcomes, most = await _move(world, tmp_path, MemoryBlobStore(), Treatment())
    assert len(outcomes) == 1500
    assert most < OPEN_ITEMS * 2
