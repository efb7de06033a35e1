"""libbde and libfsntfs in one process: ``python -m benchmarks.volume_libyal files|volume IMAGE``.

The password comes on standard input; the output is that of ``volume_walk``. On standard error a line says
when the volume is open.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Protocol

import pybde
import pyfsntfs

from benchmarks.volume_walk import BULK_BYTES, WINDOW_BYTES, print_hashes, write

PAGE_BYTES = 1024
"""What small reads are rounded to. Of 512 bytes to 1 MiB, what made the pair fastest on small files."""
KEPT_PAGES = 4096
FIRST_USER_RECORD = 24
_RECORD_MASK = (1 << 48) - 1


class Reads(Protocol):
    """What is asked of a libbde volume."""

    def read_buffer_at_offset(self, size: int, offset: int) -> bytes:
        """Exactly ``size`` bytes, if the volume has them."""
        ...


class AlignedFile:
    """A BitLocker volume as the file object that libfsntfs takes.

    libbde gives wrong bytes for a read that begins inside a sector and goes past its end, so it is asked
    for whole pages only. The last few are kept: libfsntfs reads a directory in many small pieces.
    """

    def __init__(self, volume: Reads, size_bytes: int) -> None:
        self._volume = volume
        self._size_bytes = size_bytes
        self._offset = 0
        self._pages: OrderedDict[int, bytes] = OrderedDict()

    def read(self, size: int) -> bytes:
        """As of a file."""
        end = min(self._offset + size, self._size_bytes)
        if end <= self._offset:
            return b""
        first, past = self._offset // PAGE_BYTES, -(-end // PAGE_BYTES)
        data = self._page(first) if past - first == 1 else self._read(first, past)
        found = data[self._offset - first * PAGE_BYTES : end - first * PAGE_BYTES]
        self._offset = end
        return found

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> None:
        """As of a file."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._offset, os.SEEK_END: self._size_bytes}[whence]
        self._offset = base + offset

    def tell(self) -> int:
        """As of a file."""
        return self._offset

    def get_offset(self) -> int:
        """As libyal asks it."""
        return self._offset

    def get_size(self) -> int:
        """As libyal asks it."""
        return self._size_bytes

    def _page(self, index: int) -> bytes:
        page = self._pages.get(index)
        if page is None:
            page = self._pages[index] = self._read(index, index + 1)
            if len(self._pages) > KEPT_PAGES:
                self._pages.popitem(last=False)
        else:
            self._pages.move_to_end(index)
        return page

    def _read(self, first: int, past: int) -> bytes:
        start = first * PAGE_BYTES
        return self._volume.read_buffer_at_offset(min(past * PAGE_BYTES, self._size_bytes) - start, start)


def open_volume(image: str, password: str) -> Any:
    """Raises OSError when the password does not open it."""
    volume = pybde.volume()
    volume.set_password(password)
    volume.open(image)
    if volume.is_locked():
        raise OSError(f"libbde cannot unlock {image}")
    return volume


def hash_files(volume: Any) -> Iterator[tuple[str, str]]:
    """(path, SHA-256) of each file's own stream, in the order of ``volume_walk``."""
    ntfs = pyfsntfs.volume()
    ntfs.open_file_object(AlignedFile(volume, volume.get_size()))
    yield from _hash_folder(ntfs.get_root_directory(), "")


def _hash_folder(folder: Any, above: str) -> Iterator[tuple[str, str]]:
    entries = sorted(folder.sub_file_entries, key=lambda entry: entry.name)
    entries = [entry for entry in entries if entry.file_reference & _RECORD_MASK >= FIRST_USER_RECORD]
    for entry in entries:
        if not entry.has_directory_entries_index():
            yield above + entry.name, _hash(entry)
    for entry in entries:
        if entry.has_directory_entries_index():
            yield from _hash_folder(entry, f"{above}{entry.name}/")


def _hash(entry: Any) -> str:
    digest = hashlib.sha256()
    while part := entry.read(WINDOW_BYTES):
        digest.update(part)
    return digest.hexdigest()


def copy(volume: Any, fd: int) -> None:
    """All plain bytes, read in order, to ``fd``."""
    while part := volume.read_buffer(BULK_BYTES):
        write(fd, memoryview(part))


def main(what: str, image: str) -> None:
    """``what`` is ``files`` or ``volume``."""
    volume = open_volume(image, sys.stdin.read())
    print("open", file=sys.stderr, flush=True)
    if what == "files":
        print_hashes(hash_files(volume))
    else:
        copy(volume, sys.stdout.fileno())


if __name__ == "__main__":
    main(*sys.argv[1:])
