"""Image files, partitions and loop devices that stand in for drives; the operator gives the serial."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import stat
import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.devices.health import Health
from agent.devices.source import Device
from agent.errors import DeviceUnavailable
from agent.model.identity import SerialNumber

POLL_S = 1.0
BLKSSZGET = 0x1268
"""Logical sector size of a block device (linux/fs.h)."""


_READ_ONLY = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
"""Non-blocking, for a path may name a pipe that nobody writes to."""


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """A path and the serial number that it stands for."""

    path: Path
    serial: SerialNumber
    bay: str
    sector_size: int = 512
    mapfile: Path | None = None


class ImageSource:
    """A DeviceSource over configured paths; one that does not exist is a drive not yet attached."""

    def __init__(self, entries: Sequence[ImageEntry], poll_s: float = POLL_S) -> None:
        self._entries = tuple(entries)
        self._poll_s = poll_s
        self._attached: dict[str, ImageEntry] = {}

    async def devices(self) -> list[Device]:
        return await asyncio.to_thread(self._look)

    def _look(self) -> list[Device]:
        found = []
        for entry in self._entries:
            try:
                fd = os.open(entry.path, _READ_ONLY)
            except OSError:
                continue
            try:
                device = _describe(fd, entry)
            except OSError:
                continue
            finally:
                os.close(fd)
            if device is not None:
                self._attached[device.key] = entry
                found.append(device)
        return found

    async def changes(self) -> AsyncIterator[None]:
        while True:
            yield
            await asyncio.sleep(self._poll_s)

    async def open(self, device: Device) -> int:
        entry = self._attached[device.key]
        return await asyncio.to_thread(_open, entry.path)

    async def health(self, device: Device) -> Health | None:
        return None


def _open(path: Path) -> int:
    fd = open_read_only(path)
    try:
        _check_unwritten(fd, path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check_unwritten(fd: int, path: Path) -> None:
    """Raises DeviceUnavailable while somebody has an image file open to write, as who makes it still.

    A lease is refused then (fcntl(2)), and given back at once: who opens the file now is not held up.
    Where none can be had (another's file, some file systems) nothing is known.
    """
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return
    try:
        # Who opens it meanwhile makes the kernel tell us, by default with a signal that ends the process.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        raise DeviceUnavailable(f"{path} is not touched: somebody has it open to write") from None
    except OSError:
        return
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def open_read_only(path: Path, flags: int = 0) -> int:
    """A read-only descriptor, with more flags of open(2). Raises DeviceUnavailable, saying why."""
    try:
        fd = os.open(path, _READ_ONLY | flags)
    except OSError as error:
        raise DeviceUnavailable(f"{path} cannot be opened: {error.strerror}") from None
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        os.close(fd)
        raise DeviceUnavailable(f"{path} is neither a block device nor an image file")
    return fd


def _describe(fd: int, entry: ImageEntry) -> Device | None:
    status = os.fstat(fd)
    sector_size = entry.sector_size
    if stat.S_ISBLK(status.st_mode):
        size = os.lseek(fd, 0, os.SEEK_END)
        sector_size = struct.unpack("i", fcntl.ioctl(fd, BLKSSZGET, bytes(4)))[0]
    elif stat.S_ISREG(status.st_mode):
        size = status.st_size
    else:
        return None
    if not size:
        return None
    key = f"image:{entry.path}:{status.st_dev}:{status.st_ino}:{entry.serial.normal}"
    return Device(key, entry.serial, entry.bay, size, sector_size, entry.mapfile)
