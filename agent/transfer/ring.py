"""The shared memory between reader and uploader: a fixed number of equal slots.

The uploader owns the slots: it takes some, tells the reader to fill them, sends them and puts them
back. So memory is a constant, whatever the sizes of files, and nothing is ever waited for twice.
"""

from __future__ import annotations

import fcntl
import mmap
import os

SLOT_BYTES = 512 * 1024
"""A window: decryption, checksum and sending are each fastest near this size (measured)."""


class Ring:
    """``slot_count`` slots of SLOT_BYTES in an anonymous file that both processes map."""

    def __init__(self, fd: int, slot_count: int) -> None:
        self.fd = fd
        self.slot_count = slot_count
        self._map = mmap.mmap(fd, slot_count * SLOT_BYTES)
        self._view = memoryview(self._map)

    @classmethod
    def create(cls, slot_count: int) -> Ring:
        """A new ring; its descriptor is to be inherited by both processes.

        Its size is sealed: a reader that hostile bytes took over cannot end the uploader by shrinking it.
        """
        fd = os.memfd_create("ingest-ring", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, slot_count * SLOT_BYTES)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        return cls(fd, slot_count)

    def slot(self, number: int, length: int = SLOT_BYTES) -> memoryview:
        """The first ``length`` bytes of a slot, writable."""
        if not (0 <= number < self.slot_count and 0 <= length <= SLOT_BYTES):
            raise IndexError(f"slot {number}, {length} bytes")
        start = number * SLOT_BYTES
        return self._view[start : start + length]

    def views(self, slots: list[int], length: int, at: int = 0) -> list[memoryview]:
        """``length`` bytes over ``slots`` in order, a view a slot; ``at`` is where the first begins."""
        views = []
        for number in slots:
            part = min(length, SLOT_BYTES - at)
            views.append(self.slot(number, at + part)[at:])
            length -= part
            at = 0
        return views

    def runs(self, slots: list[int], length: int, at: int = 0) -> list[memoryview]:
        """As ``views``, with slots that follow each other in the ring made one: fewer, longer reads."""
        runs: list[memoryview] = []
        done = 0
        while done < len(slots):
            count = 1
            while done + count < len(slots) and slots[done + count] == slots[done] + count:
                count += 1
            for number in slots[done : done + count]:
                self._check(number)
            part = min(length, count * SLOT_BYTES - at)
            start = slots[done] * SLOT_BYTES + at
            runs.append(self._view[start : start + part])
            length -= part
            at = 0
            done += count
        return runs

    def _check(self, number: int) -> None:
        if not 0 <= number < self.slot_count:
            raise IndexError(f"slot {number} of {self.slot_count}")

    def close(self) -> None:
        """Unmap and close. Views handed out before must be gone."""
        os.close(self.fd)
        self._view.release()
        self._map.close()


def slots_for(length: int) -> int:
    """How many slots hold ``length`` bytes."""
    return -(-length // SLOT_BYTES)
