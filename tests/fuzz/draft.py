"""Bytes under change, and what of them was changed in the end."""

from __future__ import annotations

from collections.abc import Iterator

SECTOR = 512
_JOIN_BYTES = 8
"""Changes with fewer unchanged bytes between them are told as one."""

Patch = tuple[int, bytes]
"""Offset and the bytes that stand there instead."""


class Draft:
    """``base`` with changes over it; the sectors that were touched are the only ones copied."""

    def __init__(self, base: bytes) -> None:
        self.base = base
        self.size_bytes = len(base)
        self._touched: dict[int, bytearray] = {}

    def get(self, offset: int, length: int) -> bytes:
        """Bytes as they are now; none from beyond the end."""
        end = min(offset + length, self.size_bytes)
        if offset < 0 or offset >= end:
            return b""
        out = bytearray(self.base[offset:end])
        for index in range(offset // SECTOR, (end - 1) // SECTOR + 1):
            sector = self._touched.get(index)
            if sector is not None:
                start = index * SECTOR
                low, high = max(start, offset), min(start + len(sector), end)
                out[low - offset : high - offset] = sector[low - start : high - start]
        return bytes(out)

    def put(self, offset: int, data: bytes) -> None:
        """Replace bytes; what would lie outside is left away."""
        for index in range(max(0, offset) // SECTOR, (offset + len(data) - 1) // SECTOR + 1):
            start = index * SECTOR
            if start >= self.size_bytes:
                return
            sector = self._touched.get(index)
            if sector is None:
                sector = self._touched[index] = bytearray(self.base[start : start + SECTOR])
            low, high = max(start, offset), min(start + len(sector), offset + len(data))
            sector[low - start : high - start] = data[low - offset : high - offset]

    def number(self, offset: int, width: int) -> int:
        """A little-endian number."""
        return int.from_bytes(self.get(offset, width), "little")

    def put_number(self, offset: int, width: int, value: int) -> None:
        """Of any value: what does not fit the width is cut off."""
        self.put(offset, (value % (1 << 8 * width)).to_bytes(width, "little"))

    def touched(self) -> Iterator[Patch]:
        """The changed sectors, whole, in order."""
        for index in sorted(self._touched):
            start = index * SECTOR
            sector = bytes(self._touched[index])
            if sector != self.base[start : start + SECTOR]:
                yield start, sector

    def patches(self) -> tuple[Patch, ...]:
        """What differs from the base, byte for byte, in order."""
        found: list[tuple[int, bytearray]] = []
        for start, sector in self.touched():
            for at, (old, new) in enumerate(zip(self.base[start : start + SECTOR], sector, strict=True)):
                if old == new:
                    continue
                place = start + at
                if found and place - found[-1][0] - len(found[-1][1]) < _JOIN_BYTES:
                    done = found[-1][0] + len(found[-1][1])
                    found[-1][1].extend(self.get(done, place + 1 - done))
                else:
                    found.append((place, bytearray((new,))))
        return tuple((offset, bytes(data)) for offset, data in found)
