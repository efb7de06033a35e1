"""Small files by the dozen, in all weathers: every slot comes back, every file is settled once."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.blobs.faults import Call, FaultyBlobStore
from agent.blobs.memory import MemoryBlobStore
from agent.blobs.store import NewBlob
from agent.errors import StoreUnreachable
from agent.model.blobs import BlobName
from agent.model.codes import BlobStatus, BlobType, Disposition, DispositionStatus
from agent.model.tally import Tally
from agent.transfer import mover, patience
from agent.transfer.books import Books
from agent.transfer.items import Item, ItemState, Marker, Piece
from agent.transfer.journal import Journal
from agent.transfer.link import Gathered, Source, Trouble, VolumeRange
from agent.transfer.mover import MOST_TOGETHER, Mover
from agent.transfer.patience import Patience
from agent.transfer.ring import SLOT_BYTES, Ring
from agent.transfer.sender import Sender
from agent.transfer.slots import SlotPool
from agent.volume.ntfs import StreamKind, StreamRef

FILES = 300
SLOTS = 4
CLUSTER = 4096
BASE = 1 << 20
"""Before it lies the file table, with every third file, which is resident."""


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.001)


def content_of(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest() * (1 + number * 37 % 100)


def stream_of(number: int) -> StreamRef:
    """One that is resident or compressed must be read through the file system."""
    size, place = len(content_of(number)), BASE + CLUSTER * number
    if number % 3 == 0:
        return StreamRef(number, 1, "", StreamKind.RESIDENT, size, size, 0, (), None, 1024 * number)
    if number % 50 in (1, 2):
        extents = ((place, CLUSTER),)
        return StreamRef(number, 1, "", StreamKind.COMPRESSED, size, size, 1 << 16, extents, None, place)
    return StreamRef(number, 1, "", StreamKind.PLAIN, size, size, 0, ((place, CLUSTER),), None, place)


def item_of(number: int, disposition: Disposition, *, is_listed: bool) -> Item:
    content = content_of(number)
    pieces = (Piece(0, 0, len(content), "AAAA", hashlib.md5(content).digest()),)
    return Item(
        number,
        f"\\{number}",
        f"box/{number}",
        BlobType.BLOCK,
        len(content),
        disposition,
        stream_of(number),
        pieces=pieces if is_listed else None,
    )


@dataclass
class Link:
    """A reader that fills slots out of ``content_of``, after a while, and in its own order."""

    ring: Ring
    pool: SlotPool
    dice: random.Random
    bad: frozenset[int] = frozenset()
    """Files that cannot be read in the first sweep."""
    altered: frozenset[int] = frozenset()
    """Files that are other than their manifest says."""
    is_retrying: bool = False
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    asked: list[Source] = field(default_factory=list)

    async def rescue(self, *, retrying: bool) -> None:
        self.is_retrying = retrying

    async def fill(
        self, source: Source, offset: int, length: int, slots: list[int], at: int = 0
    ) -> asyncio.Future[Trouble | None]:
        future: asyncio.Future[Trouble | None] = asyncio.get_running_loop().create_future()
        self.asked.append(source)
        task = asyncio.create_task(self._fill(future, source, length, slots, at))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return future

    async def _fill(
        self, future: asyncio.Future[Trouble | None], source: Source, length: int, slots: list[int], at: int
    ) -> None:
        await asyncio.sleep(self.dice.random() * 0.002)
        numbers, data = self._bytes(source, length)
        assert len(data) == length
        if not self.bad.isdisjoint(numbers) and not self.is_retrying:
            future.set_result(Trouble("a bad sector", later=True))
            return
        for view in self.ring.views(slots, length, at):
            view[:] = data[: len(view)]
            data = data[len(view) :]
        if not future.done():
            future.set_result(None)

    def _bytes(self, source: Source, length: int) -> tuple[list[int], bytes]:
        match source:
            case StreamRef():
                return [source.record], self._content(source.record)[:length]
            case Gathered(streams):
                parts = [self._content(ref.record)[:size] for ref, size in streams]
                return [ref.record for ref, _ in streams], b"".join(parts)
            case VolumeRange(start):
                first = (start - BASE) // CLUSTER
                numbers = [*range(first, min(first + length // CLUSTER, FILES))]
                return numbers, b"".join(self._content(number).ljust(CLUSTER, b"?") for number in numbers)
        raise AssertionError(source)

    def _content(self, number: int) -> bytes:
        content = content_of(number)
        return bytes(reversed(content)) if number in self.altered else content


class Unhurried(MemoryBlobStore):
    """Answers after a while."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self._dice = dice
        self.batches: list[int] = []

    async def put_blob(self, *args: Any, **kwargs: Any) -> None:
        await asyncio.sleep(self._dice.random() * 0.0005)
        await super().put_blob(*args, **kwargs)

    async def put_blobs(self, blobs: Sequence[NewBlob], is_wanted: Callable[[], bool]) -> int:
        self.batches.append(len(blobs))
        return await super().put_blobs(blobs, is_wanted)


