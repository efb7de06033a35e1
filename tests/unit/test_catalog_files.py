"""The files of the catalog: who may read them, what stands in them, and what is said when they fail."""

from __future__ import annotations

import os
import resource
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.catalog import Catalog, open_catalog
from agent.errors import StateUnusable
from agent.model.keys import Password, RecoveryPassword, StartupKey
from agent.model.secrets import Secret
from tests.unit.catalog_cases import KEY, WHO, name, opened, serial, spec

CANARIES: list[RecoveryPassword | Password | StartupKey] = [
    RecoveryPassword.parse(KEY),
    Password(Secret("canary-Zq7-password")),
    StartupKey.from_bytes(b"canary-Zq7-startup-key"),
]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def filled(folder: Path) -> None:
    async with opened(folder) as catalog:
        await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)


async def refused(folder: Path, busy_timeout_s: float = 10.0) -> str:
    with pytest.raises(StateUnusable) as caught:
        async with opened(folder, busy_timeout_s):
            pass
    assert "\n" not in caught.value.detail
    return caught.value.detail


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


async def test_nobody_else_can_read_what_the_catalog_makes(tmp_path: Path) -> None:
    with umask(0):
        async with opened(tmp_path / "new" / "state") as catalog:
            await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
            files = {path.name: mode(path) for path in (tmp_path / "new" / "state").iterdir()}
    assert mode(tmp_path / "new" / "state") == 0o700
    assert files == dict.fromkeys(
        ("catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm", "catalog.key"), 0o600
    )


async def test_no_key_stands_in_plain_in_any_file_of_the_catalog(tmp_path: Path) -> None:
    def bytes_on_disk() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    async with opened(tmp_path) as catalog:
        for number, credential in enumerate(CANARIES):
            await catalog.create_job(
                spec(f"ship-{number}", f"PLANTED{number}", credential=credential), ship=True, who=WHO
            )
            assert await catalog.credential(name(f"ship-{number}"), serial(f"PLANTED{number}")) == credential
        while_open = bytes_on_disk()
    assert "catalog.sqlite-wal" in while_open
    for files in (while_open, bytes_on_disk()):
        together = b"".join(files.values())
        # The search can find what is there: serials stand in plain.
        assert b"PLANTED0" in together
        for credential in CANARIES:
            secret = credential.secret.reveal()
            for form in (secret, secret.replace("-", ""), secret[:13], secret.encode().hex()):
                for coded in (form.encode(), form.encode("utf-16-le")):
                    assert coded not in together
        assert b"canary" not in together


async def test_error_of_the_file_shows_no_key(tmp_path: Path) -> None:
    async with opened(tmp_path, busy_timeout_s=0.05) as catalog:
        with locked(tmp_path / "catalog.sqlite"), pytest.raises(StateUnusable) as caught:
            await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    assert KEY not in repr(caught.value) + repr(caught.value.__cause__)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


async def test_catalog_that_stays_locked_is_said_to_be_locked(tmp_path: Path) -> None:
    await filled(tmp_path)
    path = tmp_path / "catalog.sqlite"
    async with opened(tmp_path, busy_timeout_s=0.05) as catalog:
        with locked(path):
            with pytest.raises(StateUnusable, match="is kept locked by another process"):
                await catalog.cancel_job(name(), WHO)
            assert not (await catalog.job(name())).cancel_requested
        assert (await catalog.cancel_job(name(), WHO)).cancel_requested


async def test_opening_waits_for_the_lock_and_says_when_it_gives_up(tmp_path: Path) -> None:
    await filled(tmp_path)
    with locked(tmp_path / "catalog.sqlite"):
        assert "is kept locked by another process" in await refused(tmp_path, busy_timeout_s=0.05)


async def test_file_of_something_else_is_not_a_catalog(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite").write_bytes(b"<html>" * 5000)
    assert "is not a catalog, or its first page is damaged" in await refused(tmp_path)


async def test_database_of_something_else_is_not_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE recipes (cake TEXT)")
    connection.close()
    assert "the file is a database of something else, with the table 'recipes'" in await refused(tmp_path)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]
    connection.close()


