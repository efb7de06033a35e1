"""Where a scan puts what would make its memory grow: a file that it only appends to.

What lies there are names, times and places of a volume, in the clear, and none of its content. The file
is the caller's: unlinked, so that it ends with the process, and on an encrypted disk where names matter.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import BinaryIO, TypeVar

from agent.errors import DriveError, StateUnusable

PAGE_BYTES = 16 * 1024
MAX_PAGES = 256
"""Pages kept in memory: 4 MiB, whatever the size of the file."""

_Result = TypeVar("_Result")


class Scratch:
    """Bytes are appended, and read back by the place that ``append`` gave.

    Everything raises StateUnusable when the file cannot be written or read, which is this station's
    trouble, and DriveError when it is as large as it may become: no sound drive needs as much.
    """

    def __init__(self, file: BinaryIO) -> None:
        """``file`` is empty, seekable, readable and writable; nobody else moves its position."""
        self._file = file
        self._end = 0
        self._pages: dict[int, bytes] = {}

    def append(self, data: bytes) -> int:
        """Write at the end; returns the place."""
        start = self._end
        _attempt("written", lambda: self._write(start, data))
        self._end += len(data)
        # The last page may have been read while it was shorter.
        self._pages.pop(start // PAGE_BYTES, None)
        return start

    def _write(self, start: int, data: bytes) -> None:
        self._file.seek(start)
        rest = memoryview(data)
        while rest:
            # An unbuffered file may take less than it is given.
            rest = rest[self._file.write(rest) :]

    def read(self, start: int, length: int) -> bytes:
        """A few bytes, out of the pages that are kept."""
        index, inside = divmod(start, PAGE_BYTES)
        found = self._page(index)[inside : inside + length]
        if len(found) < length and inside + length > PAGE_BYTES:
            found += self.read((index + 1) * PAGE_BYTES, length - len(found))
        return found

    def load(self, start: int, length: int) -> bytes:
        """Many bytes, straight from the file."""
        return _attempt("read", lambda: self._read(start, length))

    def _page(self, index: int) -> bytes:
        # Taken out and put in again, so that the page longest unused is the first one.
        page = self._pages.pop(index, None)
        if page is None:
            start = index * PAGE_BYTES
            page = self.load(start, min(PAGE_BYTES, self._end - start))
            if len(self._pages) >= MAX_PAGES:
                del self._pages[next(iter(self._pages))]
        self._pages[index] = page
        return page

    def _read(self, start: int, length: int) -> bytes:
        self._file.seek(start)
        parts: list[bytes] = []
        while length:
            part = self._file.read(length)
            if not part:
                raise OSError(f"it ends {length} bytes early")
            parts.append(part)
            length -= len(part)
        return b"".join(parts)


def _attempt(what: str, action: Callable[[], _Result]) -> _Result:
    try:
        return action()
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise DriveError("to list the volume takes a larger scratch file than its size allows") from error
        why = error.strerror or str(error)
        raise StateUnusable(f"the scratch file of the scan cannot be {what}: {why}") from error
