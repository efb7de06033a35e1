"""AES-XTS (IEEE 1619), 128 and 256 bits, many sectors at a time.

A sector's tweak is the encrypted sector number; block j of the sector uses it times alpha^j in
GF(2^128). A window is cut into runs of 32 blocks. All tweaks of all runs are made at once in arrays
``[power][run]``, low and high words apart, where a step is one pass over the whole window, and then
transposed into the order of the data. The data itself costs two XORs and one AES-ECB pass.
"""

from __future__ import annotations

from contextvars import Context

import numpy as np
import numpy.typing as npt

from agent.volume.bitlocker.ciphers.sector_cipher import (
    BLOCK_BYTES,
    WINDOW_BYTES,
    EcbPass,
    Lanes,
    Words,
    padded,
    windows,
)

_RUN_BLOCKS = 32
_RUN_BYTES = _RUN_BLOCKS * BLOCK_BYTES

_PAD_RUNS = 8
"""Runs that nobody asked for at the end of each row: rows a power of two apart would share the same few
lines of the cache when they are transposed."""

_BUFFER_ITEMS = 512
"""NumPy's iteration buffer. Larger than a row, and it takes three times as long for rows of a matrix."""


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
        self._runs_per_sector = sector_size // _RUN_BYTES
        sectors, runs = WINDOW_BYTES // sector_size, WINDOW_BYTES // _RUN_BYTES
        self._numbers = np.zeros((sectors, 2), "<u8")
        self._first = padded(sectors * BLOCK_BYTES)
        self._heads = np.zeros((3, runs + _PAD_RUNS), "<u8")
        self._powers = np.empty((3, _RUN_BLOCKS * (runs + _PAD_RUNS)), "<u8")
        self._tweaks = np.empty((runs, _RUN_BLOCKS, 2), "<u8")
        self._work = padded(WINDOW_BYTES)
        self._context = Context()
        self._context.run(np.setbufsize, _BUFFER_ITEMS)

    def decrypt(self, sector_number: int, window: memoryview) -> None:
        self._context.run(self._decrypt, sector_number, window)

    def _decrypt(self, sector_number: int, window: memoryview) -> None:
        data = np.frombuffer(window, "<u8")
        tweaks = self._window_tweaks(sector_number, len(window) // _RUN_BYTES)
        work = self._work[: len(window)]
        words = work.view("<u8")
        np.bitwise_xor(data, tweaks, words)
        self._data_pass.run(work, self._work)
        np.bitwise_xor(words, tweaks, data)

    def _window_tweaks(self, sector_number: int, runs: int) -> Words:
        """All tweaks in the order of the data."""
        columns = runs + _PAD_RUNS
        head_low, head_high = self._run_heads(sector_number, runs)
        low, high, carry = (
            plane[: _RUN_BLOCKS * columns].reshape(_RUN_BLOCKS, columns) for plane in self._powers
        )
        _multiply(head_low, head_high, _ALL_POWERS, low, high, carry)
        tweaks = self._tweaks[:runs]
        tweaks[:, :, 0] = low[:, :runs].T
        tweaks[:, :, 1] = high[:, :runs].T
        return tweaks.reshape(-1)

    def _run_heads(self, sector_number: int, runs: int) -> tuple[Words, Words]:
        """Low and high words of the tweak of the first block of each run, and of the padding."""
        sectors = runs // self._runs_per_sector
        numbers = self._numbers[:sectors]
        numbers[:, 0] = np.arange(sector_number, sector_number + sectors, dtype=np.uint64)
        self._tweak_pass.run(numbers, self._first)
        first = self._first[: sectors * BLOCK_BYTES].view("<u8").reshape(sectors, 2)
        low, high, carry = (row[:runs].reshape(sectors, -1) for row in self._heads)
        low[:, 0], high[:, 0] = first[:, 0], first[:, 1]
        for run in range(1, self._runs_per_sector):
            _multiply(low[:, run - 1], high[:, run - 1], _ONE_RUN, low[:, run], high[:, run], carry[:, 0])
        return self._heads[0, : runs + _PAD_RUNS], self._heads[1, : runs + _PAD_RUNS]


class _Powers:
    """Exponents of alpha, as shifts of a word to the left and of the word below it to the right.

    At most 56: what falls off the top is folded back within one word.
    """

    def __init__(self, exponents: npt.ArrayLike) -> None:
        self.left = np.asarray(exponents, "<u8")
        self.right = 64 - self.left


_ONE_RUN = _Powers(_RUN_BLOCKS)
_ALL_POWERS = _Powers(np.arange(_RUN_BLOCKS).reshape(-1, 1))


def _multiply(
    low: Words, high: Words, powers: _Powers, product_low: Words, product_high: Words, carry: Words
) -> None:
    """``(low, high)`` times the powers of alpha; all arrays broadcast. ``carry`` is scratch."""
    np.right_shift(high, powers.right, carry)
    np.left_shift(low, powers.left, product_low)
    np.bitwise_xor(product_low, carry, product_low)
    for shift in (1, 2, 7):  # x^128 = x^7 + x^2 + x + 1
        np.left_shift(carry, shift, product_high)  # not in use yet
        np.bitwise_xor(product_low, product_high, product_low)
    np.right_shift(low, powers.right, carry)
    np.left_shift(high, powers.left, product_high)
    np.bitwise_or(product_high, carry, product_high)
