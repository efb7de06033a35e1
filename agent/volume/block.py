"""The port through which everything in this package reads: random access to read-only bytes."""

from __future__ import annotations

import os
from typing import Protocol

from agent.errors import DiskOperationFailed, UnreadableSectors


class BlockSource(Protocol):
    """Read-only bytes of a device, a partition or a decrypted volume.

    Implementations are thread-safe, keep no file position, and accept any offset and length; reads
    aligned to ``sector_size`` are the cheap ones.
    """

    @property
    def size_bytes(self) -> int:
        """How many bytes there are."""
        ...

    @property
    def sector_size(self) -> int:
        """Logical sector size in bytes: 512 or 4096."""
        ...

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer`` (writable, format B, contiguous) with the bytes from ``offset`` on.

        Raises UnreadableSectors when the device fails there, and DiskOperationFailed when the range
        does not lie within [0, size_bytes): a structure on the drive pointed outside the volume.
        On either the content of the buffer is undefined.
        """
        ...


def check_range(source: BlockSource, offset: int, length: int) -> None:
    """Raises DiskOperationFailed unless [offset, offset + length) lies within the source."""
    if offset < 0 or length < 0 or offset + length > source.size_bytes:
        raise DiskOperationFailed(
            f"bytes {offset}..{offset + length} were asked of a volume that ends at {source.size_bytes}"
        )


def read(source: BlockSource, offset: int, length: int) -> bytes:
    """``length`` bytes from ``offset`` on; errors as ``read_into``."""
    check_range(source, offset, length)
    buffer = bytearray(length)
    source.read_into(offset, memoryview(buffer))
    return bytes(buffer)


class FdSource:
    """An open file descriptor of a device or an image. The caller opened it read-only and closes it."""

    def __init__(self, fd: int, size_bytes: int, sector_size: int = 512) -> None:
        self._fd = fd
        self.size_bytes = size_bytes
        self.sector_size = sector_size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        check_range(self, offset, len(buffer))
        done = 0
        while done < len(buffer):
            try:
                got = os.preadv(self._fd, [buffer[done:]], offset + done)
            except OSError as error:
                raise UnreadableSectors(
                    offset + done, len(buffer) - done, error.strerror or "I/O error"
                ) from error
            if got == 0:
                raise UnreadableSectors(offset + done, len(buffer) - done, "the device ended early")
            done += got


class SubSource:
    """A contiguous part of another source, such as a partition."""

    def __init__(self, parent: BlockSource, start: int, size_bytes: int) -> None:
        """Raises DiskOperationFailed when the part does not lie within the parent."""
        check_range(parent, start, size_bytes)
        self._parent = parent
        self.start = start
        self.size_bytes = size_bytes
        self.sector_size = parent.sector_size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        check_range(self, offset, len(buffer))
        self._parent.read_into(self.start + offset, buffer)


class BytesSource:
    """Bytes in memory; for tests and small structures."""

    def __init__(self, data: bytes, sector_size: int = 512) -> None:
        self._data = data
        self.size_bytes = len(data)
        self.sector_size = sector_size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        check_range(self, offset, len(buffer))
        buffer[:] = self._data[offset : offset + len(buffer)]


class WatchedSource:
    """Remembers which ranges could not be read, to tell a passing trouble from a bad sector."""

    MAX_REMEMBERED = 1000

    def __init__(self, inner: BlockSource) -> None:
        self._inner = inner
        self._failed: list[tuple[int, int]] = []
        self.size_bytes = inner.size_bytes
        self.sector_size = inner.sector_size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        try:
            self._inner.read_into(offset, buffer)
        except UnreadableSectors:
            if len(self._failed) < self.MAX_REMEMBERED:
                self._failed.append((offset, len(buffer)))
            raise

    def recovered(self) -> bool:
        """Whether a range that failed since the last call can be read now."""
        failed, self._failed = self._failed, []
        for offset, length in failed:
            try:
                self._inner.read_into(offset, memoryview(bytearray(length)))
            except UnreadableSectors:
                continue
            return True
        return False
