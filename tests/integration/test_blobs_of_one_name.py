"""Files that want the same blob, or each other's: whatever is done is in the store, byte for byte."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import random
from pathlib import Path

import pytest

from agent.blobs.crc64 import crc64
from agent.blobs.faults import FaultyBlobStore
from agent.blobs.memory import MemoryBlobStore
from agent.blobs.store import NO_ATTRIBUTES, BlobStore
from agent.model.blobs import BlobName
from agent.model.codes import BlobType, Disposition, DispositionStatus
from agent.transfer.books import Books
from agent.transfer.items import Item, ItemState, Outcome, Piece, marker
from agent.transfer.journal import Journal
from agent.transfer.link import Source, Trouble, VolumeRange
from agent.transfer.mover import Mover
from agent.transfer.patience import Patience
from agent.transfer.ring import Ring, SlotPool
from agent.transfer.sender import Sender
from agent.volume.ntfs import StreamKind, StreamRef

MIB = 1 << 20
COUNTERS = [base64.b64encode(number.to_bytes(4, "little")).decode() for number in range(3)]


class _Link:
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


def _bytes(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def _item(
    seq: int,
    blob: str,
    data: bytes,
    disposition: Disposition,
    *,
    ids: list[str] | None = None,
    place: int | None = None,
    kind: BlobType = BlobType.BLOCK,
) -> Item:
    place = (seq + 1) << 30 if place is None else place
    size = len(data)
    ref = StreamRef(seq, 1, "", StreamKind.PLAIN, size, size, 0, ((place, size),), None, place)
    pieces = tuple(
        Piece(
            n,
            at,
            len(data[at : at + MIB]),
            ids[n] if ids else None,
            hashlib.md5(data[at : at + MIB]).digest(),
        )
        for n, at in enumerate(range(0, size, MIB))
    )
    return Item(seq, f"\\f{seq}", blob, kind, size, disposition, ref, pieces=pieces)


async def _move(folder: Path, items: list[Item], files: dict[int, bytes], store: BlobStore) -> list[Outcome]:
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240
    journal = Journal(folder / "journal.sqlite", {"job": "job"})
    journal.add([(item, None) for item in items])
    journal.finish_inventory()
    stop = asyncio.Event()
    books = Books(journal, lambda tally, percent: None)
    await books.load()
    mover = Mover(
        _Link(items, files),  # type: ignore[arg-type]
        Sender(store, Patience(5, stop), 8),
        journal,
        books,
        marker_of=lambda item: marker("job", "S1", "00FF", item.seq, item.file_path),
        block_bytes=4 * MIB,
        volume_bytes=1 << 40,
        stop=stop,
    )
    try:
        await mover.move()
        await books.flush()
        assert journal.tally().balances
        return [outcome for _, outcome in journal.outcomes()]
    finally:
        journal.close()


async def _content(store: BlobStore, name: str) -> bytes:
    return b"".join([part async for part in store.read(BlobName.parse(name))])


async def _check(store: BlobStore, outcomes: list[Outcome], files: dict[int, bytes]) -> None:
    done = [outcome for outcome in outcomes if outcome.state is ItemState.DONE]
    for outcome in done:
        assert await _content(store, outcome.final_blob) == files[outcome.seq], outcome
    assert len({outcome.final_blob for outcome in done}) == len(done)


async def _theirs(store: BlobStore, name: str) -> None:
    blob = BlobName.parse(name)
    await store.ensure_container(blob.container)
    await store.put_blob(blob, [memoryview(b"theirs")], crc64([b"theirs"]), NO_ATTRIBUTES, replace=True)


@pytest.mark.parametrize("second_ids", [COUNTERS, None], ids=["same counters", "ids of another length"])
async def test_two_blobs_of_one_name_and_counting_ids_do_not_mix(
    tmp_path: Path, second_ids: list[str] | None
) -> None:
    files, store = {0: _bytes(0, 3 * MIB), 1: _bytes(1, 3 * MIB)}, MemoryBlobStore()
    items = [
        _item(0, "box/x.bin", files[0], Disposition.RENAME, ids=COUNTERS),
        _item(1, "box/x.bin", files[1], Disposition.RENAME, ids=second_ids),
    ]
    outcomes = await _move(tmp_path, items, files, store)
    assert {outcome.final_blob for outcome in outcomes} == {"box/x.bin", "box/x (2).bin"}
    await _check(store, outcomes, files)


async def test_an_overwrite_does_not_replace_what_this_drive_made(tmp_path: Path) -> None:
    files, store = {0: b"a" * 1000, 1: b"b" * 1000}, MemoryBlobStore()
    items = [
        _item(0, "box/x.bin", files[0], Disposition.OVERWRITE, place=9 << 30),
        _item(1, "box/x.bin", files[1], Disposition.RENAME, place=1 << 30),
    ]
    outcomes = await _move(tmp_path, items, files, store)
    assert [outcome.state for outcome in outcomes] == [ItemState.DONE, ItemState.DONE]
    await _check(store, outcomes, files)


async def test_an_overwrite_does_not_replace_what_this_drive_renamed(tmp_path: Path) -> None:
    files, store = {0: b"a" * 1000, 1: b"b" * 1000}, MemoryBlobStore()
    await _theirs(store, "box/x.bin")
    items = [
        _item(0, "box/x.bin", files[0], Disposition.RENAME, place=1 << 30),
        _item(1, "box/x (2).bin", files[1], Disposition.OVERWRITE, place=9 << 30),
    ]
    outcomes = await _move(tmp_path, items, files, store)
    assert {outcome.final_blob for outcome in outcomes} == {"box/x (3).bin", "box/x (2).bin"}
    await _check(store, outcomes, files)


async def test_a_page_blob_overwritten_before_a_stop_is_still_said_to_be(tmp_path: Path) -> None:
    data, store = _bytes(2, 2 * MIB), MemoryBlobStore()
    await _theirs(store, "box/p.vhd")
    item = _item(0, "box/p.vhd", data, Disposition.OVERWRITE, kind=BlobType.PAGE)
    refusing = FaultyBlobStore(store, lambda call: "R" if call.operation == "put_page" else ".")
    with pytest.raises(ExceptionGroup):
        await _move(tmp_path / "first", [item], {0: data}, refusing)
    (outcome,) = await _move(tmp_path / "second", [item], {0: data}, store)
    assert outcome.disposition_status is DispositionStatus.OVERWRITTEN
    assert await _content(store, "box/p.vhd") == data
