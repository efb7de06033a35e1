"""AES-CBC with the Elephant diffuser (Windows Vista to 7), many sectors at a time.

After CBC come two unkeyed diffusers over the words of a sector, and an XOR with the sector key.
Source: N. Ferguson, "AES-CBC + Elephant diffuser" (Microsoft, 2006), sections 4.3 and 4.4.
"""

from __future__ import annotations

import numpy as np

from agent.volume.bitlocker.ciphers.cbc import CbcLane
from agent.volume.bitlocker.ciphers.diffuser import MASK_WORDS, DiffuserA, DiffuserB
from agent.volume.bitlocker.ciphers.sector_cipher import EcbPass, HalfWords, Lanes, padded, windows

WINDOW_BYTES = 1024 * 1024
"""The diffusers are bound by the number of calls, so rows are longer here than for other ciphers."""

_PART_BYTES = 256 * 1024
"""What diffuser B works on at a time, so that it stays in the cache."""

_SECTOR_KEY_BYTES = 4 * MASK_WORDS


class ElephantCipher:
    """``cbc_key`` and ``tweak_key`` are AES keys of 16 or 32 bytes."""

    def __init__(self, cbc_key: bytes, tweak_key: bytes, sector_size: int) -> None:
        self.sector_size = sector_size
        self._lanes = Lanes(lambda: _ElephantLane(cbc_key, tweak_key, sector_size))

    @classmethod
    def with_128_bits(cls, key: bytes, sector_size: int) -> ElephantCipher:
        """Of a 64-byte volume key: the first half of each half counts."""
        return cls(key[:16], key[32:48], sector_size)

    @classmethod
    def with_256_bits(cls, key: bytes, sector_size: int) -> ElephantCipher:
        """Of a 64-byte volume key."""
        return cls(key[:32], key[32:64], sector_size)

    def decrypt(self, offset: int, buffer: memoryview) -> None:
        with self._lanes.lend() as lane:
            for start, window in windows(offset, buffer, self.sector_size, WINDOW_BYTES):
                lane.decrypt(start, window)

    def __repr__(self) -> str:
        return f"ElephantCipher(sector_size={self.sector_size}, key=***)"


class _ElephantLane:
    """The scratch of one caller: about six windows of memory."""

    def __init__(self, cbc_key: bytes, tweak_key: bytes, sector_size: int) -> None:
        self._cbc = CbcLane(cbc_key, sector_size, WINDOW_BYTES)
        self._key_pass = EcbPass(tweak_key, decrypt=False)
        self._sector_words = sector_size // 4
        self._sector_size = sector_size
        sectors = WINDOW_BYTES // sector_size
        self._offsets = np.zeros((sectors, 4), "<u8")
        # Byte 15 of the second block tells the two halves of a sector key apart.
        self._offsets[:, 3] = 0x80 << 56
        self._keys = padded(sectors * _SECTOR_KEY_BYTES)
        self._diffuser_b = DiffuserB(self._sector_words, _PART_BYTES // sector_size)
        self._diffusers_a: dict[int, DiffuserA] = {}

    def decrypt(self, offset: int, window: memoryview) -> None:
        mixed = self._cbc.decrypt(offset, window).view("<u4").reshape(-1, self._sector_words)
        self._diffuser_b.undo(mixed)
        plain = np.frombuffer(window, "<u4").reshape(mixed.shape)
        self._diffuser_a(len(mixed)).undo(mixed, self._sector_keys(offset, len(mixed)), plain)

    def _diffuser_a(self, sectors: int) -> DiffuserA:
        """One for every power of two, so that a short window does not pay for a long one."""
        rounded = 1 << (sectors - 1).bit_length()
        if rounded not in self._diffusers_a:
            self._diffusers_a[rounded] = DiffuserA(self._sector_words, rounded)
        return self._diffusers_a[rounded]

    def _sector_keys(self, offset: int, sectors: int) -> HalfWords:
        offsets = self._offsets[:sectors]
        end = offset + sectors * self._sector_size
        numbers = np.arange(offset, end, self._sector_size, dtype=np.uint64)
        offsets[:, 0] = offsets[:, 2] = numbers
        self._key_pass.run(offsets, self._keys)
        return self._keys[: sectors * _SECTOR_KEY_BYTES].view("<u4").reshape(sectors, MASK_WORDS)
