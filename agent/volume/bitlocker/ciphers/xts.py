"""AES-XTS (IEEE 1619), 128 and 256 bits, many sectors at a time.

A sector's tweak is the encrypted sector number; block j of the sector uses it times alpha^j in
GF(2^128). All tweaks of a window are computed at once in arrays ``[block][sector]``, where one
multiplication by a power of alpha is a handful of passes over long rows, and then transposed into
the order of the data. The data itself then costs two XORs and one AES-ECB pass.
"""

from __future__ import annotations

import numpy as np

from agent.volume.bitlocker.ciphers.sector_cipher import (
    BLOCK_BYTES,
    WINDOW_BYTES,
    EcbPass,
    Lanes,
    Words,
    padded,
    windows,
)

_LARGEST_POWER = 32
"""A carry of alpha^k folds back within one word while k + 7 < 64."""


class XtsCipher:
    """``key`` is the data key followed by the tweak key, 16 or 32 bytes each."""

    def __init__(self, key: bytes, sector_size: int) -> None:
        self.sector_size = sector_size
        self._lanes = Lanes(lambda: _XtsLane(key, sector_size))

    def decrypt(self, offset: int, buffer: memoryview) -> None:
        with self._lanes.lend() as lane:
            for start, window in windows(offset, buffer, self.sector_size, WINDOW_BYTES):
                lane.decrypt(start // self.sector_size, window)

    def __repr__(self) -> str:
        return f"XtsCipher(sector_size={self.sector_size}, key=***)"


class _XtsLane:
    """The scratch of one caller: about four windows of memory."""

    def __init__(self, key: bytes, sector_size: int) -> None:
        half = len(key) // 2
        self._data_pass = EcbPass(key[:half], decrypt=True)
        self._tweak_pass = EcbPass(key[half:], decrypt=False)
        self._blocks = sector_size // BLOCK_BYTES
        sectors = WINDOW_BYTES // sector_size
        self._numbers = np.zeros((sectors, 2), "<u8")
        self._first = padded(sectors * BLOCK_BYTES)
        self._low = np.empty((self._blocks, sectors), "<u8")
        self._high = np.empty((self._blocks, sectors), "<u8")
        self._carry = np.empty((_LARGEST_POWER, sectors), "<u8")
        self._fold = np.empty((_LARGEST_POWER, sectors), "<u8")
        self._tweaks = np.empty((sectors, self._blocks, 2), "<u8")
        self._work = padded(WINDOW_BYTES)

    def decrypt(self, sector_number: int, window: memoryview) -> None:
        data = np.frombuffer(window, "<u8")
        sectors = len(window) // (self._blocks * BLOCK_BYTES)
        tweaks = self._window_tweaks(sector_number, sectors).reshape(-1)
        work = self._work[: len(window)]
        words = work.view("<u8")
        np.bitwise_xor(data, tweaks, words)
        self._data_pass.run(work, self._work)
        np.bitwise_xor(words, tweaks, data)

    def _window_tweaks(self, sector_number: int, sectors: int) -> Words:
        numbers = self._numbers[:sectors]
        numbers[:, 0] = np.arange(sector_number, sector_number + sectors, dtype=np.uint64)
        self._tweak_pass.run(numbers, self._first)
        first = self._first[: sectors * BLOCK_BYTES].view("<u8").reshape(sectors, 2)
        low, high = self._low[:, :sectors], self._high[:, :sectors]
        low[0], high[0] = first[:, 0], first[:, 1]
        done = 1
        while done < self._blocks:
            power = min(done, _LARGEST_POWER)
            self._multiply(low, high, done, power)
            done += power
        tweaks = self._tweaks[:sectors]
        tweaks[:, :, 0] = low.T
        tweaks[:, :, 1] = high.T
        return tweaks

    def _multiply(self, low: Words, high: Words, start: int, power: int) -> None:
        """Rows ``start`` to ``start + power``: those ``power`` rows earlier, times alpha^power."""
        source = slice(start - power, start)
        target = slice(start, start + power)
        carry = self._carry[:power, : low.shape[1]]
        fold = self._fold[:power, : low.shape[1]]
        np.right_shift(high[source], 64 - power, carry)
        np.left_shift(low[source], power, low[target])
        for shift in (0, 1, 2, 7):  # x^128 = x^7 + x^2 + x + 1
            folded = carry if shift == 0 else np.left_shift(carry, shift, fold)
            np.bitwise_xor(low[target], folded, low[target])
        np.right_shift(low[source], 64 - power, carry)
        np.left_shift(high[source], power, high[target])
        np.bitwise_or(high[target], carry, high[target])
