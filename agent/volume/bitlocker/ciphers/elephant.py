"""AES-CBC with the Elephant diffuser (Windows Vista to 7), many sectors at a time.

After CBC come two unkeyed diffusers over the 32-bit words of a sector, and an XOR with the sector
key. Source: N. Ferguson, "AES-CBC + Elephant diffuser" (Microsoft, 2006), sections 4.3 and 4.4.

Words are held as ``[word][sector]``, so that a step of a diffuser is one pass over a row of all
sectors. Undoing diffuser B reads only words that its round has not yet changed, apart from the last
five, so a whole round is one pass. Undoing diffuser A depends on the word two back; its four
rotations of a turn look five back and are done together.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agent.volume.bitlocker.ciphers.cbc import CbcLane
from agent.volume.bitlocker.ciphers.sector_cipher import (
    BLOCK_BYTES,
    EcbPass,
    HalfWords,
    Lanes,
    padded,
    windows,
)

ROUNDS_A = 5
ROUNDS_B = 3
WINDOW_BYTES = 1024 * 1024
"""The diffusers are bound by the number of passes, so rows are longer here than for other ciphers."""

SECTOR_KEY_BYTES = 32


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
    """The scratch of one caller: about four windows of memory."""

    def __init__(self, cbc_key: bytes, tweak_key: bytes, sector_size: int) -> None:
        self._cbc = CbcLane(cbc_key, sector_size, WINDOW_BYTES)
        self._key_pass = EcbPass(tweak_key, decrypt=False)
        self._sector_size = sector_size
        sectors = WINDOW_BYTES // sector_size
        self._offsets = np.zeros((sectors, 4), "<u8")
        # Byte 15 of the second block tells the two halves of a sector key apart.
        self._offsets[:, 3] = 0x80 << 56
        self._keys = padded(sectors * SECTOR_KEY_BYTES)
        self._diffuser = _Diffuser(sector_size // 4, sectors)

    def decrypt(self, offset: int, window: memoryview) -> None:
        mixed = self._cbc.decrypt(offset, window).view("<u4").reshape(-1, self._sector_size // 4)
        plain = np.frombuffer(window, "<u4").reshape(mixed.shape)
        self._diffuser.undo(mixed, plain)
        words = plain.view("<u8").reshape(len(plain), -1, SECTOR_KEY_BYTES // 8)
        np.bitwise_xor(words, self._sector_keys(offset, len(plain))[:, None, :], words)

    def _sector_keys(self, offset: int, sectors: int) -> npt.NDArray[np.uint64]:
        offsets = self._offsets[:sectors]
        end = offset + sectors * self._sector_size
        numbers = np.arange(offset, end, self._sector_size, dtype=np.uint64)
        offsets[:, 0] = offsets[:, 2] = numbers
        self._key_pass.run(offsets, self._keys)
        return self._keys[: sectors * SECTOR_KEY_BYTES].view("<u8").reshape(sectors, -1)


assert SECTOR_KEY_BYTES == 2 * BLOCK_BYTES


class _Diffuser:
    """Both diffusers backwards, over ``[word][sector]`` with guard rows where indices wrap round.

    Row 0 mirrors the last word (for diffuser A, which looks back across the start) and the five
    rows behind mirror the first words (for diffuser B, which looks ahead across the end).
    """

    def __init__(self, words: int, sectors: int) -> None:
        self._count = words
        self._rows = np.empty((1 + words + 5, sectors), "<u4")
        self._left = np.empty((words, sectors), "<u4")
        self._right = np.empty((words, sectors), "<u4")

    def undo(self, source: HalfWords, target: HalfWords) -> None:
        """``source`` and ``target`` are ``[sector][word]``."""
        rows = self._rows[:, : len(source)]
        rows[1 : 1 + self._count] = source.T
        for _ in range(ROUNDS_B):
            self._undo_b(rows)
        for _ in range(ROUNDS_A):
            self._undo_a(rows)
        target[:] = rows[1 : 1 + self._count].T

    def _undo_b(self, rows: HalfWords) -> None:
        """d[i] += d[i+2] xor (d[i+5] rotated left by 0, 10, 0, 25 in turn), for i from 0 up."""
        body = self._count - 5
        self._undo_b_part(rows, 0, body - body % 4)
        rows[1 + self._count :] = rows[1:6]
        self._undo_b_part(rows, body - body % 4, self._count)

    def _undo_b_part(self, rows: HalfWords, start: int, end: int) -> None:
        """``start`` is a multiple of four; no word of the part may depend on another one's new value."""
        mixed = self._left[: end - start, : rows.shape[1]]
        spill = self._right[: (end - start + 3) // 4, : rows.shape[1]]
        ahead = rows[1 + start + 5 : 1 + end + 5]
        near = rows[1 + start + 2 : 1 + end + 2]
        np.bitwise_xor(ahead[0::2], near[0::2], mixed[0::2])
        for first, turn in ((1, 10), (3, 25)):
            part = mixed[first::4]
            lost = spill[: len(part)]
            np.left_shift(ahead[first::4], turn, part)
            np.right_shift(ahead[first::4], 32 - turn, lost)
            np.bitwise_or(part, lost, part)
            np.bitwise_xor(part, near[first::4], part)
        here = rows[1 + start : 1 + end]
        np.add(here, mixed, here)

    def _undo_a(self, rows: HalfWords) -> None:
        """d[i] += d[i-2] xor (d[i-5] rotated left by 9, 0, 13, 0 in turn), for i from 0 up."""
        count = self._count
        rows[0] = rows[count]
        turned = self._left[:4, : rows.shape[1]]
        spill = self._right[:2, : rows.shape[1]]
        turns, unturns = _TURNS_A[:2], _TURNS_A[2:]
        for i in range(0, count, 4):
            back = (i - 5) % count if i < 4 else i - 5
            far = rows[1 + back : 1 + back + 4]
            near = (i - 2) % count
            np.left_shift(far[0::2], turns, turned[0::2])
            np.right_shift(far[0::2], unturns, spill)
            np.bitwise_or(turned[0::2], spill, turned[0::2])
            turned[1::2] = far[1::2]
            np.bitwise_xor(turned[:2], rows[1 + near : 3 + near], turned[:2])
            np.add(rows[1 + i : 3 + i], turned[:2], rows[1 + i : 3 + i])
            np.bitwise_xor(turned[2:], rows[1 + i : 3 + i], turned[2:])
            np.add(rows[3 + i : 5 + i], turned[2:], rows[3 + i : 5 + i])


_TURNS_A = np.array([[9], [13], [32 - 9], [32 - 13]], "<u4")
