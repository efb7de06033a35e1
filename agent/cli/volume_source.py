"""SOURCE and --key-file of the volume commands: all that is opened before a byte of it is looked at."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TypeVar, cast

import click

from agent.cli.context import read_key
from agent.devices.image import BLKSSZGET, open_read_only
from agent.errors import DeviceUnavailable, DriveError, MalformedInput, StateUnusable
from agent.model.keys import Credential
from agent.transfer import sandbox
from agent.transfer.sandbox import Confinement
from agent.volume.block import BlockSource
from agent.volume.direct import drive_source
from agent.volume.imaged import ImagedSource
from agent.volume.mapfile import parse
from agent.volume.rescue import RescueSource

Command = TypeVar("Command", bound=Callable[..., Any])

_IMAGE_SECTOR_BYTES = 512
_MAX_MAPFILE_BYTES = 16 * 1024 * 1024
_PATH = click.Path(path_type=Path, readable=False)
"""That a file may not be read is told by what opens it, with what to do; click would call it wrong use."""


def takes_source(command: Command) -> Command:
    """The argument and the options that all volume commands have; the command gets an ``Origin``."""

    @wraps(command)
    def with_origin(source: Path, key_file: Path | None, mapfile: Path | None, **others: Any) -> object:
        return command(Origin(source, key_file, mapfile), **others)

    mapped = click.option(
        "--mapfile",
        type=_PATH,
        metavar="FILE",
        help="ddrescue's mapfile of the image: what it says is not rescued counts as unreadable.",
    )
    key = click.option(
        "--key-file",
        type=_PATH,
        metavar="FILE",
        help="Recovery password, password or .BEK file that opens the volume; - is standard input.",
    )
    source = click.argument("source", metavar="SOURCE", type=_PATH)
    return cast(Command, source(key(mapped(with_origin))))


@dataclass(frozen=True, slots=True)
class Origin:
    """The paths that a person gave."""

    path: Path
    key_file: Path | None
    mapfile: Path | None


@dataclass(frozen=True, slots=True)
class Bench:
    """A drive on the bench: open, read-only, with the key and the scratch files that the work needs.

    ``drive`` tries again what it cannot read, for a bounded time. ``confinement`` says what walls stand
    around this process by now.
    """

    path: Path
    is_device: bool
    drive: RescueSource
    credential: Credential | None
    scratch: tuple[BinaryIO, ...]
    confinement: Confinement

    def must_answer(self) -> None:
        """Raises DeviceUnavailable when the drive gives nothing any more: pulled, or its power is gone.

        That is one event, and not an error for each of its files.
        """
        why = self.drive.why_gone()
        if why is not None:
            raise DeviceUnavailable(f"{self.path} stopped answering ({why})")

    def must_have_answered(self) -> None:
        """As ``must_answer``, and DeviceUnavailable too when what failed until now can be read now."""
        self.must_answer()
        if self.drive.recovered():
            raise DeviceUnavailable(f"{self.path} faltered, and answers again; run this again")


@contextmanager
def on_bench(origin: Origin, scratch_files: int = 0) -> Iterator[Bench]:
    """Open everything, read-only but for the scratch files, which have no name; then confine the process.

    For the rest of its life it can open nothing more. Raises DeviceUnavailable, MalformedInput for a
    key or a mapfile that is none, StateUnusable when there is no room for scratch files.
    """
    path = origin.path
    with ExitStack() as stack:
        fd = open_read_only(path)
        stack.callback(os.close, fd)
        size, sector_size, is_device = _measure(fd, path)
        drive = _rescued(drive_source(fd, size, sector_size), origin.mapfile)
        credential = read_key(origin.key_file) if origin.key_file is not None else None
        scratch = tuple(stack.enter_context(_scratch()) for _ in range(scratch_files))
        try:
            yield Bench(path, is_device, drive, credential, scratch, _confine(size))
        except MemoryError:
            said = f"reading the drive takes more than {sandbox.MEMORY_BYTES} bytes of memory"
            raise DriveError(f"{said}, and no sound drive needs as much") from None


def _confine(drive_bytes: int) -> Confinement:
    """What is on the drive is hostile until proven otherwise, and this process may run as root.

    Standard output may be a file that grows to the size of the drive, so files are not bounded.
    """
    cpu_s = sandbox.cpu_s_for(drive_bytes)
    signal.signal(signal.SIGXCPU, partial(_give_up, cpu_s))
    return sandbox.enter(memory_bytes=sandbox.MEMORY_BYTES, cpu_s=cpu_s, file_bytes=None)


def _give_up(cpu_s: int, *_: object) -> NoReturn:
    raise DriveError(f"reading the drive took {cpu_s} s of CPU time, more than one of its size can need")


def _rescued(drive: BlockSource, mapfile: Path | None) -> RescueSource:
    known = None
    if mapfile is not None:
        text = _read_mapfile(mapfile)
        drive, known = ImagedSource(drive, parse(text, drive.size_bytes)), parse(text, drive.size_bytes)
    return RescueSource(drive, time.monotonic, lock=threading.Lock(), known=known)


def _read_mapfile(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_MAPFILE_BYTES + 1)
    except OSError as error:
        raise MalformedInput(f"the mapfile {path} cannot be read: {error.strerror}") from None
    if len(data) > _MAX_MAPFILE_BYTES:
        raise MalformedInput(f"the mapfile {path} has more than {_MAX_MAPFILE_BYTES} bytes")
    return data.decode("utf-8", "replace")


def _measure(fd: int, path: Path) -> tuple[int, int, bool]:
    """Size in bytes, sector size, and whether it is a device. Raises DeviceUnavailable."""
    is_device = stat.S_ISBLK(os.fstat(fd).st_mode)
    sector_size = _IMAGE_SECTOR_BYTES
    try:
        size = os.lseek(fd, 0, os.SEEK_END)
        if is_device:
            (sector_size,) = struct.unpack("i", fcntl.ioctl(fd, BLKSSZGET, bytes(4)))
    except OSError as error:
        raise DeviceUnavailable(f"{path} cannot be measured: {error.strerror}") from None
    if not size:
        raise DeviceUnavailable(f"{path} is empty")
    return size, sector_size, is_device


def _scratch() -> BinaryIO:
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise StateUnusable(f"no scratch file in {tempfile.gettempdir()}: {error.strerror}") from None
