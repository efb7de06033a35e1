"""One blob under way: its pieces, what became of them, and where their bytes are held."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import overload

from agent.errors import LeasePresent
from agent.model.codes import BlobType, ChunkStatus
from agent.transfer.hashing import WholeCrc, WholeHash
from agent.transfer.items import Item, Piece, block_id
from agent.transfer.link import Trouble
from agent.transfer.ring import SlotPool
from agent.transfer.sender import Target
from agent.transfer.sides import SHA256_KEY, Dressed
from agent.transfer.verify import Check
from agent.volume.ntfs import StreamRef


class Pieces(Sequence[tuple[int, int]]):
    """(offset, length) of the pieces of an item that its file is long enough for; none is made ahead."""

    def __init__(self, item: Item, block_bytes: int) -> None:
        assert item.stream is not None
        self._item, self._block_bytes = item, block_bytes
        listed = item.pieces
        self.total = -(-item.length // block_bytes) if listed is None else len(listed)
        self._count = bisect_right(range(self.total), item.stream.size, key=self._end)

    def _end(self, index: int) -> int:
        piece = self.piece(index)
        return piece.offset + piece.length

    def piece(self, index: int) -> Piece:
        """Also of those that the file is too short for, up to ``total``."""
        if self._item.pieces is not None:
            return self._item.pieces[index]
        offset = index * self._block_bytes
        return Piece(index, offset, min(self._block_bytes, self._item.length - offset))

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> tuple[int, int]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[int, int]]: ...
    def __getitem__(self, index: int | slice) -> tuple[int, int] | Sequence[tuple[int, int]]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(self._count))]
        if not 0 <= index < self._count:
            raise IndexError(index)
        piece = self.piece(index)
        return piece.offset, piece.length


@dataclass(slots=True)
class Work:
    """An item under way.

    ``given`` counts the pieces that the plan has given, ``left`` those that are not settled;
    ``put_off``: some could not be had in this sweep. ``placing`` is the question of where the blob goes.
    ``refusal`` is that of a piece, and would be that of all. ``crc`` and ``hash`` are of all that was read.
    """

    dressed: Dressed
    target: Target
    block_bytes: int
    ids_tell_content: bool
    pieces: Pieces
    left: int
    given: int = 0
    faults: dict[int, ChunkStatus] = field(default_factory=dict)
    note: str = ""
    moved_bytes: int = 0
    put_off: bool = False
    refusal: LeasePresent | None = None
    is_closed: bool = False
    sid: int = -1
    placing: asyncio.Task[None] | None = None
    crc: WholeCrc = field(init=False)
    hash: WholeHash | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """What is computed of the whole file begins empty."""
        self.crc = WholeCrc(self.item.length)
        if self.check.hashes:
            self.hash = WholeHash(md5=self.check.md5, sha256=self.check.sha256)

    @property
    def item(self) -> Item:
        return self.dressed.item

    @property
    def check(self) -> Check:
        return self.dressed.check

    @property
    def crc64(self) -> int | None:
        """Of the whole blob; None when not all of it was read."""
        return self.crc.value(gaps_are_zeros=self.item.type is BlobType.PAGE)

    @property
    def md5(self) -> bytes | None:
        """Of the whole file, where it is asked for and all was read."""
        return self.hash.md5(self.pieces.total) if self.hash is not None else None

    @property
    def sha256(self) -> bytes | None:
        """As ``md5``."""
        return self.hash.sha256(self.pieces.total) if self.hash is not None else None

    def put_hashes_on_blob(self) -> None:
        """Set what was asked for, and what its properties file does not say, on the blob to be."""
        attributes = self.target.attributes
        if attributes.content_md5 is None:
            attributes = replace(attributes, content_md5=self.md5)
        if self.sha256 is not None and SHA256_KEY not in {key.lower() for key in attributes.metadata}:
            metadata = {**attributes.metadata, SHA256_KEY: self.sha256.hex()}
            attributes = replace(attributes, metadata=metadata)
        self.target = replace(self.target, attributes=attributes)

    @property
    def stream(self) -> StreamRef:
        assert self.item.stream is not None
        return self.item.stream

    @property
    def is_whole(self) -> bool:
        """Whether the blob goes in one request."""
        small = self.item.length <= self.block_bytes
        return self.item.type is BlobType.BLOCK and self.pieces.total <= 1 and small

    def block_id(self, piece: Piece) -> str:
        return block_id(self.target.marker, piece, by_content=self.ids_tell_content)

    def fault(self, piece: Piece, status: ChunkStatus, note: str) -> None:
        self.faults[piece.ordinal] = status
        self.note = self.note or note


class Hold:
    """Slots that several pieces share; the last of ``users`` to release them puts them back."""

    def __init__(self, pool: SlotPool, slots: list[int], users: int) -> None:
        self._pool, self.slots, self._users = pool, slots, users

    def release(self) -> None:
        self._users -= 1
        if not self._users:
            self._pool.put_back(self.slots)


@dataclass(frozen=True, slots=True)
class Cargo:
    """The bytes of a piece, ordered of the reader: in ``hold``, from byte ``at`` of its first slot on."""

    hold: Hold
    at: int
    filled: asyncio.Future[Trouble | None]
