"""Reading a block device past the page cache of the system (O_DIRECT)."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from typing import Final

from agent.errors import UnreadableSectors
from agent.volume.block import FdSource, address_of, aligned_buffer, check_range

BOUNCE_BYTES: Final = 512 * 1024
"""What is read at a time on behalf of a buffer that the device cannot write into."""

_MAX_ALIGNMENT: Final = 64 * 1024
_BLKSSZGET: Final = 0x1268
"""Logical sector size of a block device (linux/fs.h)."""


class DirectSource:
    """A FdSource that reads past the page cache: nothing is copied, and every read asks the drive.

    Only so is a failing read of one sector about that sector, and not about the page that it shares.
    The part of a read that is aligned to the logical sector in memory and on the device goes straight
    into the caller's buffer; ragged ends, and buffers that lie askew, take a detour through a bounce
    buffer. Where the descriptor refuses to be read directly, it is read through the cache, for good.

    A failing direct read does not tell where: the error names all that was asked of the system at once.
    """

    def __init__(self, fd: int, size_bytes: int, sector_size: int = 512) -> None:
        """The caller opened ``fd`` read-only and closes it; O_DIRECT is set on it here."""
        self._fd = fd
        self.size_bytes = size_bytes
        self.sector_size = sector_size
        self._align = max(sector_size, _logical_sector(fd))
        self._buffered = FdSource(fd, size_bytes, sector_size)
        # Borrowed by one read at a time each; as many as ever read at once.
        self._spare: list[memoryview] = []
        self.is_direct = self._align <= _MAX_ALIGNMENT and self._begin()

    def read_into(self, offset: int, buffer: memoryview) -> None:
        check_range(self, offset, len(buffer))
        if not self.is_direct:
            self._buffered.read_into(offset, buffer)
            return
        if not len(buffer):
            return
        head, straight = self._cut(offset, buffer)
        try:
            self._bounce(offset, buffer[:head])
            self._straight(offset + head, buffer[head : head + straight])
            self._bounce(offset + head + straight, buffer[head + straight :])
        except _RefusedError:
            self._end()
            self._buffered.read_into(offset, buffer)

    def read_ahead(self, offset: int, length: int) -> None:
        """There is no cache to read ahead into, unless the descriptor refused."""
        if not self.is_direct:
            self._buffered.read_ahead(offset, length)

    def _cut(self, offset: int, buffer: memoryview) -> tuple[int, int]:
        """How many bytes of ``buffer`` come before the straight part, and how many that part has."""
        head = -offset % self._align
        if head >= len(buffer) or (address_of(buffer) + head) % self._align:
            return len(buffer), 0
        return head, (len(buffer) - head) // self._align * self._align

    def _straight(self, offset: int, buffer: memoryview) -> None:
        """Offset, length and place in memory are aligned."""
        done = 0
        while done < len(buffer):
            got = self._read(offset + done, buffer[done:])
            done += got
            if done < len(buffer) and (not got or got % self._align):
                raise UnreadableSectors(offset + done, len(buffer) - done, "the device ended early")

    def _bounce(self, offset: int, buffer: memoryview) -> None:
        if not len(buffer):
            return
        try:
            spare = self._spare.pop()
        except IndexError:
            spare = aligned_buffer(BOUNCE_BYTES)
        try:
            self._through(spare, offset, buffer)
        finally:
            self._spare.append(spare)

    def _through(self, spare: memoryview, offset: int, buffer: memoryview) -> None:
        done = 0
        while done < len(buffer):
            inside = (offset + done) % self._align
            wanted = min(len(buffer) - done, len(spare) - inside)
            whole = -(-(inside + wanted) // self._align) * self._align
            useful = min(self._read(offset + done - inside, spare[:whole]) - inside, wanted)
            if useful <= 0:
                raise UnreadableSectors(offset + done, len(buffer) - done, "the device ended early")
            buffer[done : done + useful] = spare[inside : inside + useful]
            done += useful

    def _read(self, offset: int, buffer: memoryview) -> int:
        """One read of the system; how many bytes it gave."""
        try:
            return os.preadv(self._fd, [buffer], offset)
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise _RefusedError from error
            raise UnreadableSectors(offset, len(buffer), error.strerror or "I/O error") from error

    def _begin(self) -> bool:
        """Ask for direct reading, and try it: some file systems refuse only when read."""
        if not self._set_direct(True):
            return False
        try:
            self._read(0, aligned_buffer(self._align))
        except _RefusedError:
            self._set_direct(False)
            return False
        except UnreadableSectors:
            pass
        return True

    def _end(self) -> None:
        self.is_direct = False
        self._set_direct(False)

    def _set_direct(self, wanted: bool) -> bool:
        try:
            flags = fcntl.fcntl(self._fd, fcntl.F_GETFL)
            flags = flags | os.O_DIRECT if wanted else flags & ~os.O_DIRECT
            fcntl.fcntl(self._fd, fcntl.F_SETFL, flags)
        except OSError:
            return False
        return True


class _RefusedError(Exception):
    """The descriptor does not read directly, or not so."""


def drive_source(fd: int, size_bytes: int, sector_size: int = 512) -> DirectSource | FdSource:
    """A block device read directly; an image file through the cache, which may hold it already."""
    if stat.S_ISBLK(os.fstat(fd).st_mode):
        return DirectSource(fd, size_bytes, sector_size)
    return FdSource(fd, size_bytes, sector_size)


def _logical_sector(fd: int) -> int:
    """What a block device says of itself; 512 for anything else."""
    try:
        size: int = struct.unpack("i", fcntl.ioctl(fd, _BLKSSZGET, bytes(4)))[0]
    except OSError:
        return 512
    return size if size > 0 else 512
