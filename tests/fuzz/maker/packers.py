"""Plain packers for the three compressions on NTFS volumes, to have streams worth mutating.

They find only repeats of the byte (LZX, XPRESS) or of what a search finds soon (LZNT1), and use Huffman
codes of nearly one length. Sources: [MS-XCA] 2.1 (XPRESS Huffman) and 2.5 (LZNT1); [MS-PATCH] and the
WIM notes of libyal for LZX.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache


def pack_lznt1(data: bytes) -> bytes:
    """One compression unit."""
    return b"".join(_lznt1_chunk(data[at : at + 4096]) for at in range(0, len(data), 4096)) + b"\0\0"


def _lznt1_chunk(chunk: bytes) -> bytes:
    items: list[bytes] = []
    is_reference: list[bool] = []
    at = 0
    while at < len(chunk):
        bits = 12 - max(0, (at - 1).bit_length() - 4)
        length = min((1 << bits) + 2, len(chunk) - at, 64)
        found = chunk.rfind(chunk[at : at + length], 0, at + length - 1) if at and length >= 3 else -1
        while found < 0 and length > 3 and at:
            length = max(3, length // 2)
            found = chunk.rfind(chunk[at : at + length], 0, at + length - 1)
        is_reference.append(found >= 0)
        if found >= 0:
            items.append(struct.pack("<H", (at - found - 1) << bits | length - 3))
            at += length
        else:
            items.append(chunk[at : at + 1])
            at += 1
    packed = b""
    for group in range(0, len(items), 8):
        packed += bytes([sum(mark << bit for bit, mark in enumerate(is_reference[group : group + 8]))])
        packed += b"".join(items[group : group + 8])
    if len(packed) >= len(chunk) == 4096:
        return struct.pack("<H", 0x3FFF) + chunk
    return struct.pack("<H", 0xB000 | len(packed) - 1) + packed


class Bits:
    """Most significant bit first, in little-endian words of 16 bits."""

    def __init__(self) -> None:
        self._value = 0
        self._count = 0
        self._words: list[int] = []

    def put(self, value: int, width: int) -> None:
        """The low ``width`` bits."""
        self._value = self._value << width | value
        self._count += width
        while self._count >= 16:
            self._count -= 16
            self._words.append(self._value >> self._count)
            self._value &= (1 << self._count) - 1

    def words(self) -> bytes:
        """All of it, filled up with zeros."""
        if self._count:
            self.put(0, 16 - self._count)
        return struct.pack(f"<{len(self._words)}H", *self._words)


def _items(data: bytes, longest: int) -> Iterator[tuple[int, int]]:
    """(byte, 0), or (0, length) for a repeat of the byte before."""
    at = 0
    while at < len(data):
        length = 0
        while length < longest and at > 0 and at + length < len(data) and data[at + length] == data[at - 1]:
            length += 1
        if length >= 3:
            yield 0, length
            at += length
        else:
            yield data[at], 0
            at += 1


def pack_xpress(data: bytes) -> bytes:
    """One chunk: 512 symbols of nine bits each, so a code is its symbol."""
    bits = Bits()
    for byte, length in _items(data, 17):
        bits.put(256 + length - 3 if length else byte, 9)
    return b"\x99" * 256 + bits.words() + bytes(4)


_LZX_SYMBOLS = 256 + 8 * 30
_LZX_LENGTHS = 249


def pack_lzx(data: bytes) -> bytes:
    """One chunk of at most 32 KiB as one verbatim block; what looks like an x86 call is the caller's care."""
    bits = Bits()
    bits.put(1, 3)
    if len(data) == 32768:
        bits.put(1, 1)
    else:
        bits.put(0, 1)
        bits.put(len(data), 16)
    main = [8] * 16 + [9] * (_LZX_SYMBOLS - 16)
    codes = canonical(main)
    _put_lengths(bits, main[:256])
    _put_lengths(bits, main[256:])
    _put_lengths(bits, [7] * 7 + [8] * (_LZX_LENGTHS - 7))
    for byte, length in _items(data, 8):
        # Slot 3 without further bits is the distance 1; a length header of 0 is two bytes.
        symbol = 256 + 3 * 8 + length - 2 if length else byte
        bits.put(codes[symbol], main[symbol])
    return bits.words() + bytes(2)


def _put_lengths(bits: Bits, lengths: list[int]) -> None:
    """Code lengths as differences to zeros, in a pretree of two symbols of one bit each."""
    lowest = 17 - max(lengths)
    for symbol in range(20):
        bits.put(1 if symbol in (lowest, lowest + 1) else 0, 4)
    for length in lengths:
        bits.put(17 - length - lowest, 1)


def canonical(lengths: list[int]) -> list[int]:
    """The code of each symbol, by lengths and then by symbols."""
    codes = [0] * len(lengths)
    code, last = 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(lengths)):
        code <<= length - last
        codes[symbol], last = code, length
        code += 1
    return codes


@lru_cache(maxsize=8)
def pack_wof(data: bytes, chunk: int) -> bytes:
    """The stream ``WofCompressedData``: offsets of all chunks but the first, then the chunks."""
    pack = pack_lzx if chunk == 32768 else pack_xpress
    chunks = []
    for at in range(0, len(data), chunk):
        part = data[at : at + chunk]
        packed = pack(part)
        chunks.append(packed if len(packed) < len(part) else part)
    ends = [sum(map(len, chunks[:index])) for index in range(1, len(chunks))]
    return struct.pack(f"<{len(ends)}I", *ends) + b"".join(chunks)