@dataclass
class Scene:
    link: Link
    journal: Journal
    books: Books
    mover: Mover
    stop: asyncio.Event

    async def move(self) -> Tally:
        """To the end, within seconds; every slot is free then."""
        async with asyncio.timeout(60):
            await self.mover.move()
        await self.books.flush()
        assert self.link.pool.in_use == 0
        assert self.books.tally == self.journal.tally()
        return self.books.tally


@asynccontextmanager
async def scene(
    folder: Path,
    store: Any,
    dice: random.Random,
    *,
    disposition: Disposition = Disposition.NO_OVERWRITE,
    is_listed: bool = False,
    bad: frozenset[int] = frozenset(),
    altered: frozenset[int] = frozenset(),
    give_up_after_s: float = 5,
) -> AsyncIterator[Scene]:
    stop = asyncio.Event()
    journal = Journal(folder / "journal.sqlite", {})
    if not journal.is_complete:
        journal.begin_inventory()
        items = [item_of(number, disposition, is_listed=is_listed) for number in range(FILES)]
        journal.add((item, None) for item in items)
        journal.finish_inventory()
    books = Books(journal, lambda tally, percent: None)
    await books.load()
    ring = Ring.create(SLOTS)
    link = Link(ring, SlotPool(SLOTS), dice, bad, altered)
    sender = Sender(store, Patience(give_up_after_s, stop), 4)
    mover = Mover(
        link,  # type: ignore[arg-type]
        sender,
        journal,
        books,
        marker_of=Marker("job", "serial", "volume"),
        block_bytes=SLOT_BYTES,
        volume_bytes=BASE + CLUSTER * FILES,
        stop=stop,
    )
    try:
        yield Scene(link, journal, books, mover, stop)
    finally:
        journal.close()


async def check_contents(store: MemoryBlobStore, numbers: Sequence[int]) -> None:
    for number in numbers:
        parts = [part async for part in store.read(BlobName.parse(f"box/{number}"))]
        assert b"".join(parts) == content_of(number), number


@pytest.mark.parametrize("is_listed", [False, True])
async def test_in_good_weather_nearly_all_go_by_the_dozen(tmp_path: Path, is_listed: bool) -> None:
    dice = random.Random(1)
    store = Unhurried(dice)
    async with scene(tmp_path, store, dice, is_listed=is_listed) as seen:
        assert (await seen.move()).done.files == FILES
    await check_contents(store, range(FILES))
    assert max(store.batches) == MOST_TOGETHER
    assert sum(store.batches) > FILES // 2


