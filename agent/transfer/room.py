"""Room on the disk that holds a station's state: what a drive needs there, and whether it is to be had.

Known before the first byte moves, from the size of the drive's file table. What a drive has claimed and not
yet used is kept for it: two drives that begin together do not both count on the same bytes. Beyond that a
part of the disk is kept free, for the catalog and for whatever else lives there.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agent.errors import StateUnusable

JOURNAL_BYTES_PER_FILE = 600
"""230 were measured at paths of 22 characters, and each character of a path takes two bytes (benchmarks)."""

SCRATCH_BYTES_PER_RECORD = 60
"""Four, and a folder's or a waiting file's row."""

SORTING_BYTES_PER_FILE = 150
"""Of the names of blobs, while they are looked over for names that occur twice."""

LOG_BYTES_PER_FILE = 900
"""Of a verbose log: 440 were measured at paths of 22 characters."""

LISTED_BLOCK_BYTES = 4 * 1024 * 1024
BYTES_PER_LISTED_BLOCK = 400
"""Of a manifest's list of blocks, at the usual size of one: in the journal, in the copy and in the log."""

BASE_BYTES = 16 * 1024 * 1024
"""Of a drive with no files: the write-ahead log at its usual length, and the error log."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def needed_bytes(records: int, *, verbose: bool, listed_bytes: int = 0) -> int:
    """What journal, scratch file and logs of a drive will take at most, unless its paths are very long.

    ``records`` are those of its file table: each file has one at least. ``listed_bytes`` is the size of the
    volume where a manifest lists the blocks of its files.
    """
    each = JOURNAL_BYTES_PER_FILE + SCRATCH_BYTES_PER_RECORD + SORTING_BYTES_PER_FILE
    blocks = listed_bytes // LISTED_BLOCK_BYTES
    files = records * (each + (LOG_BYTES_PER_FILE if verbose else 0))
    return BASE_BYTES + files + blocks * BYTES_PER_LISTED_BLOCK


def free_bytes(folder: Path) -> int:
    """What this user may still write on the disk of ``folder``, which may not be there yet.

    Raises StateUnusable when the disk does not tell.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        found = os.statvfs(folder)
    except OSError as error:
        raise StateUnusable(f"the free space of {folder} cannot be told: {error.strerror}") from None
    return found.f_bavail * found.f_frsize


def check_free(folder: Path, keep_free_bytes: int) -> None:
    """Raises StateUnusable when not so much is free."""
    free = free_bytes(folder)
    if free < keep_free_bytes:
        raise StateUnusable(
            f"the state disk has {in_words(free)} left, and {in_words(keep_free_bytes)} are kept free there: "
            "free space, or lower transfer.keep_free_mib; drives go on by themselves"
        )


def is_full(error: Exception) -> bool:
    """Whether a database or a file says that there is no room for it."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        return code is not None and code & 0xFF == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in _FULL


class Room:
    """That of one drive, whose journal is ``journal``, in the folder of its job.

    ``most_bytes`` is what one drive may take; ``keep_free_bytes`` stay free.
    """

    def __init__(self, journal: Path, keep_free_bytes: int = 0, most_bytes: int | None = None) -> None:
        self._journal, self._keep_free_bytes, self._most_bytes = journal, keep_free_bytes, most_bytes
        self._claim: int | None = None

    def claim(self, needed: int) -> None:
        """Keep room, until ``close``, for what the drive will need beyond what it has taken already.

        Raises StateUnusable with the figures when there is not as much.
        """
        if self._most_bytes is not None and needed > self._most_bytes:
            raise StateUnusable(
                f"this drive needs up to {in_words(needed)} on the state disk, and a drive may take "
                f"{in_words(self._most_bytes)} there: raise transfer.drive_state_mib"
            )
        root = self._journal.parent.parent
        with _one_at_a_time(root):
            rest = max(needed - _used(self._journal), 0)
            claimed = sum(_claims(root, but=self._journal))
            left = max(free_bytes(self._journal.parent) - self._keep_free_bytes - claimed, 0)
            if rest > left:
                raise StateUnusable(self._sentence(rest, left, claimed))
            self._keep(needed)

    def check(self) -> None:
        """Raises StateUnusable when half of what is to stay free is gone too: time to pause."""
        check_free(self._journal.parent, self._keep_free_bytes // 2)

    def close(self) -> None:
        """Claim nothing any more. Idempotent."""
        claim, self._claim = self._claim, None
        if claim is not None:
            os.close(claim)

    def _keep(self, needed: int) -> None:
        try:
            self._claim = os.open(_need(self._journal), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.pwrite(self._claim, b"%020d" % needed, 0)
        except OSError as error:
            raise StateUnusable(
                f"no room can be claimed for {self._journal.name}: {error.strerror}"
            ) from None

    def _sentence(self, rest: int, left: int, claimed: int) -> str:
        others = f" and the {in_words(claimed)} that other drives need" if claimed else ""
        kept = f"beside the {in_words(self._keep_free_bytes)} that are kept free{others}"
        return (
            f"the state disk has {in_words(left)} left {kept}, this drive needs {in_words(rest)}: free space "
            "there, or lower transfer.keep_free_mib; the drive goes on by itself"
        )


def forget_journal(journal: Path) -> None:
    """Remove a journal that no process has open, with all that belongs to it."""
    for end in ("-wal", "-shm", ".need", ".damaged", "", ".lock"):
        with suppress(OSError):
            journal.with_name(journal.name + end).unlink()


def in_words(size_bytes: int) -> str:
    """``1.2 GiB``; whole MiB below one GiB."""
    if size_bytes >= 1 << 30:
        return f"{size_bytes / (1 << 30):.1f} GiB"
    return f"{size_bytes >> 20} MiB"


def _need(journal: Path) -> Path:
    return journal.with_name(journal.name + ".need")


def _used(journal: Path) -> int:
    """Bytes on the disk, of which the parts that are written over again are some."""
    used = 0
    for file in (journal, journal.with_name(journal.name + "-wal")):
        with suppress(OSError):
            used += file.stat().st_blocks * 512
    return used


def _claims(root: Path, *, but: Path) -> Iterator[int]:
    """What the other drives of the station that are under way have claimed and not yet used."""
    for need in (file for job in _inside(root) for file in _inside(job)):
        if need.suffix == ".need" and need != _need(but):
            with suppress(OSError, ValueError):
                yield max(_claimed(need) - _used(need.with_suffix("")), 0)


def _inside(folder: Path) -> list[Path]:
    """Empty for what is no folder, or none any more: those of other jobs come and go."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return list(folder.iterdir())
    return []


def _claimed(need: Path) -> int:
    """A claim counts while the process that made it lives: its lock goes with it."""
    with need.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read(20))
    return 0


@contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    try:
        fd = os.open(root / "room.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateUnusable(f"{root / 'room.lock'} cannot be opened: {error.strerror}") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
