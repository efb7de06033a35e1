"""Canonical Huffman codes as look-up tables: one step decodes a symbol of any length.

Codes are ordered by length, then by symbol ([MS-XCA] section 2.2.4; LZX orders them the same).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from agent.errors import NtfsDamaged

LENGTH_MASK = 31
SYMBOL_SHIFT = 5


class DecodingTable(NamedTuple):
    """``entries`` by the next ``bits`` bits: the code's length below ``SYMBOL_SHIFT``, the symbol above.

    Without any code there is one entry, of length 0.
    """

    entries: list[int]
    bits: int


EMPTY = DecodingTable([0], 0)


def decoding_table(lengths: Iterable[int], what: str, *, may_be_empty: bool = False) -> DecodingTable:
    """The table for code ``lengths`` by symbol, each 0 (no code) to 16.

    Raises NtfsDamaged, naming the code by ``what``, unless the codes use up all bit patterns exactly.
    """
    codes = sorted(length << 16 | symbol for symbol, length in enumerate(lengths) if length)
    if not codes:
        if may_be_empty:
            return EMPTY
        raise NtfsDamaged(f"{what} is empty")
    bits = codes[-1] >> 16
    used = sum(1 << bits - (code >> 16) for code in codes)
    if used != 1 << bits:
        raise NtfsDamaged(f"{what} uses {used} of {1 << bits} bit patterns")
    entries: list[int] = []
    for code in codes:
        length = code >> 16
        entries += [(code & 0xFFFF) << SYMBOL_SHIFT | length] * (1 << bits - length)
    return DecodingTable(entries, bits)