async def test_files_in_very_many_pieces_are_not_told_in_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mover, "MAX_GATHERED_EXTENTS", 0)
    dice = random.Random(1)
    store = Unhurried(dice)
    async with scene(tmp_path, store, dice) as seen:
        assert (await seen.move()).done.files == FILES
        gathered = {ref.kind for source in seen.link.asked for ref, _ in getattr(source, "streams", [])}
        pieces = [source for source in seen.link.asked if isinstance(source, StreamRef)]
    assert gathered == {StreamKind.RESIDENT}
    assert StreamKind.COMPRESSED in {ref.kind for ref in pieces}


@pytest.mark.parametrize("disposition", Disposition)
@pytest.mark.parametrize("seed", range(2))
async def test_in_any_weather_each_is_settled_once_and_every_slot_comes_back(
    tmp_path: Path, disposition: Disposition, seed: int
) -> None:
    dice = random.Random(seed)
    inner = Unhurried(dice)

    def fault(call: Call) -> str:
        return dice.choice("ULTC") if call.operation == "put_blob" and dice.random() < 0.02 else "."

    bad = frozenset(dice.sample(range(FILES), 5))
    async with scene(tmp_path, FaultyBlobStore(inner, fault), dice, disposition=disposition, bad=bad) as seen:
        tally = await seen.move()
        outcomes = [outcome for _, outcome in seen.journal.outcomes()]
    assert tally.done.files == FILES
    assert [outcome.seq for outcome in outcomes] == list(range(FILES))
    assert {outcome.final_blob for outcome in outcomes} == {f"box/{number}" for number in range(FILES)}
    await check_contents(inner, range(FILES))
    assert len([name async for name in inner.names(BlobName.parse("box/x").container)]) == FILES


async def test_what_is_other_than_its_manifest_says_fails_alone(tmp_path: Path) -> None:
    dice = random.Random(3)
    store, altered = Unhurried(dice), frozenset({0, 7, 30, 33, 100, 101, 299})
    async with scene(tmp_path, store, dice, is_listed=True, altered=altered) as seen:
        tally = await seen.move()
        failed = {outcome.seq for _, outcome in seen.journal.outcomes() if outcome.state is ItemState.FAILED}
        statuses = {each.blob_status for _, each in seen.journal.outcomes() if each.seq in altered}
    assert failed == altered
    assert statuses == {BlobStatus.COMPLETED_WITH_ERRORS}
    assert tally.done.files == FILES - len(altered)
    await check_contents(store, [number for number in range(FILES) if number not in altered])
    assert len([name async for name in store.names(BlobName.parse("box/x").container)]) == tally.done.files


@pytest.mark.parametrize("seed", range(4))
async def test_a_stop_gives_every_slot_back_and_what_follows_makes_no_blob_twice(
    tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    store = Unhurried(dice)
    async with scene(tmp_path, store, dice, disposition=Disposition.RENAME) as seen:
        asyncio.get_running_loop().call_later(0.02 + 0.03 * dice.random(), seen.stop.set)
        before = (await seen.move()).done.files
        assert before < FILES
    async with scene(tmp_path, store, dice, disposition=Disposition.RENAME) as seen:
        seen.mover.recognition.found()
        assert (await seen.move()).done.files == FILES
        ends = {outcome.disposition_status for _, outcome in seen.journal.outcomes()}
    assert ends == {DispositionStatus.CREATED}
    await check_contents(store, range(FILES))
    assert len([name async for name in store.names(BlobName.parse("box/x").container)]) == FILES


async def test_an_outage_in_the_middle_ends_the_transfer_with_its_own_error_and_no_other(
    tmp_path: Path,
) -> None:
    dice = random.Random(5)
    puts = 0

    def fault(call: Call) -> str:
        nonlocal puts
        puts += call.operation == "put_blob"
        return "U" if puts > 100 else "."

    store = FaultyBlobStore(Unhurried(dice), fault)
    async with scene(tmp_path, store, dice, give_up_after_s=0) as seen:
        with pytest.raises(BaseExceptionGroup) as caught:
            await seen.move()
        assert caught.group_contains(StoreUnreachable)
        assert caught.value.split(StoreUnreachable)[1] is None
