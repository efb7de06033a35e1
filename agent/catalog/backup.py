"""Copies of a catalog's file, made while it is in use, and put back when it is not.

A copy holds what the file holds, so its drive keys are sealed; and the mark of the key that opens them, by
which it is checked before it is put back. Catalogs on a server are backed up by the server's own tools.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import func, select

from agent.catalog import schema
from agent.catalog.books import utc_now
from agent.catalog.database import open_database
from agent.catalog.history import History, HistoryCheck
from agent.catalog.keybox import ID_DIGITS, KeyBox, fitting
from agent.catalog.migrate import REVISIONS
from agent.catalog.occupancy import occupy
from agent.catalog.rotation import BUSY_TIMEOUT_S, Author, flush_folder, reseal
from agent.catalog.trouble import told
from agent.errors import BackupUnfit, MalformedInput, StateUnusable

SHOWN_PROBLEMS = 1
_WORKPLACE = ".ingest-agent"
"""Its folders end so, that none of anybody else is taken for one that was left."""
_ONE_NAME_A_FILE = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""What disks say that have no hard links, such as the vfat and exFAT of sticks."""


@dataclass(frozen=True, slots=True)
class Backup:
    """``key_id`` is the short mark of the key that opens the drive keys of it."""

    jobs: int
    drives: int
    key_id: str
    check: HistoryCheck


@dataclass(frozen=True, slots=True)
class Restored:
    """``aside`` is where the catalog of before lies now; None when there was none."""

    backup: Backup
    aside: Path | None


async def back_up(path: Path, key_file: Path, to: Path) -> Backup:
    """One consistent copy of the catalog, which may be in use; never over a file that is there.

    Raises MalformedInput when there is one, and StateUnusable, also when the copy is no sound catalog.
    """
    _check_places(path, to)
    async with open_database(path, key_file, BUSY_TIMEOUT_S):
        with _workplace(to.parent, to.name) as copy:
            await asyncio.to_thread(_copy, path, copy)
            _check_file(copy, key_file)
            found = await _looked_at(copy, key_file)
            _settle(copy)
            with told(str(to)):
                _name(copy, to)
                flush_folder(to.parent)
    return found


async def restore(
    path: Path, key_file: Path, backup: Path, author: Author, *, key_of_backup: Path | None = None
) -> Restored:
    """Puts a backup in the place of the catalog, which is kept beside it under another name.

    ``key_of_backup`` is the key that it is sealed with, if that is not ``key_file``: what is in it is then
    sealed anew. Raises CatalogBusy while anybody uses the catalog; BackupUnfit for what is damaged, of a
    newer program, sealed with another key, or of a history that was tampered with; StateUnusable. Then the
    catalog is as it was.
    """
    with told(str(path)):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = occupy(path, 0, alone=True)
    try:
        _check_room(path.parent, backup)
        with _workplace(path.parent, path.name) as copy:
            try:
                found = await _made_ready(copy, key_file, backup, author, key_of_backup)
            except StateUnusable as error:
                raise BackupUnfit(f"backup {backup}: {error.detail.replace(str(copy), 'in it')}") from error
            aside = path.with_name(f"{path.name}.before-{author.now:%Y%m%dT%H%M%SZ}")
            with told(str(path)):
                return Restored(found, _exchange(path, copy, aside))
    finally:
        os.close(held)


async def _made_ready(
    copy: Path, key_file: Path, backup: Path, author: Author, key_of_backup: Path | None
) -> Backup:
    await asyncio.to_thread(_copy, backup, copy)
    key = key_of_backup or key_file
    mark = _check_file(copy, key)
    found = await _looked_at(copy, key)
    if found.check.broken is not None:
        raise StateUnusable(f"the history is broken: {found.check.broken}")
    async with open_database(copy, key, BUSY_TIMEOUT_S) as (database, box), database.write() as connection:
        current = KeyBox.from_file(key_file)
        if current.mark != mark:
            await reseal(connection, box, current)
        await author.tell(
            connection, current, "catalog.restored", f"backup {backup}, head {found.check.head}"
        )
    _settle(copy)
    return found


def _check_places(path: Path, to: Path) -> None:
    if not path.is_file():
        raise StateUnusable(f"catalog {path} is no file")
    if os.path.lexists(to):
        raise MalformedInput(f"{to} is there already, and is not replaced")


