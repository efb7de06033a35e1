"""An unlocked BitLocker volume as a BlockSource."""

from __future__ import annotations

from bisect import bisect_right

from agent.volume.bitlocker.ciphers import SectorCipher
from agent.volume.bitlocker.metadata import Metadata
from agent.volume.bitlocker.regions import Kind, Region, lay_out
from agent.volume.block import BlockSource, aligned_buffer, check_range

WINDOW_BYTES = 1024 * 1024
"""Read and decrypted at a time, so that what was read is decrypted while the cache still holds it."""

DETOUR_BYTES = 64 * 1024
"""Up to here a copy costs less than reading and decrypting a ragged end by itself."""


class DecryptedVolume:
    """The plaintext of a volume; as long as its source. Made by ``unlock``.

    A BlockSource, thread-safe as the port demands: each concurrent reader borrows scratch buffers of
    its own from the cipher (one to six megabytes). Whole sectors are read and decrypted in the
    caller's buffer; a ragged first or last sector, or a short ragged piece, takes a detour. Prints no key.
    """

    def __init__(self, source: BlockSource, metadata: Metadata, cipher: SectorCipher) -> None:
        """``metadata`` is authentic and ``source`` at least as long as it says."""
        self.size_bytes = source.size_bytes
        self.sector_size = metadata.sector_size
        self.metadata = metadata
        """The copy that was used, which need not be the first one that looked sound."""
        self._source = source
        self._cipher = cipher
        self._regions = lay_out(metadata, source.size_bytes)
        self._starts = [region.start for region in self._regions]

    @property
    def regions(self) -> tuple[Region, ...]:
        """Where the plain bytes come from, in order."""
        return self._regions

    def read_into(self, offset: int, buffer: memoryview) -> None:
        check_range(self, offset, len(buffer))
        done = 0
        index = bisect_right(self._starts, offset) - 1
        while done < len(buffer):
            region = self._regions[index]
            here = offset + done
            piece = buffer[done : done + region.end - here]
            self._fill(region, here, piece)
            done += len(piece)
            index += 1

    def _fill(self, region: Region, offset: int, piece: memoryview) -> None:
        match region.kind:
            case Kind.ZEROS:
                piece[:] = bytes(len(piece))
            case Kind.PLAIN:
                self._source.read_into(offset, piece)
            case Kind.DECRYPT:
                self._decrypt(offset + region.shift, piece)

    def _decrypt(self, offset: int, piece: memoryview) -> None:
        """``offset`` is on the source, which is also what the sector's tweak counts from."""
        if len(piece) <= DETOUR_BYTES and (offset % self.sector_size or len(piece) % self.sector_size):
            self._decrypt_part(offset, piece)
            return
        head = min(-offset % self.sector_size, len(piece))
        whole_end = head + (len(piece) - head) // self.sector_size * self.sector_size
        if head:
            self._decrypt_part(offset, piece[:head])
        for start in range(head, whole_end, WINDOW_BYTES):
            window = piece[start : min(start + WINDOW_BYTES, whole_end)]
            self._source.read_into(offset + start, window)
            self._cipher.decrypt(offset + start, window)
        if whole_end < len(piece):
            self._decrypt_part(offset + whole_end, piece[whole_end:])

    def _decrypt_part(self, offset: int, part: memoryview) -> None:
        """Whole sectors round ``part``, which is short."""
        inside = offset % self.sector_size
        length = inside + len(part)
        sectors = aligned_buffer(length + -length % self.sector_size)
        self._source.read_into(offset - inside, sectors)
        self._cipher.decrypt(offset - inside, sectors)
        part[:] = sectors[inside:length]

    def __repr__(self) -> str:
        return f"DecryptedVolume({self.metadata.volume_guid}, {self.size_bytes} bytes, {self._cipher!r})"
