"""`volume decrypt`: the plain bytes of a volume, read and decrypted ahead of their writing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial

from agent.cli.volume_ahead import Buffers, ahead
from agent.errors import UnreadableSectors
from agent.volume.block import BlockSource

WINDOW_BYTES = 4 * 1024 * 1024
"""Where two threads decrypt the most (measured)."""

Window = tuple[memoryview, UnreadableSectors | None]
"""What could be read of a window from its start on, and what ended it."""


def write_plain(plain: BlockSource, fd: int) -> None:
    """All bytes of ``plain`` to ``fd``, in order.

    Raises UnreadableSectors at the first sector that cannot be read, when all before it is written;
    nothing is ever filled in. Raises OSError as writing does.
    """
    written = 0
    for view, error in ahead(_windows(plain)):
        written += _write(fd, view)
        if error is not None:
            raise UnreadableSectors(
                error.offset, error.length, f"decrypted are the first {written} bytes of the volume"
            )


def _windows(plain: BlockSource) -> Iterator[Callable[[], Window]]:
    buffers = Buffers(WINDOW_BYTES)
    for offset in range(0, plain.size_bytes, WINDOW_BYTES):
        length = min(WINDOW_BYTES, plain.size_bytes - offset)
        yield partial(_read, plain, offset, buffers.take()[:length])


def _read(plain: BlockSource, offset: int, buffer: memoryview) -> Window:
    try:
        plain.read_into(offset, buffer)
    except UnreadableSectors as error:
        good, error = _salvage(plain, offset, buffer, error)
        return buffer[:good], error
    return buffer, None


def _salvage(
    plain: BlockSource, offset: int, buffer: memoryview, error: UnreadableSectors
) -> tuple[int, UnreadableSectors]:
    """How many bytes come before the first bad sector, and the error that names just that sector.

    Halving, so that a sector on which the drive labours for seconds is tried a dozen times at most.
    """
    good, bad_end = 0, len(buffer)
    while bad_end - good > plain.sector_size:
        half = (bad_end - good) // 2 // plain.sector_size * plain.sector_size
        middle = good + max(half, plain.sector_size)
        try:
            plain.read_into(offset + good, buffer[good:middle])
        except UnreadableSectors as trouble:
            error, bad_end = trouble, middle
        else:
            good = middle
    try:
        plain.read_into(offset + good, buffer[good:bad_end])
    except UnreadableSectors as trouble:
        error = trouble
    return good, error


def _write(fd: int, view: memoryview) -> int:
    done = 0
    while done < len(view):
        done += os.write(fd, view[done:])
    return done
