"""Which verification a file is to have, and the deepest one: its blob is read back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from agent.errors import BlobNotFound, BlobRequestFailed, LeasePresent, StoreRefused
from agent.model.blobs import BlobAttributes, BlobName
from agent.model.codes import BlobType
from agent.model.treatment import Treatment
from agent.model.verification import Depth, Verdict
from agent.transfer.items import Item
from agent.transfer.sender import Sender

READBACKS = 4
"""Blobs that are read back at once."""

MAX_HOLE_BYTES = 64 << 30
"""A page blob may be terabytes of zeros of which no byte is on the drive, and hashes would take hours."""

NO_HASHES = "the manifest lists no hash of it"


@dataclass(frozen=True, slots=True)
class Check:
    """What is to be found out of one file.

    ``note`` says what of it cannot be had. ``md5`` and ``sha256`` are of the whole file;
    ``promised_md5`` is what its properties file says of it.
    """

    depth: Depth
    compares_pieces: bool
    note: str = ""
    md5: bool = False
    sha256: bool = False
    promised_md5: bytes | None = None

    @property
    def hashes(self) -> bool:
        """Whether the file's bytes are needed in order."""
        return self.md5 or self.sha256

    @property
    def is_read_back(self) -> bool:
        """Whether the blob is downloaded."""
        return self.depth is Depth.READBACK

    @property
    def needs_all_bytes(self) -> bool:
        """Whether even what the store has already is read from the drive once more."""
        return self.hashes or self.is_read_back


def check_of(item: Item, treatment: Treatment, marker: str, attributes: BlobAttributes) -> Check:
    """What the job asks for one item. ``marker`` is the item's own, 16 hex digits.

    It decides which files are read back where not all are, so that a resume chooses the same.
    """
    wanted = treatment.verification
    has_hashes = item.pieces is not None and all(piece.md5 is not None for piece in item.pieces)
    depth = Depth.MANIFEST if has_hashes else Depth.TRANSIT
    note = ""
    if wanted is not None:
        if wanted.depth is Depth.READBACK and int(marker, 16) % 100 < wanted.percent:
            depth = Depth.READBACK
        elif wanted.depth is not Depth.READBACK:
            depth = wanted.depth
            note = NO_HASHES if depth is Depth.MANIFEST and not has_hashes else ""
    is_hashable = hole_bytes(item) <= MAX_HOLE_BYTES
    promised = attributes.content_md5 if is_hashable else None
    return Check(
        depth,
        depth is not Depth.TRANSIT and has_hashes,
        note,
        md5=is_hashable and (treatment.content_md5 or promised is not None),
        sha256=is_hashable and treatment.sha256,
        promised_md5=promised,
    )


def hole_bytes(item: Item) -> int:
    """Those of a page blob that lie in none of its ranges."""
    if item.type is BlobType.BLOCK or item.pieces is None:
        return 0
    return item.length - sum(piece.length for piece in item.pieces)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a verification found, and why it is not a match."""

    verdict: Verdict
    note: str = ""


class ReadBack:
    """Downloads blobs and compares them with what was read from the drive."""

    def __init__(self, sender: Sender, stop: asyncio.Event) -> None:
        self._sender, self._stop = sender, stop
        self._room = asyncio.Semaphore(READBACKS)
        self._refused: Finding | None = None

    async def compare(
        self, name: BlobName, length: int, crc64: int | None, begun: Callable[[], None]
    ) -> Finding | None:
        """None when the transfer was told to stop; ``begun`` is called when the download begins.

        A blob that differs is downloaded twice before it is said. Raises StoreUnreachable and
        StoreThrottled when the store does not answer for as long as it is waited for.
        """
        async with self._room:
            begun()
            if crc64 is None:
                return Finding(Verdict.UNKNOWN, "not read back: not all of the file's bytes were read")
            finding = await self._once(name, length, crc64)
            if finding is not None and finding.verdict is Verdict.DIFFER:
                finding = await self._once(name, length, crc64)
            return finding

    async def _once(self, name: BlobName, length: int, crc64: int) -> Finding | None:
        if self._refused is not None:
            return self._refused
        try:
            found = await self._sender.crc64_of(name, length, self._stop)
        except StoreRefused as error:
            # A credential that may only write is refused for every blob: it is asked once.
            self._refused = Finding(Verdict.UNKNOWN, f"not read back: {error.detail}")
            return self._refused
        except BlobNotFound as error:
            return Finding(Verdict.DIFFER, f"when it was to be read back it was gone: {error.detail}")
        except (BlobRequestFailed, LeasePresent) as error:
            return Finding(Verdict.UNKNOWN, f"not read back: {error.detail}")
        if found is None:
            return None
        if found == (crc64, length):
            return Finding(Verdict.MATCH)
        return Finding(
            Verdict.DIFFER,
            f"read back, the blob has {found[1]} bytes with the CRC-64 {found[0]}, and the drive's "
            f"file {length} with {crc64}; the blob was left in its place",
        )