async def test_damaged_pages_are_said_to_be_damaged(tmp_path: Path) -> None:
    await filled(tmp_path)
    path = tmp_path / "catalog.sqlite"
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    assert "is damaged" in await refused(tmp_path)


async def test_row_that_no_program_wrote_is_said_to_be_damaged(tmp_path: Path) -> None:
    await filled(tmp_path)
    connection = sqlite3.connect(tmp_path / "catalog.sqlite")
    connection.execute("UPDATE drive SET state = 'Teleported'")
    connection.commit()
    connection.close()
    async with opened(tmp_path) as catalog:
        with pytest.raises(StateUnusable, match="row 1 of table drive is damaged: 'Teleported'"):
            await catalog.job(name())


async def test_folder_in_the_catalogs_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite").mkdir()
    assert "cannot be used: Is a directory" in await refused(tmp_path)


async def test_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    assert "cannot be used" in await refused(tmp_path / "state")


async def test_newer_catalog_is_refused_and_left_alone(tmp_path: Path) -> None:
    await filled(tmp_path)
    path = tmp_path / "catalog.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    said = await refused(tmp_path)
    assert "the catalog has schema version '9999', this program knows up to" in said
    assert path.read_bytes() == before


@contextmanager
def folder_of_somebody_else() -> Iterator[Path]:
    """A folder that the code inside may look into and not write; root becomes nobody for it."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755 if os.geteuid() == 0 else 0o500)
        yield folder
        folder.chmod(0o700)


@contextmanager
def as_somebody() -> Iterator[None]:
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


async def test_catalog_in_a_folder_that_cannot_be_written_is_refused() -> None:
    with folder_of_somebody_else() as folder, as_somebody():
        assert await refused(folder) == (
            f"catalog {folder / 'catalog.sqlite'} cannot be used: Permission denied"
        )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file that somebody else owns")
@pytest.mark.parametrize(
    ("bits", "said"),
    [
        (0o600, "cannot be used: Permission denied"),
        (0o444, "cannot be used: Permission denied"),
        (0o666, "cannot be written"),
    ],
)
async def test_catalog_of_somebody_else_is_refused(bits: int, said: str) -> None:
    with folder_of_somebody_else() as folder:
        await filled(folder)
        (folder / "catalog.sqlite").chmod(bits)
        with as_somebody():
            assert said in await refused(folder)
        (folder / "catalog.sqlite").chmod(0o600)
        async with opened(folder) as catalog:
            assert (await catalog.job(name())).name == name()


@contextmanager
def no_file_larger_than(limit_bytes: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def file_jobs_without_end(catalog: Catalog, filed: list[str]) -> None:
    for number in range(1000):
        await catalog.create_job(spec(f"ship-{number}", f"S{number}"), ship=True, who=WHO)
        filed.append(f"ship-{number}")


async def test_file_that_cannot_grow_refuses_the_job_whole(tmp_path: Path) -> None:
    filed: list[str] = []
    async with opened(tmp_path) as catalog:
        with (
            no_file_larger_than(200_000),
            pytest.raises(StateUnusable, match=r"the disk reports an error or a limit|disk is full"),
        ):
            await file_jobs_without_end(catalog, filed)
        assert len(filed) > 1
        assert [str(job.name) async for job in catalog.jobs()] == filed
        await catalog.create_job(spec("ship-after", "AFTER"), ship=True, who=WHO)
    async with opened(tmp_path) as again:
        assert [str(job.name) async for job in again.jobs()] == [*filed, "ship-after"]


async def test_events_cannot_be_changed_or_removed(tmp_path: Path) -> None:
    async with opened(tmp_path) as catalog:
        await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
        connection = sqlite3.connect(tmp_path / "catalog.sqlite")
        with pytest.raises(sqlite3.IntegrityError, match="events are only ever added"):
            connection.execute("DELETE FROM event")
        with pytest.raises(sqlite3.IntegrityError, match="events are only ever added"):
            connection.execute("UPDATE event SET who = 'nobody'")
        connection.close()
        assert len(await catalog.history(name())) == 2


@pytest.mark.parametrize("odd", ["what? #1 %20", "größe", "a b"])
async def test_any_folder_name_will_do(tmp_path: Path, odd: str) -> None:
    await filled(tmp_path / odd)
    assert sorted(path.name for path in (tmp_path / odd).iterdir()) == ["catalog.key", "catalog.sqlite"]


async def test_settings_that_make_the_file_safe_are_on(tmp_path: Path) -> None:
    await filled(tmp_path)
    connection = sqlite3.connect(tmp_path / "catalog.sqlite")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


async def test_lost_key_file_is_not_replaced_while_keys_are_sealed_with_it(tmp_path: Path) -> None:
    await filled(tmp_path)
    (tmp_path / "catalog.key").unlink()
    assert "catalog.key is missing, and catalog" in await refused(tmp_path)
    assert not (tmp_path / "catalog.key").exists()


async def test_other_key_file_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path):
        pass
    (tmp_path / "catalog.key").write_bytes(bytes(32))
    assert "catalog.key is not that of catalog" in await refused(tmp_path)


async def test_nobody_makes_a_catalog_a_second_key(tmp_path: Path) -> None:
    async with opened(tmp_path):
        pass
    with pytest.raises(
        StateUnusable, match=r"own.key is missing, and catalog .* needs key [0-9a-f]{16}: put"
    ):
        async with open_catalog(tmp_path / "catalog.sqlite", tmp_path / "own.key"):
            pass
    assert not (tmp_path / "own.key").exists()


async def test_other_key_file_opens_no_key_of_a_catalog_that_names_none(tmp_path: Path) -> None:
    await filled(tmp_path)
    _name_no_key(tmp_path)
    (tmp_path / "catalog.key").write_bytes(bytes(32))
    async with opened(tmp_path) as catalog:
        with pytest.raises(StateUnusable, match="drive A of job ship-1 does not open"):
            await catalog.credential(name(), serial("A"))
    # Nor does it become that of the catalog.
    connection = sqlite3.connect(tmp_path / "catalog.sqlite")
    assert connection.execute("SELECT * FROM key_mark").fetchall() == []
    connection.close()


def _name_no_key(folder: Path) -> None:
    """As a version before that of the marks left it."""
    connection = sqlite3.connect(folder / "catalog.sqlite")
    connection.execute("DELETE FROM key_mark")
    connection.commit()
    connection.close()


async def test_a_catalog_that_names_no_key_is_marked_with_the_one_that_signed_its_history(
    tmp_path: Path,
) -> None:
    await filled(tmp_path)
    _name_no_key(tmp_path)
    async with opened(tmp_path) as catalog:
        assert await catalog.credential(name(), serial("A")) is not None
    (tmp_path / "catalog.key").write_bytes(bytes(32))
    assert "catalog.key is not that of catalog" in await refused(tmp_path)


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o601, 0o666])
async def test_key_file_that_others_can_reach_is_refused(tmp_path: Path, bits: int) -> None:
    await filled(tmp_path)
    (tmp_path / "catalog.key").chmod(bits)
    assert f"is open to others (mode {bits:04o}); it must be 0600" in await refused(tmp_path)


@pytest.mark.parametrize("size", [0, 31, 33, 4096])
async def test_key_file_of_another_length_is_refused(tmp_path: Path, size: int) -> None:
    with umask(0o077):
        (tmp_path / "catalog.key").write_bytes(bytes(size))
    assert f"must hold 32 bytes, it holds {size}" in await refused(tmp_path)


async def test_pipe_or_folder_in_the_key_files_place_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "catalog.key", 0o600)
    assert "is not a regular file" in await refused(tmp_path)
    (tmp_path / "catalog.key").unlink()
    (tmp_path / "catalog.key").mkdir(mode=0o700)
    assert "catalog.key" in await refused(tmp_path)


async def test_key_file_in_a_folder_of_its_own_is_made(tmp_path: Path) -> None:
    key = tmp_path / "keys" / "catalog.key"
    async with open_catalog(tmp_path / "catalog.sqlite", key):
        pass
    assert (mode(key), mode(key.parent), key.stat().st_size) == (0o600, 0o700, 32)
    assert [path.name for path in key.parent.iterdir()] == ["catalog.key"]
