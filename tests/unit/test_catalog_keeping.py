"""Keeping a catalog: a new key for it, backups of it, and putting one back."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import pytest

from agent.catalog import Catalog
from agent.catalog.keybox import KeyBox
from agent.catalog.rotation import Author, Rotation, rotate
from agent.errors import StateUnusable
from agent.model.keys import Password, RecoveryPassword, StartupKey
from agent.model.secrets import Secret
from tests.unit.catalog_cases import KEY, WHO, name, opened, opened_at_once, serial, spec

PLANTED: list[RecoveryPassword | Password | StartupKey] = [
    RecoveryPassword.parse(KEY),
    Password(Secret("canary-Zq7-password")),
    StartupKey.from_bytes(b"canary-Zq7-startup-key"),
]
AUTHOR = Author("keeper", "the bench", datetime(2024, 3, 1, tzinfo=UTC))
LATER = Author("keeper", "the bench", datetime(2024, 3, 2, tzinfo=UTC))
STEPS = frozenset({"replace", "link", "fsync", "commit", "write", "unlink", "execute", "executemany"})
"""Calls of the standard library before each of which the process may be killed."""


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


def _sealed(path: Path) -> list[bytes]:
    connection = sqlite3.connect(path)
    found = [row[0] for row in connection.execute("SELECT sealed_key FROM drive ORDER BY id")]
    connection.close()
    return found


def _bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file())


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
    assert sorted(one.name for one in tmp_path.iterdir()) == ["catalog.key", done.kept.name, "catalog.sqlite"]
    assert {one.stat().st_mode & 0o777 for one in tmp_path.iterdir()} == {0o600}


def test_the_old_key_is_not_kept_when_it_is_not_to_be(tmp_path: Path) -> None:
    asyncio.run(_filled(tmp_path))
    assert _rotate(tmp_path, keep_old=False).kept is None
    assert sorted(one.name for one in tmp_path.iterdir()) == ["catalog.key", "catalog.sqlite"]


def _rotate_until(folder: Path, step: int) -> int:
    """In a process of its own that kills itself before the call of that number. How it ended."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            count = [0]

            def look(_frame: FrameType, event: str, called: object) -> None:
                if event == "c_call" and getattr(called, "__name__", "") in STEPS:
                    count[0] += 1
                    if count[0] == step:
                        os.kill(os.getpid(), signal.SIGKILL)

            threading.setprofile(look)
            sys.setprofile(look)
            _rotate(folder)
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_rotation_that_is_killed_at_any_moment_leaves_every_secret_readable(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    asyncio.run(_filled(whole))
    # Each of the last steps, where files change places; of the others, which are many queries, some.
    steps, cut = 0, []
    for step in [*range(1, 400)]:
        folder = tmp_path / f"{step}"
        shutil.copytree(whole, folder)
        ended = _rotate_until(folder, step)
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
