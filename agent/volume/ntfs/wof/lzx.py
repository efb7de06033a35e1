"""LZX as WIM files and WOF have it: each chunk of 32 KiB stands alone.

The bit stream is 16-bit little-endian words, first bit on top. Blocks are verbatim, aligned or
uncompressed; the code lengths of a block are told as differences to the block before ([MS-PATCH]
sections 2.2 to 2.7). What WIM has otherwise: a block's size is one bit for 32 KiB or 16 bits, no bit
announces E8 translation because it is always done, for a file of 12,000,000 bytes, from the start of
each chunk.
"""

from __future__ import annotations

import struct

from agent.errors import NtfsDamaged
from agent.volume.ntfs.wof.bits import BitStream
from agent.volume.ntfs.wof.huffman import LENGTH_MASK, SYMBOL_SHIFT, DecodingTable, decoding_table

WINDOW_BYTES = 32768

_VERBATIM, _ALIGNED, _UNCOMPRESSED = 1, 2, 3
_SLOTS = 30
_LITERALS = 256
_MAIN_SYMBOLS = _LITERALS + 8 * _SLOTS
_LENGTH_SYMBOLS = 249
_PRETREE_SYMBOLS = 20
_ALIGNED_SYMBOLS = 8
_FIRST_MATCH = _LITERALS << SYMBOL_SHIFT
_SLOT_SHIFT = SYMBOL_SHIFT + 3
_MIN_MATCH = 2
_LONG_MATCH = _MIN_MATCH + 7
_FIRST_SLOT = 3
"""Slots below are the three most recent distances."""

