"""Packers of XPRESS Huffman and LZX for tests: every symbol has a code, of the flattest shape there is.

They pack nothing small; they say exactly what a test wants said. An item is a byte as a number, or a match
(length, distance).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence

Item = int | tuple[int, int]

FLAT_MAIN = [8] * 16 + [9] * 480
FLAT_LENGTH = [7] * 7 + [8] * 242
FLAT_PRETREE = [4] * 12 + [5] * 8
FLAT_ALIGNED = [3] * 8
NO_LENGTH = [0] * 249


def codes(lengths: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Canonical code and its length by symbol."""
    found, code, last = {}, 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(lengths) if length):
        code <<= length - last
        found[symbol] = code, length
        code, last = code + 1, length
    return found


def items_of(data: bytes, farthest: int, longest: int = 1 << 16) -> Iterator[Item]:
    """Literals and greedy matches that make up ``data``."""
    seen: dict[bytes, int] = {}
    at = 0
    while at < len(data):
        key = data[at : at + 3]
        start = seen.get(key)
        length = 1
        if start is not None and len(key) == 3 and at - start <= farthest:
            while at + length < len(data) and length < longest and data[start + length] == data[at + length]:
                length += 1
            yield length, at - start
        else:
            yield data[at]
        for place in range(at, at + length):
            seen[data[place : place + 3]] = place
        at += length


def expand(items: Iterable[Item]) -> bytes:
    """What the items make up."""
    out = bytearray()
    for item in items:
        if isinstance(item, int):
            out.append(item)
        else:
            for _ in range(item[0]):
                out.append(out[-item[1]])
    return bytes(out)


def xpress(items: Iterable[Item], lengths: Sequence[int] = (9,) * 512) -> bytes:
    """A chunk with the given code lengths of its 512 symbols; symbol 256 ends it where it has a code."""
    table = codes(lengths)
    words = _Words(bytes(low | high << 4 for low, high in zip(lengths[::2], lengths[1::2], strict=True)))
    for item in items:
        if isinstance(item, int):
            words.put(*table[item])
            continue
        length, distance = item[0] - 3, item[1]
        bits = distance.bit_length() - 1
        words.put(*table[256 + (bits << 4) + min(length, 15)])
        if length >= 15 + 255:
            words.out += b"\xff" + struct.pack("<H", length)
        elif length >= 15:
            words.out.append(length - 15)
        words.put(distance - (1 << bits), bits)
    if 256 in table:
        words.put(*table[256])
    return words.end()


class _Words:
    """16-bit words at places set aside while bytes may still come between, as [MS-XCA] 2.1.4 has it."""

    def __init__(self, head: bytes) -> None:
        self.out = bytearray(head) + bytes(4)
        self._places = [len(head), len(head) + 2]
        self._bits, self._count = 0, 0

    def put(self, value: int, count: int) -> None:
        self._bits = self._bits << count | value
        self._count += count
        # A word is written when the next one is begun, so that the reader's 16 to 32 bits hold.
        if self._count > 16:
            self._count -= 16
            self._flush(self._bits >> self._count)
            self._places.append(len(self.out))
            self.out += b"\0\0"
            self._bits &= (1 << self._count) - 1

    def _flush(self, word: int) -> None:
        struct.pack_into("<H", self.out, self._places.pop(0), word)

    def end(self) -> bytes:
        self._flush(self._bits << 16 - self._count)
        return bytes(self.out)


class Lzx:
    """A chunk, block by block."""

    def __init__(self) -> None:
        self._bits = ""
        self._lengths = {"main": [0] * 496, "length": [0] * 249}
        self._ends_odd = False

    @property
    def bit_count(self) -> int:
        """How many bits there are so far."""
        return len(self._bits)

    def put(self, value: int, count: int) -> None:
        """Any bits."""
        self._bits += f"{value:0{count}b}"[-count:] if count else ""

    def head(self, kind: int, size: int) -> None:
        """The beginning of any block."""
        self.put(kind, 3)
        self.put(*((1, 1) if size == 32768 else (size, 17)))

    def plain(self, data: bytes, recent: tuple[int, int, int] = (1, 1, 1), *, padded: bool = True) -> None:
        """An uncompressed block."""
        self.head(3, len(data))
        self._bits += "0" * (16 - len(self._bits) % 16)
        raw = struct.pack("<3I", *recent) + data + bytes(len(data) % 2)
        for (word,) in struct.iter_unpack("<H", raw):
            self.put(word, 16)
        self._ends_odd = len(data) % 2 == 1 and not padded

    def lengths(self, which: str, wanted: Sequence[int], start: int, end: int) -> None:
        """Code lengths as differences, one by one."""
        pretree = codes(FLAT_PRETREE)
        for length in FLAT_PRETREE:
            self.put(length, 4)
        known = self._lengths[which]
        for at in range(start, end):
            self.put(*pretree[(known[at] - wanted[at]) % 17])
        known[start:end] = wanted[start:end]

    def block(
        self,
        items: Sequence[Item | str],
        *,
        size: int | None = None,
        aligned: bool = False,
        main: Sequence[int] = FLAT_MAIN,
        length: Sequence[int] = FLAT_LENGTH,
        aligned_lengths: Sequence[int] = FLAT_ALIGNED,
    ) -> None:
        """A verbatim or aligned block. ``size`` is needed when there are items "R0:7" (recent distance,
        length of the match)."""
        if size is None:
            size = sum(1 if isinstance(item, int) else int(item[0]) for item in items)
        self.head(2 if aligned else 1, size)
        if aligned:
            for each in aligned_lengths:
                self.put(each, 3)
        self.lengths("main", main, 0, 256)
        self.lengths("main", main, 256, 496)
        self.lengths("length", length, 0, 249)
        main_codes, length_codes, aligned_codes = codes(main), codes(length), codes(aligned_lengths)
        for item in items:
            if isinstance(item, int):
                self.put(*main_codes[item])
                continue
            if isinstance(item, str):
                slot, count, extra, value = int(item[1]), int(item[3:]), 0, 0
            else:
                count = item[0]
                slot, extra, value = _slot(item[1] + 2)
            head = min(7, count - 2)
            self.put(*main_codes[256 + 8 * slot + head])
            if head == 7:
                self.put(*length_codes[count - 9])
            if aligned and extra >= 3:
                self.put(value >> 3, extra - 3)
                self.put(*aligned_codes[value & 7])
            else:
                self.put(value, extra)

    def end(self) -> bytes:
        """The bytes of the chunk."""
        bits = self._bits + "0" * (-len(self._bits) % 16)
        words = [int(bits[at : at + 16], 2) for at in range(0, len(bits), 16)]
        data = struct.pack(f"<{len(words)}H", *words)
        return data[:-1] if self._ends_odd else data


def _slot(formatted: int) -> tuple[int, int, int]:
    """Slot, number of bits that follow it, and those bits."""
    if formatted < 4:
        return formatted, 0, 0
    extra = formatted.bit_length() - 2
    half = formatted >> extra & 1
    return 2 * (extra + 1) + half, extra, formatted & (1 << extra) - 1
