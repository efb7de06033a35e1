"""Bugs planted on purpose, to show that each oracle can fail.

Each function breaks the reader of the process it is called in, for good; they are handed to workers as
``prepare``, by name; ``planted`` is for those that leave a process alive.
"""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from agent.errors import NtfsDamaged
from agent.volume.block import BlockSource, SubSource
from agent.volume.ntfs import DamagedRecord, Entry, NtfsVolume, StreamRef

Found = Entry | DamagedRecord
_scan = NtfsVolume.scan
_read_into = NtfsVolume.read_into
_below = SubSource.read_into


def _put(owner: type, name: str, function: Callable[..., object]) -> None:
    setattr(owner, name, function)


@contextmanager
def planted(plant: Callable[[], None]) -> Iterator[None]:
    """In this process, and taken out again."""
    plant()
    try:
        yield
    finally:
        _put(NtfsVolume, "scan", _scan)
        _put(NtfsVolume, "read_into", _read_into)
        _put(SubSource, "read_into", _below)


def index_error() -> None:
    """A parser that reads past a list."""

    def scan(self: NtfsVolume) -> Iterator[Found]:
        yield from _scan(self)
        yield [*_scan(self)][1 << 30]

    _put(NtfsVolume, "scan", scan)


def endless_recursion() -> None:
    """A parser that follows a cycle."""

    def scan(self: NtfsVolume) -> Iterator[Found]:
        yield from scan(self)

    _put(NtfsVolume, "scan", scan)


def a_warning() -> None:
    """Arithmetic that numpy only warns of."""

    def scan(self: NtfsVolume) -> Iterator[Found]:
        warnings.warn("overflow encountered in scalar add", RuntimeWarning, stacklevel=1)
        return _scan(self)

    _put(NtfsVolume, "scan", scan)


def two_lines() -> None:
    """A name from the drive breaks the line of a reason."""

    def scan(self: NtfsVolume) -> Iterator[Found]:
        yield from _scan(self)
        yield DamagedRecord(7, "the name\nfailed: no")

    _put(NtfsVolume, "scan", scan)


def a_loose_reference() -> None:
    """An extent past the end of the volume is handed on."""

    def scan(self: NtfsVolume) -> Iterator[Found]:
        for found in _scan(self):
            if isinstance(found, Entry):
                found = found._replace(
                    streams=tuple(_loosened(ref, self.size_bytes) for ref in found.streams)
                )
            yield found

    _put(NtfsVolume, "scan", scan)


def _loosened(ref: StreamRef, end: int) -> StreamRef:
    return ref._replace(extents=((end, ref.extents[0][1]), *ref.extents)) if ref.extents else ref


def unwritten_bytes() -> None:
    """A read that leaves its last byte as the caller had it."""

    def read_into(self: NtfsVolume, ref: StreamRef, offset: int, buffer: memoryview) -> None:
        _read_into(self, ref, offset, buffer[:-1])

    _put(NtfsVolume, "read_into", read_into)


def a_read_outside() -> None:
    """A partition that does not hold requests against its own size."""

    def read_into(self: SubSource, offset: int, buffer: memoryview) -> None:
        _below(self, offset, buffer)
        _parent(self).read_into(self.start + self.size_bytes - 1, memoryview(bytearray(512)))

    _put(SubSource, "read_into", read_into)


def reading_over_and_over() -> None:
    """A volume whose reads cost a hundred reads of the drive."""

    def read_into(self: SubSource, offset: int, buffer: memoryview) -> None:
        for _ in range(100):
            _below(self, offset, buffer)

    _put(SubSource, "read_into", read_into)


def a_write() -> None:
    """Somebody changes the drive."""

    def read_into(self: SubSource, offset: int, buffer: memoryview) -> None:
        _below(self, offset, buffer)
        _parent(self)._data[-1] = 0xEE  # type: ignore[attr-defined]

    _put(SubSource, "read_into", read_into)


def _parent(part: SubSource) -> BlockSource:
    return part._parent


def silent_error() -> None:
    """An error that is clean, and says nothing."""

    def read_into(self: NtfsVolume, ref: StreamRef, offset: int, buffer: memoryview) -> None:
        raise NtfsDamaged("")

    _put(NtfsVolume, "read_into", read_into)


def endless_loop() -> None:
    """A parser that does not move on."""

    def scan(self: NtfsVolume) -> Iterator[Found]:
        while True:
            pass

    _put(NtfsVolume, "scan", scan)


def much_memory() -> None:
    """An allocation of a size that the drive gave."""

    def scan(self: NtfsVolume) -> Iterator[Found]:
        held = b"\1" * (300 << 20)
        yield from _scan(self)
        del held

    _put(NtfsVolume, "scan", scan)


def memory_without_end() -> None:
    """A list that grows until there is no more."""

    def scan(self: NtfsVolume) -> Iterator[Found]:
        held = bytes(8 << 30)
        yield from _scan(self)
        del held

    _put(NtfsVolume, "scan", scan)


def a_crash() -> None:
    """A library in C that follows a bad pointer."""

    def scan(self: NtfsVolume) -> Iterator[Found]:
        ctypes.string_at(1)
        return _scan(self)

    _put(NtfsVolume, "scan", scan)
