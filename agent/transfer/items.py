"""What is to be moved, and what became of it, as values that the journal keeps."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from agent.model.codes import (
    BlobStatus,
    BlobType,
    ChunkStatus,
    Disposition,
    DispositionStatus,
    SideFileStatus,
)
from agent.model.verification import Verified
from agent.volume.entry import StreamRef

MAX_BLOCKS = 50_000


class ItemState(StrEnum):
    """Where an item stands in the books."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


# Named tuples, for one or more of each is made for every file: a frozen dataclass sets each of its fields
# by a call of its own, at five times the price.
class Piece(NamedTuple):
    """A block or page range to move: bytes [offset, offset + length) of file and blob alike.

    ``id`` is the manifest's block id, ``md5`` the 16 bytes it promises; both None without a manifest.
    """

    ordinal: int
    offset: int
    length: int
    id: str | None = None
    md5: bytes | None = None


class SideFiles(NamedTuple):
    """Numbers of the journal's side files: list-level default and the blob's own."""

    list_metadata: int | None = None
    metadata: int | None = None
    list_properties: int | None = None
    properties: int | None = None


class FileFacts(NamedTuple):
    """What NTFS says of a file: FILETIMEs, 0 for none, and the DOS attributes.

    ``changed`` is when its record was changed last (ctime), ``created`` when it was made (btime).
    """

    modified: int = 0
    changed: int = 0
    created: int = 0
    attributes: int = 0


NO_FACTS = FileFacts()
NO_SIDE = SideFiles()


class Item(NamedTuple):
    """One blob to make out of one stream of the drive.

    ``file_path`` is relative to the volume's root, with backslashes and a leading one; ``blob`` is
    ``container/path`` as asked for; ``length`` bytes. ``pieces`` is None when the manifest lists
    none: then they follow from the length.
    """

    seq: int
    file_path: str
    blob: str
    type: BlobType
    length: int
    disposition: Disposition
    stream: StreamRef | None
    facts: FileFacts = NO_FACTS
    side: SideFiles = NO_SIDE
    pieces: tuple[Piece, ...] | None = None


NO_PIECES: Final[Mapping[int, ChunkStatus]] = MappingProxyType({})


class Outcome(NamedTuple):
    """What became of an item. ``pieces`` holds only those that did not go the way of the blob.

    ``verified`` is None where nothing was moved.
    """

    seq: int
    state: ItemState
    blob_status: BlobStatus
    disposition_status: DispositionStatus
    final_blob: str
    note: str = ""
    pieces: Mapping[int, ChunkStatus] = NO_PIECES
    metadata_status: SideFileStatus | None = None
    properties_status: SideFileStatus | None = None
    verified: Verified | None = None


def pieces_of(item: Item, block_bytes: int) -> Iterator[Piece]:
    """The item's pieces in order: the manifest's, or blocks of ``block_bytes``."""
    if item.pieces is not None:
        yield from item.pieces
        return
    for ordinal, offset in enumerate(range(0, item.length, block_bytes)):
        yield Piece(ordinal, offset, min(block_bytes, item.length - offset))


def block_bytes_for(length: int, preferred: int) -> int:
    """The block size for a file: ``preferred``, or more when 50,000 of those would not hold it."""
    needed = -(-length // MAX_BLOCKS)
    return max(preferred, -(-needed // preferred) * preferred)


class Marker:
    """Makes 16 hex digits that tell our own blob from anybody else's, on this station or another.

    They are set as metadata ``ingestid``; a reply that was lost, or a journal, is so made up for. A file
    that was changed on the drive since its blob was made has others. Of items that may be renamed each has
    its own, also when a manifest lists one file twice.
    """

    def __init__(self, job: str, serial: str, volume: str) -> None:
        # What all items of a volume have in common is hashed once.
        common = "\0".join((job, serial, volume, ""))
        self._common = hashlib.blake2b(common.encode("utf-8", "surrogatepass"), digest_size=8)

    def __call__(self, item: Item) -> str:
        """Of an item that has a stream."""
        stream = item.stream
        assert stream is not None
        nth = item.seq if item.disposition is Disposition.RENAME else ""
        text = f"{stream.record}.{stream.sequence}.{nth}.{item.facts.changed}\0{item.file_path}"
        digest = self._common.copy()
        digest.update(text.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


def ids_tell_content(item: Item) -> bool:
    """Whether the manifest's ids are all made of their block's content (``MD5/...``)."""
    return item.pieces is not None and all(
        piece.md5 is not None and piece.id == "MD5/" + base64.b64encode(piece.md5).decode("ascii")
        for piece in item.pieces
    )


def block_id(mark: str, piece: Piece, *, by_content: bool) -> str:
    """The id under which a piece is staged; all ids of a blob have one length.

    The manifest's own id only where all ids of the blob are made of the content (``by_content``). Any
    other, such as a counter, may be staged under the same blob name by somebody else at the same time,
    and a commit would take their bytes for ours (docs/adr/0008-block-ids.md); so it becomes the marker
    and the piece's place.
    """
    if piece.id is not None and by_content:
        return piece.id
    return base64.b64encode(f"{mark}-{piece.offset:014x}".encode("ascii")).decode("ascii")
