"""Volumes past sector number 2^32: where readers have gone wrong is a line at 2 TiB of 512-byte sectors.

The volume is sparse: metadata, moved start and the stretches at the lines are there, all else is zeros.
All of it is made by the fixtures, whose sector ciphers share nothing with the agent's.
"""

from __future__ import annotations

import random
from bisect import bisect_right

import pytest

from agent.model.keys import ClearKey
from agent.volume.bitlocker import DecryptedVolume, read_metadata, unlock
from agent.volume.block import BlockSource, check_range, read
from fixtures.fve_ciphers import Cipher, encrypt_sectors
from fixtures.fve_entries import Role, Wrapper
from fixtures.fve_metadata import BLOCK_BYTES, Layout, boot_sector, metadata_block
from fixtures.fve_protectors import ClearKey as ClearKeyProtector
from fixtures.fve_protectors import Context
from fixtures.seeded import Seeded

HEADER_BYTES = 8192
STRETCH_BYTES = 32768
"""Written on either side of each line."""

LINES = (1 << 31, 1 << 32, 1 << 33, 5 << 32)
"""In sectors."""


class SparseSource:
    """Zeros, but for the pieces that were put into it."""

    def __init__(self, size_bytes: int, sector_size: int) -> None:
        self.size_bytes, self.sector_size = size_bytes, sector_size
        self._starts: list[int] = []
        self._pieces: dict[int, bytes] = {}

    def put(self, offset: int, piece: bytes) -> None:
        check_range(self, offset, len(piece))
        self._pieces[offset] = piece
        self._starts = sorted(self._pieces)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        check_range(self, offset, len(buffer))
        buffer[:] = bytes(len(buffer))
        first = max(0, bisect_right(self._starts, offset) - 1)
        for start in self._starts[first:]:
            piece = self._pieces[start]
            low, high = max(start, offset), min(start + len(piece), offset + len(buffer))
            if low < high:
                buffer[low - offset : high - offset] = piece[low - start : high - start]
            if start >= offset + len(buffer):
                break


class Large:
    """A volume of 6 * 2^32 sectors, opened by its clear key."""

    def __init__(self, cipher: Cipher, sector_size: int) -> None:
        seeded = Seeded(f"large {cipher} {sector_size}")
        self.vmk, self.fvek = seeded.take("vmk", 32), seeded.take("fvek", cipher.fvek_bytes)
        self.cipher, self.sector_size = cipher, sector_size
        at = [line * sector_size for line in LINES]
        # The second copy lies behind sector 2^32, the third and the moved start far behind it.
        self.layout = Layout(
            volume_size=(6 << 32) * sector_size,
            sector_size=sector_size,
            sectors_per_cluster=8,
            block_offsets=(0x2100000, at[1] + STRETCH_BYTES, at[2] + STRETCH_BYTES),
            header_offset=at[3] + STRETCH_BYTES,
            header_size=HEADER_BYTES,
        )
        rng = random.Random(f"{cipher} {sector_size}")
        self.plain = {place - STRETCH_BYTES: rng.randbytes(2 * STRETCH_BYTES) for place in at}
        self.plain[self.layout.volume_size - STRETCH_BYTES] = rng.randbytes(STRETCH_BYTES)
        self.start = rng.randbytes(HEADER_BYTES)
        self.source = self._build(seeded)

    def _build(self, seeded: Seeded) -> SparseSource:
        source = SparseSource(self.layout.volume_size, self.sector_size)
        wrapper, guid = Wrapper(), seeded.guid("volume")
        context = Context(seeded.child("protector"), wrapper, self.vmk, guid)
        entries = ClearKeyProtector().protect(context).entry
        entries += wrapper.wrap(Role.FVEK, self.vmk, self.cipher.code, self.fvek)
        block = metadata_block(self.layout, self.cipher, guid, entries, self.vmk, wrapper)
        for offset in self.layout.block_offsets:
            source.put(offset, block)
        source.put(0, boot_sector(self.layout))
        source.put(self.layout.header_offset, self._encrypt(self.layout.header_offset, self.start))
        for offset, plain in self.plain.items():
            source.put(offset, self._encrypt(offset, plain))
        return source

    def _encrypt(self, offset: int, plain: bytes) -> bytes:
        return encrypt_sectors(self.cipher, self.fvek, self.sector_size, offset, plain)


def opened(source: BlockSource) -> DecryptedVolume:
    return unlock(source, read_metadata(source), ClearKey())


@pytest.mark.parametrize("sector_size", [512, 4096])
@pytest.mark.parametrize("cipher", list(Cipher))
def test_a_volume_reads_right_on_both_sides_of_sector_2_to_the_32_and_beyond(
    cipher: Cipher, sector_size: int
) -> None:
    large = Large(cipher, sector_size)
    volume = opened(large.source)
    assert volume.size_bytes == (6 << 32) * sector_size > 2 << 40
    assert read(volume, 0, HEADER_BYTES) == large.start
    for offset, plain in large.plain.items():
        assert read(volume, offset, len(plain)) == plain
        middle = offset + len(plain) // 2
        assert read(volume, middle - 1, 2) == plain[len(plain) // 2 - 1 : len(plain) // 2 + 1]
        for start in (offset, middle - sector_size, middle, offset + len(plain) - sector_size):
            inside = start - offset
            assert read(volume, start, sector_size) == plain[inside : inside + sector_size]
    for zeros, length in [(place, BLOCK_BYTES) for place in large.layout.block_offsets] + [
        (large.layout.header_offset, HEADER_BYTES)
    ]:
        assert read(volume, zeros, length) == bytes(length)


@pytest.mark.parametrize("damaged", [(0,), (0, 1)])
def test_metadata_copies_past_sector_2_to_the_32_are_found(damaged: tuple[int, ...]) -> None:
    large = Large(Cipher.AES_XTS_128, 512)
    for copy in damaged:
        large.source.put(large.layout.block_offsets[copy], bytes(BLOCK_BYTES))
    volume = opened(large.source)
    assert volume.metadata.copy_used == len(damaged) + 1
    assert read(volume, 0, HEADER_BYTES) == large.start
