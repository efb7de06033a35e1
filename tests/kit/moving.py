"""A mover whose reader serves files from memory, for cases that no image holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from agent.blobs.store import BlobStore
from agent.model.treatment import AS_USUAL, Treatment
from agent.transfer.books import Books
from agent.transfer.items import Item, Marker, Outcome
from agent.transfer.journal import Journal
from agent.transfer.link import Source, Trouble, VolumeRange
from agent.transfer.mover import Mover
from agent.transfer.patience import Patience
from agent.transfer.ring import Ring
from agent.transfer.sender import Sender
from agent.transfer.slots import SlotPool
from agent.volume.ntfs import StreamRef

MIB = 1 << 20


class MemoryLink:
    """A reader that serves files from memory."""

    def __init__(self, items: list[Item], files: dict[int, bytes]) -> None:
        self.ring, self.pool = Ring.create(64), SlotPool(64)
        self._files = files
        self._places = {item.stream.first_offset: item.seq for item in items if item.stream}
        self._open: dict[int, StreamRef] = {}

    async def open(self, ref: StreamRef) -> int:
        self._open[len(self._open)] = ref
        return len(self._open) - 1

    async def drop(self, sid: int) -> None: ...

    async def rescue(self, *, retrying: bool) -> None: ...

    async def fill(
        self, source: Source, offset: int, length: int, slots: list[int], at: int = 0
    ) -> asyncio.Future[Trouble | None]:
        if isinstance(source, VolumeRange):
            place = max(place for place in self._places if place <= source.start)
            whole = self._files[self._places[place]]
            offset += source.start - place
        else:
            ref = source if isinstance(source, StreamRef) else self._open[source]
            whole = self._files[ref.record]
        data = whole[offset : offset + length].ljust(length, b"\0")
        for view in self.ring.views(slots, length, at):
            view[:], data = data[: len(view)], data[len(view) :]
        future: asyncio.Future[Trouble | None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future


def _nothing(journal: Journal) -> None:
    pass


async def move(
    folder: Path,
    items: list[Item],
    files: dict[int, bytes],
    store: BlobStore,
    treatment: Treatment = AS_USUAL,
    *,
    prepare: Callable[[Journal], None] = _nothing,
    block_bytes: int = 4 * MIB,
) -> list[Outcome]:
    """Move all items, whose bytes are in ``files`` by ``seq``; ``prepare`` may add to the journal first."""
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240
    journal = Journal(folder / "journal.sqlite", {"job": "job"})
    prepare(journal)
    journal.add([(item, None) for item in items])
    journal.finish_inventory()
    stop = asyncio.Event()
    books = Books(journal, lambda tally, percent: None)
    await books.load()
    mover = Mover(
        MemoryLink(items, files),  # type: ignore[arg-type]
        Sender(store, Patience(5, stop), 8),
        journal,
        books,
        marker_of=Marker("job", "S1", "00FF"),
        block_bytes=block_bytes,
        volume_bytes=1 << 40,
        stop=stop,
        treatment=treatment,
    )
    try:
        await mover.move()
        await books.flush()
        assert journal.tally().balances
        return [outcome for _, outcome in journal.outcomes()]
    finally:
        journal.close()