@contextmanager
def _workplace(folder: Path, name: str) -> Iterator[Path]:
    """A path for a catalog in a folder of its own, on the disk where it is to stay; gone at the end."""
    with told(str(folder)):
        for left in folder.glob(f".{escape(name)}.????????{_WORKPLACE}"):
            # By one that was killed.
            shutil.rmtree(left, ignore_errors=True)
        made = tempfile.mkdtemp(prefix=f".{name}.", suffix=_WORKPLACE, dir=folder)
    try:
        yield Path(made) / "catalog.sqlite"
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _check_room(folder: Path, backup: Path) -> None:
    """For its copy, and for what is written while that is brought up to date."""
    with told(str(folder)):
        needed = 2 * backup.stat().st_size if backup.is_file() else 0
        found = os.statvfs(folder)
        free = found.f_bavail * found.f_frsize
    if free < needed:
        raise StateUnusable(f"{folder} has {free} bytes left, and {needed} are needed to restore {backup}")


def _name(copy: Path, to: Path) -> None:
    """Never over a file that came meanwhile."""
    try:
        os.link(copy, to)
    except OSError as error:
        if error.errno not in _ONE_NAME_A_FILE:
            raise
        os.close(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        os.replace(copy, to)


def _copy(path: Path, to: Path) -> None:
    with told(str(path)):
        if not path.is_file():
            raise StateUnusable(f"{path} is no file")
        os.close(os.open(to, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with (
            closing(sqlite3.connect(f"file:{quote(bytes(path))}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(to)) as target,
        ):
            # All pages at once: one view of the file, beside which others may write.
            source.backup(target)


def _check_file(copy: Path, key_file: Path) -> str | None:
    """The mark of the key that it needs, if it has one.

    Raises StateUnusable for what is no sound catalog of this key.
    """
    with told(str(copy)), closing(sqlite3.connect(copy)) as connection:
        for pragma in ("integrity_check", "foreign_key_check"):
            said = connection.execute(f"PRAGMA {pragma}").fetchmany(SHOWN_PROBLEMS)
            if said and said != [("ok",)]:
                raise StateUnusable(f"the file is damaged: {pragma} finds {said[0][0]}")
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "alembic_version" not in tables:
            raise StateUnusable("the file is no catalog")
        version = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        if version is None or version[0] not in REVISIONS:
            raise StateUnusable(f"its schema version is none of {REVISIONS[0]} to {REVISIONS[-1]}")
        mark = None
        if "key_mark" in tables:
            mark = connection.execute("SELECT mark FROM key_mark").fetchone()
    return _checked(key_file, None if mark is None else str(mark[0]))


def _checked(key_file: Path, mark: str | None) -> str | None:
    needed = f", and key {mark[:ID_DIGITS]} is needed" if mark is not None else ""
    if not key_file.exists():
        raise StateUnusable(f"key file {key_file} is missing{needed}")
    if fitting(key_file, mark) is None:
        raise StateUnusable(f"key file {key_file} holds key {KeyBox.from_file(key_file).key_id}{needed}")
    return mark


async def _looked_at(copy: Path, key_file: Path) -> Backup:
    async with open_database(copy, key_file, BUSY_TIMEOUT_S) as (database, box):
        async with database.read() as connection:
            jobs, drives = [
                (await connection.execute(select(func.count()).select_from(table))).scalar_one()
                for table in (schema.job, schema.drive)
            ]
        return Backup(jobs, drives, box.key_id, await History(database, box, utc_now, "").verify_history())


def _settle(copy: Path) -> None:
    """One file without companions, flushed."""
    with told(str(copy)):
        with closing(sqlite3.connect(copy)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()
        descriptor = os.open(copy, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _exchange(path: Path, copy: Path, aside: Path) -> Path | None:
    """At every moment there is a catalog, and never one beside another one's log of writes."""
    was_there = path.exists()
    owner = (path if was_there else path.parent).stat()
    if os.geteuid() == 0:
        os.chown(copy, owner.st_uid, owner.st_gid)
    if was_there:
        _empty_log(path)
        os.link(path, aside)
        for end in ("-wal", "-shm"):
            beside = path.with_name(path.name + end)
            if beside.exists():
                os.rename(beside, aside.with_name(aside.name + end))
        flush_folder(path.parent)
    os.replace(copy, path)
    flush_folder(path.parent)
    return aside if was_there else None


def _empty_log(path: Path) -> None:
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error:
        # It is damaged, which may be why a backup is restored: its log is put aside with it.
        return
