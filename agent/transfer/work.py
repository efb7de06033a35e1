"""One blob under way: its pieces, what became of them, and where their bytes are held."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, overload

from agent.blobs.store import Body
from agent.errors import LeasePresent
from agent.model.blobs import BlobName
from agent.model.codes import BlobType, ChunkStatus
from agent.transfer.hashing import INLINE_BYTES, WholeCrc, WholeHash
from agent.transfer.items import Item, Piece, block_id, ids_tell_content
from agent.transfer.link import Trouble
from agent.transfer.sender import MARKER_KEY, Target
from agent.transfer.sides import SHA256_KEY, Dressed
from agent.transfer.slots import SlotPool
from agent.volume.entry import StreamRef


class Pieces(Sequence[tuple[int, int]]):
    """(offset, length) of the pieces of an item that its file is long enough for; none is made ahead."""

    def __init__(self, item: Item, block_bytes: int) -> None:
        assert item.stream is not None
        self._item, self._block_bytes = item, block_bytes
        self.total = -(-item.length // block_bytes) if item.pieces is None else len(item.pieces)
        self._listed = item.pieces
        if self._listed is None and self.total == 1:
            self._listed = (Piece(0, 0, item.length),)
        if item.pieces is None and item.length <= item.stream.size:
            self._count = self.total
        else:
            self._count = bisect_right(range(self.total), item.stream.size, key=self._end)

    def _end(self, index: int) -> int:
        piece = self.piece(index)
        return piece.offset + piece.length

    def piece(self, index: int) -> Piece:
        """Also of those that the file is too short for, up to ``total``."""
        if self._listed is not None:
            return self._listed[index]
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


class Work:
    """An item under way.

    ``given`` counts the pieces that the plan has given, ``left`` those that are not settled;
    ``put_off``: some could not be had in this sweep. ``placing`` is the question of where the blob goes.
    ``refusal`` is that of a piece, and would be that of all. ``crc`` and ``hash`` are of all that was read.
    """

    __slots__ = (
        "block_bytes",
        "check",
        "crc",
        "dressed",
        "faults",
        "given",
        "hash",
        "ids_tell_content",
        "is_closed",
        "is_whole",
        "item",
        "left",
        "moved_bytes",
        "note",
        "pieces",
        "placing",
        "put_off",
        "refusal",
        "sid",
        "stream",
        "target",
    )

    def __init__(self, dressed: Dressed, block_bytes: int) -> None:
        """``block_bytes`` are those of the item's pieces, where its manifest lists none."""
        item, check = dressed.item, dressed.check
        assert item.stream is not None
        self.dressed, self.item, self.check = dressed, item, check
        self.stream: StreamRef = item.stream
        self.block_bytes = block_bytes
        self.pieces = Pieces(item, block_bytes)
        self.is_whole = item.type is BlobType.BLOCK and self.pieces.total <= 1 and item.length <= block_bytes
        """Whether the blob goes in one request."""
        # An id that tells the content is right only where the content is compared with it.
        self.ids_tell_content = check.compares_pieces and ids_tell_content(item)
        attributes = dressed.attributes
        name, marker = BlobName.restored(item.blob), attributes.metadata[MARKER_KEY]
        self.target = Target(name, item.disposition, attributes, marker, item.length)
        self.left = len(self.pieces)
        self.given = self.moved_bytes = 0
        self.faults: dict[int, ChunkStatus] = {}
        self.note = ""
        self.put_off = self.is_closed = False
        self.refusal: LeasePresent | None = None
        self.sid = -1
        self.placing: asyncio.Task[None] | None = None
        self.crc = WholeCrc(item.length)
        self.hash = WholeHash(md5=check.md5, sha256=check.sha256) if check.hashes else None
        if self.left < self.pieces.total:
            self._fault_what_is_behind_the_end()

    def _fault_what_is_behind_the_end(self) -> None:
        why = f"the file ends at byte {self.stream.size}"
        for index in range(self.left, self.pieces.total):
            self.fault(self.pieces.piece(index), ChunkStatus.FILE_UNEXPECTED_END, why)

    @property
    def is_plain(self) -> bool:
        """Whether one small request makes the blob, and all that is asked is that it is there unchanged."""
        check = self.check
        return (
            self.is_whole
            and self.item.length <= INLINE_BYTES
            and not self.faults
            and not check.hashes
            and not check.is_read_back
            and self.target.attributes.content_md5 is None
        )

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

    async def hash_piece(self, piece: Piece, body: Body) -> None:
        """Add what was read to the hashes, in its turn; zeros lie between the pieces of a page blob."""
        if self.hash is not None:
            await self.hash.feed(piece.ordinal, body, piece.offset - self._end_of(piece.ordinal - 1))

    async def hash_the_rest(self) -> None:
        """Zeros lie behind the last piece of a page blob."""
        if self.hash is not None:
            await self.hash.skip(self.item.length - self._end_of(self.pieces.total - 1))

    def _end_of(self, ordinal: int) -> int:
        if ordinal < 0:
            return 0
        piece = self.pieces.piece(ordinal)
        return piece.offset + piece.length

    def put_hashes_on_blob(self) -> None:
        """Set what was asked for, and what its properties file does not say, on the blob to be."""
        if self.hash is None:
            return
        attributes = self.target.attributes
        if attributes.content_md5 is None:
            attributes = replace(attributes, content_md5=self.md5)
        if self.sha256 is not None and SHA256_KEY not in {key.lower() for key in attributes.metadata}:
            metadata = {**attributes.metadata, SHA256_KEY: self.sha256.hex()}
            attributes = replace(attributes, metadata=metadata)
        self.target = self.target._replace(attributes=attributes)

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


class Cargo(NamedTuple):
    """The bytes of a piece, ordered of the reader: in ``hold``, from byte ``at`` of its first slot on."""

    hold: Hold
    at: int
    filled: asyncio.Future[Trouble | None]


class Load(NamedTuple):
    """A piece and its bytes."""

    work: Work
    piece: Piece
    cargo: Cargo
