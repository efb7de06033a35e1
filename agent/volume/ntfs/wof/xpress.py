"""XPRESS Huffman, the LZ77+Huffman format of [MS-XCA] sections 2.1 and 2.2, for chunks up to 64 KiB.

A chunk is 512 code lengths of four bits, then symbols in 16-bit little-endian words, first bit on top.
Symbols from 256 on are matches: the low four bits are the length less 3, the upper ones how many bits of
the distance follow. Longer lengths are bytes between the words, at the place up to which words were taken
into a reservoir that always holds 16 bits or more.
"""

from __future__ import annotations

from agent.errors import NtfsDamaged
from agent.volume.ntfs.wof.huffman import LENGTH_MASK, SYMBOL_SHIFT, decoding_table

_LENGTHS_BYTES = 256
_FIRST_WORDS = 4
_FIRST_MATCH = 256 << SYMBOL_SHIFT
_DISTANCE_SHIFT = SYMBOL_SHIFT + 4
_MIN_MATCH = 3
_LONG_MATCH = _MIN_MATCH + 15


def unpack(packed: bytes, size: int) -> bytearray:
    """Exactly ``size`` bytes, at most 65536. Raises NtfsDamaged for anything that is not such a chunk."""
    if len(packed) < _LENGTHS_BYTES + _FIRST_WORDS:
        raise NtfsDamaged(f"an XPRESS chunk of {len(packed)} bytes")
    lengths = [nibble for byte in packed[:_LENGTHS_BYTES] for nibble in (byte & 15, byte >> 4)]
    table, bits = decoding_table(lengths, "the Huffman code of an XPRESS chunk")
    try:
        return _unpack(packed, size, table, bits)
    except IndexError:
        raise NtfsDamaged(f"the {len(packed)} bytes of an XPRESS chunk end before its {size} bytes") from None


def _unpack(packed: bytes, size: int, table: list[int], bits: int) -> bytearray:
    """Raises IndexError where ``packed`` ends too early."""
    out = bytearray()
    append = out.append
    end = len(packed)
    # The reservoir may run ahead of the last symbol; how far is checked at the end.
    source = packed + bytes(_FIRST_WORDS)
    at = _LENGTHS_BYTES + _FIRST_WORDS
    reservoir = (source[at - 4] | source[at - 3] << 8) << 16 | source[at - 2] | source[at - 1] << 8
    # ``left`` counts the bits in the reservoir beyond the ones that index the table.
    left = 32 - bits
    low = 16 - bits
    mask = (1 << bits) - 1
    while len(out) < size:
        entry = table[reservoir >> left & mask]
        left -= entry & LENGTH_MASK
        if left < low:
            reservoir = (reservoir & 0xFFFF) << 16 | source[at] | source[at + 1] << 8
            at += 2
            left += 16
        if entry < _FIRST_MATCH:
            append(entry >> SYMBOL_SHIFT)
            continue
        length = (entry >> SYMBOL_SHIFT & 15) + _MIN_MATCH
        if length == _LONG_MATCH:
            extra = source[at]
            at += 1
            if extra == 255:
                extra = (source[at] | source[at + 1] << 8) - 15
                at += 2
                if extra < 0:
                    # Zero announces 32 bits, and those only lengths that no chunk has.
                    raise NtfsDamaged(f"an XPRESS match has a length word of {extra + 15}")
            if at > end:
                raise IndexError
            length += extra
        distance_bits = entry - _FIRST_MATCH >> _DISTANCE_SHIFT
        distance = 1 << distance_bits
        if distance_bits:
            distance |= reservoir >> left + bits - distance_bits & distance - 1
            left -= distance_bits
            if left < low:
                reservoir = (reservoir & 0xFFFF) << 16 | source[at] | source[at + 1] << 8
                at += 2
                left += 16
        here = len(out)
        start = here - distance
        if start < 0 or length > size - here:
            raise NtfsDamaged(
                f"an XPRESS match of {length} bytes points {distance} back at {here} of {size} bytes"
            )
        if distance >= length:
            out += out[start : start + length]
        else:
            out += (out[start:] * (length // distance + 1))[:length]
    unread = left + bits
    if at - unread // 16 * 2 > end:
        raise IndexError
    return out
