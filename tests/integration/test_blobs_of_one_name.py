"""Files that want the same blob, or each other's: whatever is done is in the store, byte for byte."""

from __future__ import annotations

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
from agent.transfer.items import Item, ItemState, Outcome, Piece
from agent.volume.ntfs import StreamKind, StreamRef
from tests.kit.moving import MIB, move

COUNTERS = [base64.b64encode(number.to_bytes(4, "little")).decode() for number in range(3)]


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
    outcomes = await move(tmp_path, items, files, store)
    assert {outcome.final_blob for outcome in outcomes} == {"box/x.bin", "box/x (2).bin"}
    await _check(store, outcomes, files)


async def test_an_overwrite_does_not_replace_what_this_drive_made(tmp_path: Path) -> None:
    files, store = {0: b"a" * 1000, 1: b"b" * 1000}, MemoryBlobStore()
    items = [
        _item(0, "box/x.bin", files[0], Disposition.OVERWRITE, place=9 << 30),
        _item(1, "box/x.bin", files[1], Disposition.RENAME, place=1 << 30),
    ]
    outcomes = await move(tmp_path, items, files, store)
    assert [outcome.state for outcome in outcomes] == [ItemState.DONE, ItemState.DONE]
    await _check(store, outcomes, files)


async def test_an_overwrite_does_not_replace_what_this_drive_renamed(tmp_path: Path) -> None:
    files, store = {0: b"a" * 1000, 1: b"b" * 1000}, MemoryBlobStore()
    await _theirs(store, "box/x.bin")
    items = [
        _item(0, "box/x.bin", files[0], Disposition.RENAME, place=1 << 30),
        _item(1, "box/x (2).bin", files[1], Disposition.OVERWRITE, place=9 << 30),
    ]
    outcomes = await move(tmp_path, items, files, store)
    assert {outcome.final_blob for outcome in outcomes} == {"box/x (3).bin", "box/x (2).bin"}
    await _check(store, outcomes, files)


async def test_a_page_blob_overwritten_before_a_stop_is_still_said_to_be(tmp_path: Path) -> None:
    data, store = _bytes(2, 2 * MIB), MemoryBlobStore()
    await _theirs(store, "box/p.vhd")
    item = _item(0, "box/p.vhd", data, Disposition.OVERWRITE, kind=BlobType.PAGE)
    refusing = FaultyBlobStore(store, lambda call: "R" if call.operation == "put_page" else ".")
    with pytest.raises(ExceptionGroup):
        await move(tmp_path / "first", [item], {0: data}, refusing)
    (outcome,) = await move(tmp_path / "second", [item], {0: data}, store)
    assert outcome.disposition_status is DispositionStatus.OVERWRITTEN
    assert await _content(store, "box/p.vhd") == data


async def test_a_block_may_take_the_whole_ring_and_none_may_take_more(tmp_path: Path) -> None:
    store = MemoryBlobStore()
    files = {0: _bytes(1, 65 * MIB)}
    items = [_item(0, "box/large.bin", files[0], Disposition.NO_OVERWRITE)]
    items = [items[0]._replace(pieces=None)]
    (outcome,) = await move(tmp_path / "fits", items, files, store, block_bytes=32 * MIB)
    assert outcome.state is ItemState.DONE
    (outcome,) = await move(tmp_path / "does not", items, files, MemoryBlobStore(), block_bytes=33 * MIB)
    assert outcome.state is ItemState.FAILED
    assert "raise transfer.ring_mib to 33" in outcome.note
