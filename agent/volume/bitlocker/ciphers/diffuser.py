"""The two Elephant diffusers, undone for many sectors at a time.

Both mix the 32-bit words of one sector with each other, without a key. Source: N. Ferguson, "AES-CBC +
Elephant diffuser" (Microsoft, 2006), section 4.4.

Undoing diffuser B reads words that its round has not changed yet, apart from the last five, so a round
is a few passes over all words of all sectors as they lie. Undoing diffuser A reads the word two back,
which its round has just changed: only two words of a sector can go at a time, and long rows of many
sectors must make up for it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from agent.volume.bitlocker.ciphers.sector_cipher import HalfWords

ROUNDS_A = 5
ROUNDS_B = 3
MASK_WORDS = 8
"""A sector key is 32 bytes."""

_TURNS_B = (0, 10, 0, 25)
_EDGE = 5
"""How far diffuser B looks ahead, and so how many words at the end of a sector see its start."""

_PAD_SECTORS = 16
"""Rows a power of two apart would share the same few lines of the cache when they are transposed."""

_ROWS = ((0, 1), (1, 0), (2, 4), (3, 3))
"""Each word of a group of four with its row in the table of diffuser A."""


class DiffuserB:
    """d[i] += d[i+2] xor (d[i+5] rotated left by 0, 10, 0, 25 in turn), for i from 0 up, three times."""

    def __init__(self, sector_words: int, sectors: int) -> None:
        """``sectors`` is how many are worked on at a time: few enough for the cache."""
        self._words = sector_words
        self._sectors = sectors
        size = sector_words * sectors
        self._turns = np.tile(np.array(_TURNS_B, "<u4"), size // 4)
        self._unturns = 32 - self._turns
        self._mixed = np.empty(size, "<u4")
        self._spill = np.empty(size, "<u4")
        self._edge_turns = self._turns[sector_words - _EDGE : sector_words].reshape(_EDGE, 1)
        self._edge_unturns = 32 - self._edge_turns

    def undo(self, words: HalfWords) -> None:
        """``words`` is ``[sector][word]``, contiguous, and changed in place."""
        for start in range(0, len(words), self._sectors):
            part = words[start : start + self._sectors]
            for _ in range(ROUNDS_B):
                self._undo_round(part)

    def _undo_round(self, part: HalfWords) -> None:
        """The end of each sector is wrong after the pass over all, and put right from what it was."""
        edge = part[:, -_EDGE:].T.copy()
        flat = part.reshape(-1)
        count = len(flat) - _EDGE
        mixed = self._mixed[:count]
        _turn(flat[_EDGE:], self._turns[:count], self._unturns[:count], mixed, self._spill[:count])
        np.bitwise_xor(mixed, flat[2 : 2 + count], mixed)
        np.add(flat[:count], mixed, flat[:count])
        part[:, -_EDGE:] = self._undo_edge(edge, part[:, :_EDGE].T.copy()).T

    def _undo_edge(self, edge: HalfWords, ahead: HalfWords) -> HalfWords:
        """The last words of all sectors, ``[word][sector]``, from their first words, which are done."""
        mixed, spill = np.empty_like(ahead), np.empty_like(ahead)
        _turn(ahead, self._edge_turns, self._edge_unturns, mixed, spill)
        mixed[:-2] ^= edge[2:]
        mixed[-2:] ^= ahead[:2]
        mixed += edge
        return mixed


class DiffuserA:
    """d[i] += d[i-2] xor (d[i-5] rotated left by 9, 0, 13, 0 in turn), for i from 0 up, five times.

    The words of a group of four lie in a table of rows ``1 0 x 3 2 y``, one column a sector: x is word 3
    of the group before, rotated as the next group wants it, and y is word 1 of this group, rotated. So
    every operand of a step is one stretch of memory: two words, or for the rotations four rows of which
    the outer two count. Calls are what this diffuser costs, and NumPy handles such calls several times
    as fast as calls on rows that lie apart. Group 0 of the table is a copy of the last group.
    """

    def __init__(self, sector_words: int, sectors: int) -> None:
        """For at most ``sectors`` at a time; the cost is nearly that of so many."""
        width = sectors + _PAD_SECTORS
        self._table = np.zeros((1 + sector_words // 4, 6, width), "<u4")
        rows = self._table.reshape(-1, width)
        self._steps = [_step(rows, at) for at in range(6, len(rows), 6)]
        self._turns = np.repeat(np.array((9, 0, 0, 13), "<u4"), width)
        self._unturns = 32 - self._turns
        self._mixed = np.empty(2 * width, "<u4")
        self._turned = np.empty((4, width), "<u4")
        self._spill = np.empty((4, width), "<u4")

    def undo(self, source: HalfWords, mask: HalfWords, target: HalfWords) -> None:
        """``source`` and ``target`` are ``[sector][word]``; the words of ``mask`` are XORed in in turn."""
        table = self._table[1:, :, : len(source)]
        for word, row in _ROWS:
            table[:, row] = source[:, word::4].T
        self._turn_last_group()
        for _ in range(ROUNDS_A):
            self._table[0] = self._table[-1]
            self._undo_round()
        columns = mask.T.copy()
        for word, row in _ROWS:
            table[0::2, row] ^= columns[word]
            table[1::2, row] ^= columns[4 + word]
            target[:, word::4] = table[:, row].T

    def _turn_last_group(self) -> None:
        """What the first group of the first round finds; the later rounds leave it behind."""
        step = self._steps[-1]
        _turn(step.unturned, self._turns, self._unturns, self._turned.reshape(-1), self._spill.reshape(-1))
        step.x[:], step.y[:] = self._turned[0], self._turned[3]

    def _undo_round(self) -> None:
        """Local names and no inner function: this loop runs through hundreds of groups a window."""
        xor, add, left, right, merge = np.bitwise_xor, np.add, np.left_shift, np.right_shift, np.bitwise_or
        mixed, turns, unturns = self._mixed, self._turns, self._unturns
        turned, spill = self._turned.reshape(-1), self._spill.reshape(-1)
        turned_x, turned_y = self._turned[0], self._turned[3]
        spill_x, spill_y = self._spill[0], self._spill[3]
        for far_01, near_01, words_01, far_23, words_23, unturned, x, y in self._steps:
            xor(far_01, near_01, mixed)
            add(words_01, mixed, words_01)
            xor(far_23, words_01, mixed)
            add(words_23, mixed, words_23)
            left(unturned, turns, turned)
            right(unturned, unturns, spill)
            merge(turned_x, spill_x, x)
            merge(turned_y, spill_y, y)


class _Step(NamedTuple):
    """The operands of one group of four words."""

    far_01: HalfWords
    near_01: HalfWords
    words_01: HalfWords
    far_23: HalfWords
    words_23: HalfWords
    unturned: HalfWords
    x: HalfWords
    y: HalfWords


def _step(rows: HalfWords, at: int) -> _Step:
    """``at`` is the first row of the group."""

    def stretch(start: int, count: int) -> HalfWords:
        return rows[at + start : at + start + count].reshape(-1)

    return _Step(
        far_01=stretch(-5, 2),
        near_01=stretch(-3, 2),
        words_01=stretch(0, 2),
        far_23=stretch(-2, 2),
        words_23=stretch(3, 2),
        unturned=stretch(-3, 4),
        x=stretch(2, 1),
        y=stretch(5, 1),
    )


def _turn(
    words: HalfWords,
    turns: npt.NDArray[np.uint32],
    unturns: npt.NDArray[np.uint32],
    turned: HalfWords,
    spill: HalfWords,
) -> None:
    """``words`` rotated left into ``turned``; NumPy shifts by 32 to zero."""
    np.left_shift(words, turns, turned)
    np.right_shift(words, unturns, spill)
    np.bitwise_or(turned, spill, turned)
