"""The tweaks of AES-XTS (IEEE 1619) for many sectors at a time.

A sector's tweak is its number, encrypted; block j of the sector uses it times alpha^j in GF(2^128). A
window is cut into runs of 32 blocks. The tweaks of all blocks of all runs are made at once in arrays
``[word][block][run]``, where a step is one pass over the whole window, and then transposed into the order
of the data.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from agent.volume.bitlocker.ciphers.sector_cipher import BLOCK_BYTES, EcbPass, Words, padded

RUN_BLOCKS = 32
RUN_BYTES = RUN_BLOCKS * BLOCK_BYTES

_PAD_RUNS = 8
"""Runs that nobody asked for at the end of each row: rows a power of two apart would share the same few
lines of the cache when they are transposed."""

_MAX_KEPT = 256
"""Window lengths whose views are kept; some kilobytes each."""


class Tweaks:
    """Makes the tweaks of windows; the scratch of one caller, about three windows of memory.

    NumPy hands the interpreter lock to another thread and back at every call. So there are few calls,
    and the arrays that they work on are kept ready for windows of the lengths that came last.
    """

    def __init__(self, key: bytes, sector_size: int, window_bytes: int) -> None:
        """``key`` is an AES key of 16 or 32 bytes."""
        self._number_pass = EcbPass(key, decrypt=False)
        self._runs_per_sector = sector_size // RUN_BYTES
        runs, sectors = window_bytes // RUN_BYTES, window_bytes // sector_size
        self._counts = np.arange(sectors, dtype="<u8")
        self._numbers = np.zeros((sectors, 2), "<u8")
        self._first = padded(sectors * BLOCK_BYTES)
        self._heads = np.zeros((2, runs + _PAD_RUNS), "<u8")
        self._head_carry = np.empty((2, sectors), "<u8")
        self._product = np.empty(2 * RUN_BLOCKS * (runs + _PAD_RUNS), "<u8")
        self._carry = np.empty_like(self._product)
        self._tweaks = np.empty(runs * RUN_BLOCKS * 2, "<u8")
        self._views: dict[int, _Views] = {}

    def of(self, sector_number: int, window_bytes: int) -> Words:
        """Low and high word of each block, in the order of the data; the next call overwrites them."""
        runs = window_bytes // RUN_BYTES
        views = self._views.get(runs)
        if views is None:
            views = self._keep(runs)
        np.add(views.counts, sector_number, views.number_column)
        self._number_pass.run(views.numbers, self._first)
        heads = views.sector_heads
        heads[:, :, 0] = views.first
        for run in range(1, self._runs_per_sector):
            _multiply(heads[:, :, run - 1], _ONE_RUN, heads[:, :, run], views.sector_carry)
        _multiply(views.heads, _ALL_BLOCKS, views.product, views.carry)
        views.ordered_low[:] = views.low
        views.ordered_high[:] = views.high
        return views.tweaks

    def _keep(self, runs: int) -> _Views:
        if len(self._views) >= _MAX_KEPT:
            self._views.clear()
        views = self._views[runs] = self._views_of(runs)
        return views

    def _views_of(self, runs: int) -> _Views:
        sectors = runs // self._runs_per_sector
        columns = runs + _PAD_RUNS
        numbers = self._numbers[:sectors]
        shape = (2, RUN_BLOCKS, columns)
        product = self._product[: 2 * RUN_BLOCKS * columns].reshape(shape)
        tweaks = self._tweaks[: runs * RUN_BLOCKS * 2]
        ordered = tweaks.reshape(runs, RUN_BLOCKS, 2)
        return _Views(
            counts=self._counts[:sectors],
            numbers=numbers,
            number_column=numbers[:, 0],
            first=self._first[: sectors * BLOCK_BYTES].view("<u8").reshape(sectors, 2).T,
            sector_heads=self._heads[:, :runs].reshape(2, sectors, self._runs_per_sector),
            sector_carry=self._head_carry[:, :sectors],
            heads=self._heads[:, None, :columns],
            product=product,
            carry=self._carry[: product.size].reshape(shape),
            low=product[0, :, :runs].T,
            high=product[1, :, :runs].T,
            ordered_low=ordered[:, :, 0],
            ordered_high=ordered[:, :, 1],
            tweaks=tweaks,
        )


class _Views(NamedTuple):
    """The parts of the scratch memory that a window of so many runs uses."""

    counts: Words
    numbers: Words
    number_column: Words
    first: Words
    sector_heads: Words
    """``[word][sector][run of the sector]``; the same memory as ``heads``."""
    sector_carry: Words
    heads: Words
    """``[word][1][run]``: the tweak of the first block of each run."""
    product: Words
    carry: Words
    low: Words
    high: Words
    ordered_low: Words
    ordered_high: Words
    tweaks: Words


class _Powers:
    """Exponents of alpha, as shifts of a word to the left and of the other one to the right.

    At most 56: what falls off the top is folded back within one word.
    """

    def __init__(self, exponents: npt.ArrayLike) -> None:
        self.left = np.asarray(exponents, "<u8")
        self.right = 64 - self.left


_ONE_RUN = _Powers(RUN_BLOCKS)
_ALL_BLOCKS = _Powers(np.arange(RUN_BLOCKS).reshape(-1, 1))


def _multiply(factor: Words, powers: _Powers, product: Words, carry: Words) -> None:
    """``factor`` times the powers of alpha; axis 0 is low and high word. ``carry`` is scratch."""
    np.left_shift(factor, powers.left, product)
    np.right_shift(factor[::-1], powers.right, carry)
    np.bitwise_xor(product, carry, product)
    low, (over, scratch) = product[0], carry
    for shift in (1, 2, 7):  # x^128 = x^7 + x^2 + x + 1, of which the 1 is done
        np.left_shift(over, shift, scratch)
        np.bitwise_xor(low, scratch, low)
