"""What the processes of a station tell each other of an account's limits: rows of numbers in a small file.

Each drive has an uploader process of its own, and ``replay`` is one more; they share nothing but the
state directory. A row is a few numbers under a name. Rows change in turns, under a lock that the kernel
takes back from a process that is killed. They hold nothing that must outlive a boot: times are those of
the monotonic clock, and rows of another boot, or damaged ones, count as none.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from agent.errors import StateUnusable

T = TypeVar("T")

Rows = dict[str, list[float]]
"""A name to at most MAX_NUMBERS finite numbers."""

MAX_BYTES = 64 * 1024
MAX_NUMBERS = 8

_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Board:
    """Rows in the file ``path``, which is made when it is missing; without one, in this object alone.

    It is used from an event loop: a turn is one read and one write of a few kilobytes of the page
    cache, and nobody waits for another's.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Raises StateUnusable."""
        self._path = path
        self._rows: Rows = {}
        self._fd = -1
        self._boot = ""
        if path is not None:
            self._boot = _boot_id()
            self._fd = _opened(path)

    def change(self, edit: Callable[[Rows], T]) -> T | None:
        """What ``edit`` returns when it has read and changed the rows in its turn.

        None when it is somebody else's turn: try again later; and after ``close``. Raises
        StateUnusable.
        """
        if self._path is None:
            return edit(self._rows)
        if self._fd < 0:
            return None
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        except OSError as error:
            raise self._unusable(error) from None
        try:
            rows = self._read()
            result = edit(rows)
            self._write(rows)
        except OSError as error:
            raise self._unusable(error) from None
        finally:
            fcntl.lockf(self._fd, fcntl.LOCK_UN)
        return result

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> Rows:
        return parse_rows(os.pread(self._fd, MAX_BYTES + 1, 0), self._boot)

    def _write(self, rows: Rows) -> None:
        data = json.dumps({"boot": self._boot, "rows": rows}, separators=(",", ":")).encode("ascii") + b"\n"
        # What an earlier, longer text leaves behind the line is not read.
        os.pwrite(self._fd, data, 0)

    def _unusable(self, error: OSError) -> StateUnusable:
        return StateUnusable(f"the shared limits in {self._path} cannot be kept: {error.strerror}")


def parse_rows(data: bytes, boot: str) -> Rows:
    """The rows in the first line of ``data``; none when they are another boot's, or no rows at all."""
    line, newline, _ = data.partition(b"\n")
    if not newline:
        return {}
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    rows = told.get("rows") if isinstance(told, dict) and told.get("boot") == boot else None
    if not isinstance(rows, dict) or not all(map(_is_row, rows.values())):
        return {}
    return rows


def _is_row(row: object) -> bool:
    return (
        isinstance(row, list)
        and len(row) <= MAX_NUMBERS
        and all(type(n) in (int, float) and abs(n) < 1e18 and math.isfinite(n) for n in row)
    )


def _opened(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StateUnusable(f"the shared limits in {path} cannot be opened: {error.strerror}") from None


def _boot_id() -> str:
    try:
        return _BOOT.read_text("ascii").strip()
    except OSError:
        return ""
