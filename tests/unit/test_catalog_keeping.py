"""Keeping a catalog: a new key for it, backups of it, and putting one back."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool

from agent.catalog import Catalog
from agent.catalog import open_catalog as opened_at
from agent.catalog.backup import Restored, back_up, restore
from agent.catalog.keybox import KeyBox
from agent.catalog.migrate import REVISIONS
from agent.catalog.rotation import Author, Rotation, rotate
from agent.errors import BackupUnfit, CatalogBusy, IngestError, MalformedInput, StateUnusable
from agent.model.keys import Password, RecoveryPassword, StartupKey
from agent.model.secrets import Secret
from tests.unit.catalog_cases import KEY, WHO, name, opened, opened_at_once, serial, spec
from tests.unit.test_catalog_migrations import HELD, made_by

PLANTED: list[RecoveryPassword | Password | StartupKey] = [
    RecoveryPassword.parse(KEY),
    Password(Secret("canary-Zq7-password")),
    StartupKey.from_bytes(b"canary-Zq7-startup-key"),
]
AUTHOR = Author("keeper", "the bench", datetime(2024, 3, 1, tzinfo=UTC))
LATER = Author("keeper", "the bench", datetime(2024, 3, 2, tzinfo=UTC))
TAMPERING = ("DROP TRIGGER event_no_update", "UPDATE event SET who = 'x' WHERE id = 2")
STEPS = frozenset({"replace", "link", "fsync", "commit", "write", "unlink", "executemany"})
"""Calls of the standard library before each of which the process may be killed."""
STEPS_OF_FILES = frozenset({"replace", "rename", "link", "fsync", "chown", "rmdir"})


async def _file_jobs(catalog: Catalog) -> None:
    for number, credential in enumerate(PLANTED):
        await catalog.create_job(
            spec(f"ship-{number}", f"S{number}", credential=credential), ship=True, who=WHO
        )


async def _filled(folder: Path) -> Path:
    async with opened_at_once(folder) as catalog:
        await _file_jobs(catalog)
    return folder / "catalog.sqlite"


async def _is_whole(folder: Path, events: int | None = None) -> None:
    async with opened(folder) as catalog:
        for number, credential in enumerate(PLANTED):
            assert await catalog.credential(name(f"ship-{number}"), serial(f"S{number}")) == credential
        check = await catalog.verify_history()
        assert check.broken is None
        assert events in (None, check.events)


def _rotate(folder: Path, *, keep_old: bool = True) -> Rotation:
    return asyncio.run(rotate(folder / "catalog.sqlite", folder / "catalog.key", AUTHOR, keep_old=keep_old))


def _rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    found = connection.execute(query).fetchall()
    connection.close()
    return found


def _sealed(path: Path) -> list[bytes]:
    return [row[0] for row in _rows(path, "SELECT sealed_key FROM drive ORDER BY id")]


def _bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file())


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _forms(secret: str) -> list[bytes]:
    texts = (secret, secret.replace("-", ""), secret[:13], secret.encode().hex())
    return [text.encode(code) for text in texts for code in ("utf-8", "utf-16-le")]


def test_a_new_key_opens_everything_and_the_old_one_nothing(tmp_path: Path) -> None:
    path = asyncio.run(_filled(tmp_path))
    before, old = _sealed(path), KeyBox.from_file(tmp_path / "catalog.key")
    done = _rotate(tmp_path)
    assert (done.resealed, done.damaged, done.old_id) == (3, 0, old.key_id)
    new = KeyBox.from_file(tmp_path / "catalog.key")
    assert new.key_id == done.new_id != done.old_id
    asyncio.run(_is_whole(tmp_path))
    for number, sealed in enumerate(_sealed(path)):
        with pytest.raises(StateUnusable):
            old.open(sealed, name(f"ship-{number}"), serial(f"S{number}"))
    # Nothing that the old key opens is left in the file's free places either.
    assert not [one for one in before if one in _bytes(tmp_path)]
    assert done.kept is not None
    assert KeyBox.from_file(done.kept).key_id == old.key_id
    assert _names(tmp_path) == ["catalog.key", done.kept.name, "catalog.sqlite"]
    assert {one.stat().st_mode & 0o777 for one in tmp_path.iterdir()} == {0o600}


def test_the_old_key_is_not_kept_when_it_is_not_to_be(tmp_path: Path) -> None:
    asyncio.run(_filled(tmp_path))
    assert _rotate(tmp_path, keep_old=False).kept is None
    assert _names(tmp_path) == ["catalog.key", "catalog.sqlite"]


def test_what_a_deleted_job_held_is_not_left_in_the_file(tmp_path: Path) -> None:
    def keep_freed_pages(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA secure_delete = OFF")

    async def delete() -> None:
        async with opened(tmp_path) as catalog:
            await catalog.cancel_job(name("ship-0"), WHO)
            await catalog.create_job(spec("ship-9", "S9", credential=PLANTED[2]), ship=False, who=WHO)
            sealed.append(_sealed(tmp_path / "catalog.sqlite")[-1])
            await catalog.delete_job(name("ship-9"), who=WHO)

    sealed: list[bytes] = []
    asyncio.run(_filled(tmp_path))
    # As SQLite is built by its makers; Debian's overwrites of its own accord.
    event.listen(Pool, "connect", keep_freed_pages)
    try:
        asyncio.run(delete())
    finally:
        event.remove(Pool, "connect", keep_freed_pages)
    assert len(_sealed(tmp_path / "catalog.sqlite")) == 3
    assert sealed[0] not in _bytes(tmp_path)


def _until(step: int, work: Callable[[], object], steps: frozenset[str] = STEPS) -> int:
    """In a process of its own that kills itself before the call of that number. How it ended."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            count = [0]

            def look(_frame: FrameType, event: str, called: object) -> None:
                # ``replace`` is a method of texts too.
                of_text = isinstance(getattr(called, "__self__", None), str)
                if event == "c_call" and getattr(called, "__name__", "") in steps and not of_text:
                    count[0] += 1
                    if count[0] == step:
                        os.kill(os.getpid(), signal.SIGKILL)

            threading.setprofile(look)
            sys.setprofile(look)
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_rotation_that_is_killed_at_any_moment_leaves_every_secret_readable(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    asyncio.run(_filled(whole))
    steps, cut = 0, []
    for step in range(1, 400):
        folder = tmp_path / f"{step}"
        shutil.copytree(whole, folder)
        ended = _until(step, partial(_rotate, folder))
        assert ended in (0, -signal.SIGKILL)
        if ended == 0:
            steps = step - 1
            break
        cut.append(((folder / "catalog.key.next").exists(), _sealed(folder / "catalog.sqlite")))
        asyncio.run(_is_whole(folder))
        _rotate(folder)
        asyncio.run(_is_whole(folder))
        assert not (folder / "catalog.key.next").exists()
        shutil.rmtree(folder)
    original = _sealed(whole / "catalog.sqlite")
    # Some were killed before, some between the commit and the new key's taking its place, some after.
    assert {(pending, sealed == original) for pending, sealed in cut} >= {
        (False, True),
        (True, True),
        (True, False),
        (False, False),
    }
    assert steps == len(cut) > 10


def test_a_key_that_opens_with_neither_key_stays_and_is_counted(tmp_path: Path) -> None:
    path = asyncio.run(_filled(tmp_path))
    _sql(path, "UPDATE drive SET sealed_key = x'01020304' WHERE serial = 'S1'")
    done = _rotate(tmp_path)
    assert (done.resealed, done.damaged) == (2, 1)
    assert _sealed(path)[1] == bytes([1, 2, 3, 4])


def test_with_a_key_that_opens_nothing_nothing_is_sealed_anew(tmp_path: Path) -> None:
    path = asyncio.run(_filled(tmp_path))
    before = _sealed(path)
    _sql(path, "DELETE FROM key_mark")
    (tmp_path / "catalog.key").write_bytes(bytes(32))
    with pytest.raises(StateUnusable, match="none of the 3 drive keys opens with key"):
        _rotate(tmp_path)
    assert _sealed(path) == before


def test_a_head_that_was_tampered_with_is_not_made_good_by_a_new_key(tmp_path: Path) -> None:
    path = asyncio.run(_filled(tmp_path))
    _sql(path, "UPDATE history_head SET signature = 'of somebody'")
    _rotate(tmp_path)

    async def broken() -> str | None:
        async with opened(tmp_path) as catalog:
            return (await catalog.verify_history()).broken

    assert asyncio.run(broken()) == "the head of the history is not signed with the key of this catalog"


async def test_while_the_catalog_is_in_use_its_key_stays_and_nothing_is_restored(tmp_path: Path) -> None:
    path, key = await _filled(tmp_path), tmp_path / "catalog.key"
    await back_up(path, key, tmp_path / "copy")
    async with opened(tmp_path) as catalog:
        with pytest.raises(CatalogBusy, match="is in use by the station or by a command"):
            await rotate(path, key, AUTHOR)
        with pytest.raises(CatalogBusy, match="is in use by the station or by a command"):
            await restore(path, key, tmp_path / "copy", AUTHOR)
        assert (await catalog.verify_history()).broken is None
    assert _names(tmp_path) == ["catalog.key", "catalog.sqlite", "copy"]


async def test_a_backup_beside_writers_is_one_whole_view(tmp_path: Path) -> None:
    path, key = await _filled(tmp_path), tmp_path / "catalog.key"
    enough = asyncio.Event()
    async with opened(tmp_path) as catalog:
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(_write(catalog, enough))
            made = [await back_up(path, key, tmp_path / f"copy{number}") for number in range(3)]
            enough.set()
        last = await back_up(path, key, tmp_path / "last")
    jobs = 3 + writing.result()
    assert [one.check.broken for one in [*made, last]] == [None] * 4
    assert made[0].jobs < made[1].jobs < made[2].jobs <= last.jobs == jobs
    # Each is filed and shipped in one transaction: none is seen half.
    assert [one.check.events for one in made] == [one.jobs * 2 for one in made]
    assert (last.drives, last.key_id) == (jobs, KeyBox.from_file(key).key_id)
    assert (tmp_path / "last").stat().st_mode & 0o777 == 0o600
    assert [one for one in _names(tmp_path) if one.startswith((".", "last"))] == ["last"]


async def _write(catalog: Catalog, enough: asyncio.Event) -> int:
    number = 0
    while not enough.is_set():
        await catalog.create_job(spec(f"more-{number}", f"M{number}"), ship=True, who=WHO)
        number += 1
    return number


async def test_what_is_stolen_shows_no_secret(tmp_path: Path) -> None:
    path, key = tmp_path / "catalog.sqlite", tmp_path / "keys" / "catalog.key"
    await _filled(tmp_path)
    (tmp_path / "keys").mkdir()
    (tmp_path / "catalog.key").rename(key)
    async with opened_at(path, key) as catalog:
        await catalog.cancel_job(name("ship-1"), WHO)
        await back_up(path, key, tmp_path / "copy")
        stolen = _bytes(tmp_path)
        assert {"catalog.sqlite-wal", "copy"} <= set(_names(tmp_path))
    await rotate(path, key, AUTHOR)
    await restore(path, key, tmp_path / "copy", LATER, key_of_backup=next(key.parent.glob("*.old-*")))
    stolen += _bytes(tmp_path)
    # The search can find what is there: serials stand in plain.
    assert stolen.count(b"S2") > 3
    for credential in PLANTED:
        assert not [form for form in _forms(credential.secret.reveal()) if form in stolen]
    assert b"canary" not in stolen
    for one in key.parent.iterdir():
        assert one.read_bytes() not in stolen
        assert one.read_bytes().hex().encode() not in stolen


def _restored(folder: Path, **options: Path) -> Restored:
    return asyncio.run(
        restore(folder / "catalog.sqlite", folder / "catalog.key", folder / "copy", LATER, **options)
    )


def test_a_restored_catalog_is_the_one_of_then_and_the_one_of_before_is_kept(tmp_path: Path) -> None:
    path = asyncio.run(_filled(tmp_path))
    made = asyncio.run(back_up(path, tmp_path / "catalog.key", tmp_path / "copy"))
    asyncio.run(_cancel(tmp_path))
    done = _restored(tmp_path)
    assert done.backup == made
    asyncio.run(_is_whole(tmp_path, events=made.check.events + 1))
    assert done.aside is not None
    assert _states(done.aside) == [1, 0, 0]
    assert _states(path) == [0, 0, 0]
    (told, *_) = _rows(path, "SELECT what, who, detail FROM event ORDER BY id DESC")
    assert told == ("catalog.restored", "keeper", f"backup {tmp_path / 'copy'}, head {made.check.head}")
    assert {one.stat().st_mode & 0o777 for one in tmp_path.iterdir()} == {0o600}


async def _cancel(folder: Path) -> None:
    async with opened(folder) as catalog:
        await catalog.cancel_job(name("ship-0"), WHO)


def test_a_restore_that_is_killed_at_any_moment_leaves_the_catalog_of_before_or_the_one_of_then(
    tmp_path: Path,
) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    path = asyncio.run(_filled(whole))
    asyncio.run(back_up(path, whole / "catalog.key", whole / "copy"))
    asyncio.run(_cancel(whole))
    found = []
    for step in range(1, 400):
        folder = tmp_path / f"{step}"
        shutil.copytree(whole, folder)
        ended = _until(step, partial(_restored, folder), STEPS_OF_FILES)
        assert ended in (0, -signal.SIGKILL)
        asyncio.run(_is_whole(folder))
        found.append(_states(folder / "catalog.sqlite")[0])
        if ended == 0:
            break
        again = replace(LATER, now=LATER.now + timedelta(minutes=1))
        asyncio.run(restore(folder / "catalog.sqlite", folder / "catalog.key", folder / "copy", again))
        asyncio.run(_is_whole(folder))
        assert _states(folder / "catalog.sqlite")[0] == 0
        assert not [one for one in _names(folder) if one.startswith(".")]
        shutil.rmtree(folder)
    assert ended == 0
    # First that of before, and from one moment on that of then.
    assert found == sorted(found, reverse=True)
    assert set(found) == {0, 1}


def _states(path: Path) -> list[int]:
    return [row[0] for row in _rows(path, "SELECT cancel_requested FROM job ORDER BY id")]


def test_a_backup_is_restored_where_the_catalog_is_gone_or_damaged(tmp_path: Path) -> None:
    path = asyncio.run(_filled(tmp_path))
    asyncio.run(back_up(path, tmp_path / "catalog.key", tmp_path / "copy"))
    path.write_bytes(b"\xa5" * 8192)
    (tmp_path / "catalog.sqlite-wal").write_bytes(b"what is no log of this one")
    done = _restored(tmp_path)
    assert done.aside is not None
    assert done.aside.read_bytes() == b"\xa5" * 8192
    assert "catalog.sqlite-wal" not in _names(tmp_path)
    asyncio.run(_is_whole(tmp_path))
    path.unlink()
    assert _restored(tmp_path).aside is None
    asyncio.run(_is_whole(tmp_path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file that somebody else owns")
def test_what_root_restores_on_a_new_machine_is_the_stations(tmp_path: Path) -> None:
    path = asyncio.run(_filled(tmp_path))
    asyncio.run(back_up(path, tmp_path / "catalog.key", tmp_path / "copy"))
    path.unlink()
    os.chown(tmp_path, 65534, 65534)
    _restored(tmp_path)
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534)


async def test_a_catalog_that_is_not_there_is_not_made_to_be_backed_up(tmp_path: Path) -> None:
    with pytest.raises(StateUnusable, match=r"catalog.sqlite is no file"):
        await back_up(tmp_path / "no" / "catalog.sqlite", tmp_path / "no" / "key", tmp_path / "copy")
    assert _names(tmp_path) == []


def _sql(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def _end(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda copy: copy.write_bytes(b""), "the file is no catalog"),
        (lambda copy: copy.write_bytes(b"<html>" * 999), "is not a catalog, or its first page is damaged"),
        (lambda copy: copy.unlink(), "is no file"),
        (_end, "is damaged"),
        (lambda copy: _sql(copy, "UPDATE alembic_version SET version_num = '9999'"), "its schema version"),
        (lambda copy: _sql(copy, "UPDATE drive SET job_id = 99"), "foreign_key_check finds drive"),
        (
            lambda copy: _sql(copy, *TAMPERING),
            "the history is broken: event 2",
        ),
        (lambda copy: _sql(copy, "UPDATE key_mark SET mark = 'f00d'"), "and key f00d is needed"),
    ],
    ids=["empty", "text", "gone", "cut", "newer", "loose", "edited", "other key"],
)
def test_what_is_no_sound_backup_is_refused_and_nothing_is_changed(
    tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    path = asyncio.run(_filled(tmp_path))
    asyncio.run(back_up(path, tmp_path / "catalog.key", tmp_path / "copy"))
    spoil(tmp_path / "copy")
    before = path.read_bytes()
    with pytest.raises(BackupUnfit) as caught:
        _restored(tmp_path)
    assert said in caught.value.detail
    assert "\n" not in caught.value.detail
    assert path.read_bytes() == before
    assert set(_names(tmp_path)) <= {"catalog.key", "catalog.sqlite", "copy"}


@pytest.mark.parametrize("version", REVISIONS)
def test_a_backup_of_any_older_version_is_restored_as_one_of_today(tmp_path: Path, version: str) -> None:
    (tmp_path / "then").mkdir()
    then = made_by(version, tmp_path / "then")
    connection = sqlite3.connect(then)
    connection.executescript(HELD[version])
    connection.close()
    path = asyncio.run(_filled(tmp_path))
    then.rename(tmp_path / "copy")
    before = (tmp_path / "copy").read_bytes()
    done = _restored(tmp_path)
    assert (done.backup.jobs, done.backup.drives, done.backup.check.broken) == (1, 1, None)
    assert (tmp_path / "copy").read_bytes() == before
    assert _rows(path, "SELECT version_num FROM alembic_version") == [(REVISIONS[-1],)]

    async def look() -> None:
        async with opened(tmp_path) as catalog:
            assert (await catalog.job(name())).drive(serial("WD 01")).percent_complete == 40
            check = await catalog.verify_history()
            assert (check.broken, check.events) == (None, done.backup.check.events + 1)

    asyncio.run(look())


def test_a_backup_without_a_mark_is_not_restored_with_a_key_that_opens_nothing(tmp_path: Path) -> None:
    path = asyncio.run(_filled(tmp_path))
    connection = sqlite3.connect(made_by("0004", _made(tmp_path / "then")))
    connection.executescript(HELD["0004"])
    connection.execute("UPDATE drive SET sealed_key = ?", [_sealed(path)[0]])
    connection.commit()
    connection.close()
    (tmp_path / "then" / "catalog.sqlite").rename(tmp_path / "copy")
    before = path.read_bytes()
    with pytest.raises(BackupUnfit, match="none of the 1 drive keys opens with key"):
        _restored(tmp_path)
    assert path.read_bytes() == before


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_a_damaged_catalog_is_not_backed_up(tmp_path: Path) -> None:
    path = asyncio.run(_filled(tmp_path))
    (page,) = _rows(path, "SELECT rootpage FROM sqlite_master WHERE name = 'drive_by_serial'")
    data = bytearray(path.read_bytes())
    data[(page[0] - 1) * 4096 + 8 : page[0] * 4096] = bytes(4088)
    path.write_bytes(data)
    with pytest.raises(StateUnusable, match="is damaged"):
        asyncio.run(back_up(path, tmp_path / "catalog.key", tmp_path / "copy"))
    assert _names(tmp_path) == ["catalog.key", "catalog.sqlite"]


def test_a_backup_onto_a_disk_that_knows_one_name_a_file_is_made_and_replaces_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    path = asyncio.run(_filled(tmp_path))
    # As vfat and exFAT do, which sticks have.
    monkeypatch.setattr(os, "link", refuse)
    made = asyncio.run(back_up(path, tmp_path / "catalog.key", tmp_path / "copy"))
    with pytest.raises(MalformedInput, match="is there already, and is not replaced"):
        asyncio.run(back_up(path, tmp_path / "catalog.key", tmp_path / "copy"))
    monkeypatch.undo()
    assert _restored(tmp_path).backup == made


def test_a_backup_of_before_a_new_key_is_restored_with_the_old_one(tmp_path: Path) -> None:
    path = asyncio.run(_filled(tmp_path))
    asyncio.run(back_up(path, tmp_path / "catalog.key", tmp_path / "copy"))
    done = _rotate(tmp_path)
    with pytest.raises(BackupUnfit, match=f"holds key {done.new_id}, and key {done.old_id} is needed"):
        _restored(tmp_path)
    assert done.kept is not None
    _restored(tmp_path, key_of_backup=done.kept)
    done.kept.unlink()
    asyncio.run(_is_whole(tmp_path))


@pytest.mark.parametrize("odd", ["what? #1 %20", "größe", "\udcff"], ids=["signs", "letters", "no text"])
async def test_a_backup_of_any_name_is_made_and_restored(tmp_path: Path, odd: str) -> None:
    folder = tmp_path / odd
    folder.mkdir()
    path = await _filled(folder)
    await back_up(path, folder / "catalog.key", folder / f"copy {odd}")
    done = await restore(path, folder / "catalog.key", folder / f"copy {odd}", LATER)
    assert done.backup.jobs == 3
    await _is_whole(folder)


async def test_only_what_a_killed_backup_left_is_removed(tmp_path: Path) -> None:
    path = await _filled(tmp_path)
    for one in (".copy.20240301", ".copy.abcdefgh.ingest-agent", ".other.abcdefgh.ingest-agent"):
        (tmp_path / one).mkdir()
    await back_up(path, tmp_path / "catalog.key", tmp_path / "copy")
    left = [one for one in _names(tmp_path) if one.startswith(".")]
    assert left == [".copy.20240301", ".other.abcdefgh.ingest-agent"]


async def test_a_file_that_is_there_is_not_replaced_by_a_backup(tmp_path: Path) -> None:
    path = await _filled(tmp_path)
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(MalformedInput, match="is there already, and is not replaced"):
        await back_up(path, tmp_path / "catalog.key", tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "mine"


def test_another_key_than_the_catalog_needs_is_told_by_name(tmp_path: Path) -> None:
    asyncio.run(_filled(tmp_path))
    done = _rotate(tmp_path)
    assert done.kept is not None
    done.kept.replace(tmp_path / "catalog.key")
    with pytest.raises(IngestError, match=f"which needs key {done.new_id}"):
        asyncio.run(_is_whole(tmp_path))


def test_a_lost_key_that_the_catalog_names_is_not_replaced_by_a_new_one(tmp_path: Path) -> None:
    path = asyncio.run(_filled(tmp_path))
    done = _rotate(tmp_path)
    _sql(path, "UPDATE drive SET sealed_key = NULL")
    (tmp_path / "catalog.key").unlink()
    with pytest.raises(StateUnusable, match=f"catalog.key is missing, and .* needs key {done.new_id}"):
        asyncio.run(_is_whole(tmp_path))
    assert not (tmp_path / "catalog.key").exists()
