"""Checksums of whole files out of pieces that come in any order."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from agent.blobs.crc64 import crc64
from agent.transfer.hashing import INLINE_BYTES, WholeCrc, WholeHash, crc_of_zeros

cuts = st.lists(st.integers(0, 400), max_size=12)


def pieces_of(data: bytes, at: list[int]) -> list[tuple[int, bytes]]:
    edges = [0, *sorted({min(cut, len(data)) for cut in at}), len(data)]
    return [(start, data[start:end]) for start, end in itertools.pairwise(edges)]


@given(st.binary(max_size=400), cuts, st.randoms())
def test_the_crc_of_the_whole_does_not_depend_on_the_order_of_its_pieces(
    data: bytes, at: list[int], shuffled: random.Random
) -> None:
    pieces, whole = pieces_of(data, at), WholeCrc(len(data))
    shuffled.shuffle(pieces)
    for offset, piece in pieces:
        whole.add(offset, len(piece), crc64([piece]))
    assert whole.value() == crc64([data])


@given(st.binary(min_size=1, max_size=400), cuts, st.data())
def test_the_crc_is_unknown_while_a_piece_is_missing_and_holes_of_a_page_blob_are_zeros(
    data: bytes, at: list[int], chosen: st.DataObject
) -> None:
    pieces = [(offset, piece) for offset, piece in pieces_of(data, at) if piece]
    missing = chosen.draw(st.integers(0, len(pieces) - 1))
    whole, holed = WholeCrc(len(data)), bytearray(data)
    for number, (offset, piece) in enumerate(pieces):
        if number == missing:
            holed[offset : offset + len(piece)] = bytes(len(piece))
        else:
            whole.add(offset, len(piece), crc64([piece]))
    assert whole.value() is None
    assert whole.value(gaps_are_zeros=True) == crc64([bytes(holed)])


@given(st.integers(0, 5000))
def test_the_crc_of_zeros_is_that_of_zeros(length: int) -> None:
    assert crc_of_zeros(length) == crc64([bytes(length)])


def test_pieces_that_reach_past_the_end_leave_the_crc_unknown() -> None:
    whole = WholeCrc(3)
    whole.add(0, 4, crc64([b"abcd"]))
    assert whole.value() is None
    assert whole.value(gaps_are_zeros=True) is None


async def test_pieces_are_hashed_in_their_order_however_they_arrive() -> None:
    sizes = [1, INLINE_BYTES + 1, 0, 3 * INLINE_BYTES, 5]
    parts = [random.Random(n).randbytes(size) for n, size in enumerate(sizes)]
    whole = WholeHash(md5=True, sha256=True)
    async with asyncio.TaskGroup() as group:
        for ordinal in (3, 1, 4, 0, 2):
            group.create_task(whole.feed(ordinal, [memoryview(parts[ordinal])]))
    assert whole.md5(5) == hashlib.md5(b"".join(parts)).digest()
    assert whole.sha256(5) == hashlib.sha256(b"".join(parts)).digest()
    assert whole.sha256(6) is None


async def test_holes_are_hashed_as_the_zeros_that_they_are() -> None:
    whole = WholeHash(md5=True, sha256=True)
    await whole.feed(0, [memoryview(b"a")], 9 << 20)
    await whole.feed(1, [memoryview(b"b")], 3)
    await whole.skip(INLINE_BYTES + 1)
    content = bytes(9 << 20) + b"a" + bytes(3) + b"b" + bytes(INLINE_BYTES + 1)
    assert whole.md5(2) == hashlib.md5(content).digest()
    assert whole.sha256(2) == hashlib.sha256(content).digest()


async def test_a_missing_piece_keeps_nobody_waiting_and_leaves_no_hash() -> None:
    whole = WholeHash(md5=False, sha256=True)
    later = asyncio.create_task(whole.feed(1, [memoryview(b"b")]))
    await asyncio.sleep(0)
    assert not later.done()
    whole.give_up()
    await later
    await whole.feed(2, [memoryview(b"c")])
    assert (whole.md5(3), whole.sha256(3)) == (None, None)
