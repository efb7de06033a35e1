"""No byte of a drive is changed: the kernel is told to refuse writes, and then asked whether it does."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.devices.usage import Extent, extents

BLKROSET: Final = 0x125D
"""Make a block device read-only or not; needs CAP_SYS_ADMIN (linux/fs.h)."""
BLKROGET: Final = 0x125E
SYS_BLOCK: Final = Path("/sys/dev/block")


@dataclass(frozen=True, slots=True)
class ReadOnly:
    """``is_proven``: the kernel refuses writes to the disk and to every partition; ``detail`` says so."""

    is_proven: bool
    detail: str


def protect(fd: int) -> list[Extent]:
    """Have the kernel refuse writes to the disk of ``fd`` and to its partitions, if this user may; blocks.

    Nobody uses the disk. What was changed, for ``unprotect``. Whether all of it is protected is for
    ``look`` to say: a udev rule may have done it before.
    """
    status = os.fstat(fd)
    if not stat.S_ISBLK(status.st_mode):
        return []
    parts = _extents(status.st_rdev)
    writable = [part for part in parts if not _is_read_only(part)]
    return [part for part in writable if _set_on(fd, part, parts[0], True)]


def unprotect(fd: int, changed: Iterable[Extent]) -> None:
    """Take back what ``protect`` changed, for somebody who began to use the disk meanwhile; blocks."""
    parts = _extents(os.fstat(fd).st_rdev)
    for part in changed:
        _set_on(fd, part, parts[0] if parts else part, False)


def look(fd: int) -> ReadOnly | None:
    """What can be shown of the descriptor and the device that it is open on; None for a file; blocks.

    Both are asked: the flag by BLKROGET, and ``ro`` in sysfs of the disk and of each partition.
    """
    status = os.fstat(fd)
    if not stat.S_ISBLK(status.st_mode):
        return None
    if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY:
        return ReadOnly(False, "the descriptor is open for writing")
    parts = _extents(status.st_rdev)
    if not parts or not _flag(fd):
        name = parts[0].name if parts else "the device"
        return ReadOnly(False, f"the kernel does not refuse writes to {name} (BLKROGET)")
    writable = [part.name for part in parts if not _is_read_only(part)]
    if writable:
        return ReadOnly(False, f"the kernel does not refuse writes to {', '.join(writable)} (ro in sysfs)")
    names = ", ".join(part.name for part in parts)
    return ReadOnly(True, f"the kernel refuses writes to {names} (BLKROGET, and ro in sysfs)")


def _extents(number: int) -> list[Extent]:
    return extents((SYS_BLOCK / f"{os.major(number)}:{os.minor(number)}").resolve())


def _open(part: Extent) -> int:
    """Checked to be what sysfs calls so: names are given anew."""
    fd = os.open(f"/dev/{part.name}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(fd)
    if not stat.S_ISBLK(status.st_mode) or status.st_rdev != os.makedev(*part.number):
        os.close(fd)
        raise FileNotFoundError(part.name)
    return fd


def _set_on(fd: int, part: Extent, disk: Extent, is_read_only: bool) -> bool:
    """On ``fd`` for the disk itself, else on the partition's own node; whether it could be done."""
    if part == disk:
        return _set(fd, is_read_only)
    try:
        part_fd = _open(part)
    except OSError:
        return False
    try:
        return _set(part_fd, is_read_only)
    finally:
        os.close(part_fd)


def _set(fd: int, is_read_only: bool) -> bool:
    try:
        fcntl.ioctl(fd, BLKROSET, struct.pack("i", is_read_only))
    except OSError:
        return False
    return True


def _flag(fd: int) -> bool:
    try:
        return bool(struct.unpack("i", fcntl.ioctl(fd, BLKROGET, bytes(4)))[0])
    except OSError:
        return False


def _is_read_only(part: Extent) -> bool:
    try:
        return (part.folder / "ro").read_text("ascii").strip() == "1"
    except OSError:
        return False
