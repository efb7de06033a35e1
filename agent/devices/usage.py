"""Whether somebody on this machine uses a disk; such a disk is never touched."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

PROC: Final = Path("/proc")
Number: TypeAlias = tuple[int, int]
"""Major and minor."""
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Extent:
    """A disk or one of its partitions: its name, its folder in sysfs, its device number."""

    name: str
    folder: Path
    number: Number


def extents(folder: Path) -> list[Extent]:
    """The disk of a folder of /sys/devices, and its partitions; empty when it is gone."""
    found = []
    try:
        parts = sorted(part.parent for part in folder.glob("*/partition"))
    except OSError:
        parts = []
    for place in (folder, *parts):
        try:
            major, _, minor = (place / "dev").read_text("ascii").strip().partition(":")
            found.append(Extent(place.name.replace("!", "/"), place, (int(major), int(minor))))
        except (OSError, ValueError):
            continue
    return found


def user_of(folder: Path, proc: Path = PROC) -> str | None:
    """Who uses the disk of this folder of sysfs, as the end of a sentence; None when nobody is seen."""
    parts = extents(folder)
    numbers: dict[Number | None, str] = {part.number: part.name for part in parts}
    return _holder(parts) or _mount(numbers, proc) or _swap(numbers, proc)


def is_claimed(node: str) -> bool:
    """Whether somebody has the disk or a partition of it for itself (a mount in any namespace, RAID, LVM).

    To open with O_EXCL is refused then. Raises OSError when it cannot be opened for another reason.
    """
    try:
        os.close(os.open(node, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        if error.errno == errno.EBUSY:
            return True
        raise
    return False


def writers(folder: Path, proc: Path = PROC) -> list[str]:
    """Processes that have the disk or a partition open to write, as far as this user may look."""
    numbers = {part.number for part in extents(folder)}
    found = []
    for process in _numbered(proc):
        try:
            if any(_writes(fd, numbers) for fd in (process / "fd").iterdir()):
                found.append(f"{(process / 'comm').read_text('utf-8', 'replace').strip()} ({process.name})")
        except OSError:
            continue
    return found


def _numbered(proc: Path) -> Iterator[Path]:
    return (entry for entry in proc.iterdir() if entry.name.isdigit())


def _writes(fd: Path, numbers: set[Number]) -> bool:
    try:
        # The link's own permissions tell the mode of the descriptor (proc(5), /proc/pid/fd).
        if not fd.lstat().st_mode & stat.S_IWUSR:
            return False
        status = fd.stat()
    except OSError:
        return False
    return stat.S_ISBLK(status.st_mode) and _pair(status.st_rdev) in numbers


def _holder(parts: list[Extent]) -> str | None:
    for part in parts:
        try:
            for holder in sorted((part.folder / "holders").iterdir()):
                return f"{part.name} is held by {holder.name}{_mapping(holder)}"
        except OSError:
            continue
    return None


def _mapping(holder: Path) -> str:
    try:
        return f" ({(holder / 'dm/name').read_text('utf-8', 'replace').strip()})"
    except OSError:
        return ""


def _mount(numbers: Mapping[Number | None, str], proc: Path) -> str | None:
    """proc(5), mountinfo: field 3 is major:minor, 5 where, and the second after " - " the source."""
    for line in _lines(proc / "self/mountinfo"):
        head, _, tail = line.partition(" - ")
        fields, source = head.split(" "), tail.split(" ")
        if len(fields) < 5 or len(source) < 2:
            continue
        # Some filesystems have a number of their own (btrfs): their source tells the device.
        for number in (_parse_pair(fields[2]), _number_of(_plain(source[1]))):
            if number in numbers:
                return f"{numbers[number]} is mounted at {_plain(fields[4])}"
    return None


def _swap(numbers: Mapping[Number | None, str], proc: Path) -> str | None:
    for line in _lines(proc / "swaps")[1:]:
        number = _number_of(_plain(line.split()[0])) if line.split() else None
        if number in numbers:
            return f"{numbers[number]} is swap space"
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []


def _plain(text: str) -> str:
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), text)


def _number_of(path: str) -> Number | None:
    if not path.startswith("/"):
        return None
    try:
        status = os.stat(path)
    except OSError:
        return None
    return _pair(status.st_rdev) if stat.S_ISBLK(status.st_mode) else None


def _pair(number: int) -> Number:
    return os.major(number), os.minor(number)


def _parse_pair(text: str) -> Number | None:
    major, _, minor = text.partition(":")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None
