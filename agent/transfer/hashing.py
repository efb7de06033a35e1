"""Checksums of whole files, from the pieces as they come."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

from agent.blobs.crc64 import combine, crc64
from agent.blobs.store import Body

INLINE_BYTES = 64 * 1024
"""Up to here a checksum (some microseconds) is cheaper than its way to a thread."""


ZEROS = memoryview(bytes(4 << 20))


class WholeCrc:
    """The CRC-64 of ``length`` bytes, combined from those of its pieces, in whatever order they come.

    Pieces that touch become one at once, so memory is that of the gaps between them.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._runs: dict[int, tuple[int, int]] = {}
        """Start to (length, CRC-64)."""
        self._starts: dict[int, int] = {}
        """End to start."""

    def add(self, offset: int, length: int, crc: int) -> None:
        """A piece that no other overlaps."""
        if length in (0, self._length):
            # One piece is the whole of most files.
            self._runs = {0: (length, crc)} if length else self._runs
            return
        start = self._starts.pop(offset, None)
        if start is not None:
            before, first = self._runs.pop(start)
            offset, length, crc = start, before + length, combine(first, crc, length)
        following = self._runs.pop(offset + length, None)
        if following is not None:
            after, second = following
            length, crc = length + after, combine(crc, second, after)
        self._runs[offset] = length, crc
        self._starts[offset + length] = offset

    def value(self, *, gaps_are_zeros: bool = False) -> int | None:
        """None while some bytes are unknown, unless those are zeros, as in a page blob."""
        at = whole = 0
        if len(self._runs) == 1 and 0 in self._runs and self._runs[0][0] == self._length:
            return self._runs[0][1]
        for start, (length, crc) in sorted(self._runs.items()):
            if start != at and not (gaps_are_zeros and start > at):
                return None
            whole = combine(whole, crc_of_zeros(start - at), start - at)
            whole = combine(whole, crc, length)
            at = start + length
        if at == self._length:
            return whole
        if at > self._length or not gaps_are_zeros:
            return None
        return combine(whole, crc_of_zeros(self._length - at), self._length - at)


def crc_of_zeros(length: int) -> int:
    """The CRC-64 of as many zero bytes, in as many steps as ``length`` has bits."""
    value, run, run_length = 0, crc64([b"\0"]), 1
    while length:
        if length & 1:
            value = combine(value, run, run_length)
        run, run_length, length = combine(run, run, run_length), run_length * 2, length >> 1
    return value


class WholeHash:
    """MD5 and SHA-256 of a file whose pieces are read in order, each in a thread of its own.

    A piece waits for those before it, so whoever feeds them must hold each until its turn has come,
    and must say of every one either ``feed`` or ``give_up``.
    """

    def __init__(self, *, md5: bool, sha256: bool) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False) if md5 else None
        self._sha256 = hashlib.sha256() if sha256 else None
        self._turn = 0
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._is_lost = False

    async def feed(self, ordinal: int, body: Body, hole_bytes: int = 0) -> None:
        """The bytes of piece ``ordinal``, counted from 0; returns when they are not needed any more.

        ``hole_bytes`` zeros lie between them and the piece before.
        """
        if ordinal != self._turn and not self._is_lost:
            turn = self._waiting[ordinal] = asyncio.get_running_loop().create_future()
            await turn
        if self._is_lost:
            return
        await self.skip(hole_bytes)
        await self._add(body)
        self._turn += 1
        following = self._waiting.pop(self._turn, None)
        if following is not None and not following.done():
            following.set_result(None)

    async def skip(self, hole_bytes: int) -> None:
        """Zeros that no piece holds; also those behind the last piece."""
        while hole_bytes > 0 and not self._is_lost:
            zeros = ZEROS[: min(hole_bytes, len(ZEROS))]
            await self._add([zeros])
            hole_bytes -= len(zeros)

    async def _add(self, body: Body) -> None:
        updates = [digest.update for digest in (self._md5, self._sha256) if digest is not None]
        if sum(map(len, body)) <= INLINE_BYTES:
            for update in updates:
                _update(update, body)
        else:
            await asyncio.gather(*[asyncio.to_thread(_update, update, body) for update in updates])

    def give_up(self) -> None:
        """A piece is missing: there will be no hash, and nobody need wait for it."""
        self._is_lost = True
        for turn in self._waiting.values():
            if not turn.done():
                turn.set_result(None)
        self._waiting.clear()

    def md5(self, pieces: int) -> bytes | None:
        """Of the whole file; None if it was not asked for, or if not all ``pieces`` have been fed."""
        return self._md5.digest() if self._md5 is not None and self._is_whole(pieces) else None

    def sha256(self, pieces: int) -> bytes | None:
        """As ``md5``."""
        return self._sha256.digest() if self._sha256 is not None and self._is_whole(pieces) else None

    def _is_whole(self, pieces: int) -> bool:
        return not self._is_lost and self._turn == pieces


def _update(update: Callable[[memoryview], object], body: Body) -> None:
    for view in body:
        update(view)


async def crc64_of(body: Body) -> int:
    """The CRC-64 of a body, of a long one in a thread."""
    if sum(map(len, body)) <= INLINE_BYTES:
        return crc64(body)
    return await asyncio.to_thread(crc64, body)


async def matches(body: Body, md5: bytes | None) -> bool:
    """Whether the body has this MD5; None is that of any."""
    if sum(map(len, body)) <= INLINE_BYTES:
        return matches_now(body, md5)
    return await asyncio.to_thread(matches_now, body, md5)


def matches_now(body: Body, md5: bytes | None) -> bool:
    """As ``matches``, here."""
    return md5 is None or _md5(body) == md5


def _md5(body: Body) -> bytes:
    digest = hashlib.md5(usedforsecurity=False)
    _update(digest.update, body)
    return digest.digest()