_ALIGNED_BITS = 3
_EXTRA_BITS = [max(0, slot // 2 - 1) for slot in range(_SLOTS)]
_BASES = [slot if slot < 2 else (2 + slot % 2) << slot // 2 - 1 for slot in range(_SLOTS)]
_DISTANCE_BIAS = 2

_RECENT = struct.Struct("<III")
_E8 = b"\xe8"
_E8_FILE_BYTES = 12_000_000
_E8_TAIL_BYTES = 10
"""No call that begins in the last bytes of a chunk is translated."""


def unpack(packed: bytes, size: int) -> bytearray:
    """Exactly ``size`` bytes, at most 32768. Raises NtfsDamaged for anything that is not such a chunk."""
    chunk = _Chunk(packed, size)
    try:
        while len(chunk.out) < size:
            chunk.block()
        chunk.bits.check_end()
    except IndexError:
        raise NtfsDamaged(f"the {len(packed)} bytes of an LZX chunk end before its {size} bytes") from None
    undo_e8(chunk.out)
    return chunk.out


def undo_e8(out: bytearray) -> None:
    """Turn the absolute targets of x86 calls back into relative ones, in place."""
    last = len(out) - _E8_TAIL_BYTES
    at = out.find(_E8, 0, max(0, last))
    while at >= 0:
        target = int.from_bytes(out[at + 1 : at + 5], "little", signed=True)
        if -at <= target < _E8_FILE_BYTES:
            relative = target - at if target >= 0 else target + _E8_FILE_BYTES
            out[at + 1 : at + 5] = relative.to_bytes(4, "little", signed=True)
        at = out.find(_E8, at + 5, last)


class _Chunk:
    """One chunk being unpacked: what was put out, the recent distances, the last code lengths."""

    __slots__ = ("_length_lengths", "_main_lengths", "_recent", "_size", "bits", "out")

    def __init__(self, packed: bytes, size: int) -> None:
        self.bits = BitStream(packed)
        self.out = bytearray()
        self._size = size
        self._recent = (1, 1, 1)
        self._main_lengths = [0] * _MAIN_SYMBOLS
        self._length_lengths = [0] * _LENGTH_SYMBOLS

    def block(self) -> None:
        """Unpack the next block. Raises NtfsDamaged."""
        bits = self.bits
        kind = bits.take(3)
        size = WINDOW_BYTES if bits.take(1) else bits.take(16)
        left = self._size - len(self.out)
        if not 0 < size <= left:
            raise NtfsDamaged(f"an LZX block of {size} bytes where {left} are left")
        if kind == _UNCOMPRESSED:
            self._copy(size)
        elif kind in (_VERBATIM, _ALIGNED):
            aligned = None
            if kind == _ALIGNED:
                lengths = [bits.take(3) for _ in range(_ALIGNED_SYMBOLS)]
                aligned = decoding_table(
                    lengths, "the aligned offset code of an LZX block", may_be_empty=True
                )
            self._read_lengths(self._main_lengths, 0, _LITERALS)
            self._read_lengths(self._main_lengths, _LITERALS, _MAIN_SYMBOLS)
            main = decoding_table(self._main_lengths, "the main code of an LZX block")
            self._read_lengths(self._length_lengths, 0, _LENGTH_SYMBOLS)
            length = decoding_table(
                self._length_lengths, "the length code of an LZX block", may_be_empty=True
            )
            self._symbols(len(self.out) + size, main, length, aligned)
        else:
            raise NtfsDamaged(f"an LZX block of unknown kind {kind}")

    def _copy(self, size: int) -> None:
        self.bits.align()
        self._recent = _RECENT.unpack(self.bits.take_bytes(_RECENT.size))
        self.out += self.bits.take_bytes(size)

    def _read_lengths(self, lengths: list[int], start: int, end: int) -> None:
        """Code lengths [start, end) from their differences to the ones before, modulo 17."""
        bits = self.bits
        pretree = decoding_table(
            [bits.take(4) for _ in range(_PRETREE_SYMBOLS)], "the code for lengths of an LZX block"
        )
        at = start
        while at < end:
            symbol = bits.symbol(pretree)
            count, value = 1, 0
            if symbol == 17:
                count = 4 + bits.take(4)
            elif symbol == 18:
                count = 20 + bits.take(5)
            else:
                if symbol == 19:
                    count = 4 + bits.take(1)
                    symbol = bits.symbol(pretree)
                    if symbol > 16:
                        raise NtfsDamaged(f"an LZX block repeats code length symbol {symbol}")
                value = (lengths[at] - symbol) % 17
            # A run may be told longer than there are symbols; all readers cut it off.
            count = min(count, end - at)
            lengths[at : at + count] = [value] * count
            at += count

    def _symbols(
        self, end: int, main: DecodingTable, length_code: DecodingTable, aligned: DecodingTable | None
    ) -> None:
        """Literals and matches until ``end`` bytes are put out.

        One loop with plain locals: half of its time would go into calls and attributes.
        """
        out, windows, at = self.out, self.bits.windows, self.bits.at
        append = out.append
        table, length_table = main.entries, length_code.entries
        shift, mask = 32 - main.bits, (1 << main.bits) - 1
        length_shift, length_mask = 32 - length_code.bits, (1 << length_code.bits) - 1
        newest, second, third = self._recent
        while len(out) < end:
            entry = table[windows[at >> 4] >> shift - (at & 15) & mask]
            at += entry & LENGTH_MASK
            if entry < _FIRST_MATCH:
                append(entry >> SYMBOL_SHIFT)
                continue
            length = (entry >> SYMBOL_SHIFT & 7) + _MIN_MATCH
            slot = entry - _FIRST_MATCH >> _SLOT_SHIFT
            if length == _LONG_MATCH:
                entry = length_table[windows[at >> 4] >> length_shift - (at & 15) & length_mask]
                if not entry:
                    raise NtfsDamaged("an LZX block has a long match and no length code")
                at += entry & LENGTH_MASK
                length += entry >> SYMBOL_SHIFT
            if slot >= _FIRST_SLOT:
                extra = _EXTRA_BITS[slot]
                distance = _BASES[slot] - _DISTANCE_BIAS
                if aligned is None or extra < _ALIGNED_BITS:
                    if extra:
                        distance += windows[at >> 4] >> 32 - extra - (at & 15) & (1 << extra) - 1
                        at += extra
                else:
                    extra -= _ALIGNED_BITS
                    if extra:
                        upper = windows[at >> 4] >> 32 - extra - (at & 15) & (1 << extra) - 1
                        distance += upper << _ALIGNED_BITS
                        at += extra
                    entry = aligned.entries[
                        windows[at >> 4] >> 32 - aligned.bits - (at & 15) & (1 << aligned.bits) - 1
                    ]
                    if not entry:
                        raise NtfsDamaged("an LZX block has a far match and no aligned offset code")
                    at += entry & LENGTH_MASK
                    distance += entry >> SYMBOL_SHIFT
                newest, second, third = distance, newest, second
            elif slot == 0:
                distance = newest
            elif slot == 1:
                distance = second
                newest, second = second, newest
            else:
                distance = third
                newest, third = third, newest
            here = len(out)
            start = here - distance
            if start < 0 or not distance or length > end - here:
                raise NtfsDamaged(
                    f"an LZX match of {length} bytes points {distance} back at {here} of {end} bytes"
                )
            if distance >= length:
                out += out[start : start + length]
            else:
                out += (out[start:] * (length // distance + 1))[:length]
        self.bits.at = at
        self._recent = newest, second, third
