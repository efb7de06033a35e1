"""The port through which everything in this package reads: random access to read-only bytes."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Final, Protocol

from agent.errors import DiskOperationFailed, UnreadableSectors

MAX_READ_AHEAD_BYTES: Final = 8 * 1024 * 1024
"""The most that one hint makes the system read before it is asked for."""

ALIGNMENT_BYTES: Final = 4096
"""A page, and a multiple of every sector: where buffers begin that a device may write into itself."""


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


def read_ahead(source: BlockSource, offset: int, length: int) -> None:
    """A hint that a range will be asked for soon; at most MAX_READ_AHEAD_BYTES of it are acted on.

    A source that can use it has a method ``read_ahead(offset, length)``, which returns at once and
    never fails; for any other nothing happens.
    """
    hint: Callable[[int, int], None] | None = getattr(source, "read_ahead", None)
    if hint is not None:
        hint(offset, length)


_wished: ContextVar[bool] = ContextVar("wished", default=False)


@contextmanager
def wishing() -> Iterator[None]:
    """Reads inside are convenient and not needed: what fails is not worth a second try.

    So a cache may ask for a whole window, and a failing drive is only pressed for the bytes that
    somebody waits for. Holds for the calling thread, through all layers.
    """
    token = _wished.set(True)
    try:
        yield
    finally:
        _wished.reset(token)


def is_wish() -> bool:
    """Whether the read at hand is made inside ``wishing``."""
    return _wished.get()


def aligned_buffer(length: int) -> memoryview:
    """``length`` writable zero bytes that begin at a multiple of ALIGNMENT_BYTES.

    Out of the heap: a map of its own costs a page fault for each page, 30 times as much.
    """
    view = memoryview(bytearray(length + ALIGNMENT_BYTES))
    skip = -address_of(view) % ALIGNMENT_BYTES
    return view[skip : skip + length]


def address_of(buffer: memoryview) -> int:
    """Where a writable, contiguous buffer of at least one byte begins in memory."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


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
    """An open file descriptor of a device or an image, read through the page cache of the system.

    The caller opened it read-only and closes it.
    """

    is_direct = False

    def __init__(self, fd: int, size_bytes: int, sector_size: int = 512) -> None:
        self._fd = fd
        self.size_bytes = size_bytes
        self.sector_size = sector_size
        # The drive is read in the order in which it lies; a pipe of a test has no such thing.
        with suppress(OSError):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)

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

    def read_ahead(self, offset: int, length: int) -> None:
        length = min(length, MAX_READ_AHEAD_BYTES, self.size_bytes - offset)
        if offset >= 0 and length > 0:
            with suppress(OSError):
                os.posix_fadvise(self._fd, offset, length, os.POSIX_FADV_WILLNEED)


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

    def read_ahead(self, offset: int, length: int) -> None:
        if 0 <= offset < self.size_bytes:
            read_ahead(self._parent, self.start + offset, min(length, self.size_bytes - offset))


class BytesSource:
    """Bytes in memory; for tests and small structures."""

    def __init__(self, data: bytes, sector_size: int = 512) -> None:
        self._data = data
        self.size_bytes = len(data)
        self.sector_size = sector_size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        check_range(self, offset, len(buffer))
        buffer[:] = self._data[offset : offset + len(buffer)]
