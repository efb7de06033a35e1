"""A state disk that is or gets full, a real one of a few MiB: drives pause, say so, lose nothing, go on."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.blobs.memory import MemoryBlobStore
from agent.blobs.store import Body, Replace
from agent.catalog import open_catalog
from agent.catalog.backup import back_up, restore
from agent.catalog.rotation import Author, rotate
from agent.errors import StateUnusable, StoreUnreachable
from agent.model.blobs import BlobAttributes, BlobName
from agent.model.identity import ContainerName
from agent.transfer import room_watch
from agent.transfer.orders import UploadOrder
from agent.transfer.room import Room
from tests.kit import images
from tests.kit.transfer import Drive, Told, ingest
from tests.unit.catalog_cases import WHO, name, serial, spec

MIB = 1 << 20
FILES = sum(not path.startswith("System Volume") for path in images.hashes("demo"))


class Disk:
    """A tmpfs of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def leave(self, left_bytes: int) -> None:
        """Fill the disk up to these bytes."""
        with self._ballast.open("ab") as file, suppress(OSError):
            while (free := self.free) > left_bytes:
                os.posix_fallocate(file.fileno(), file.seek(0, 2), min(free - left_bytes, MIB))

    def empty(self) -> None:
        self._ballast.unlink()

    @property
    def free(self) -> int:
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs takes root")
    yield Disk(folder)
    subprocess.run(["umount", str(folder)], check=True)


@dataclass
class Careful(Drive):
    """With a claim to a state disk."""

    keep_free_bytes: int = 0

    def upload_order(self) -> UploadOrder:
        return replace(super().upload_order(), keep_free_bytes=self.keep_free_bytes)


@pytest.fixture
def drive(tmp_path: Path, disk: Disk) -> Careful:
    work = disk.folder / "journals" / "job"
    work.mkdir(parents=True)
    return Careful(images.unpack("demo", tmp_path), work)


class FillsTheDisk(MemoryBlobStore):
    """While a blob is put, told by its number or by its end, the state disk gets full, but for some bytes."""

    def __init__(self, disk: Disk, at: int | str, left_bytes: int = 0, *, pause_s: float = 0.0) -> None:
        super().__init__()
        self.puts: list[str] = []
        self._disk, self._at, self._left_bytes, self._pause_s = disk, at, left_bytes, pause_s

    def stop_filling(self) -> None:
        self._at = 0

    async def put_blob(
        self, name: BlobName, body: Body, crc64: int, attributes: BlobAttributes, *, replace: Replace
    ) -> None:
        self.puts.append(str(name))
        if self._at == len(self.puts) or (isinstance(self._at, str) and name.path.endswith(self._at)):
            self._disk.leave(self._left_bytes)
        await asyncio.sleep(self._pause_s)
        await super().put_blob(name, body, crc64, attributes, replace=replace)


def _is_paused(told: Told, sentence: str) -> None:
    assert told.last["event"] == "paused", told.last
    assert told.last["error"] == "StateUnusable"
    assert sentence in told.last["detail"]


def _is_whole(told: Told) -> None:
    assert (told.last["event"], told.last["status"]) == ("finished", "Completed"), told.last
    tally = told.last["tally"]
    assert tally["discovered"] == tally["done"]
    assert tally["done"][0] == FILES


async def test_a_drive_that_needs_more_than_there_is_waits_before_its_first_byte(
    drive: Careful, disk: Disk
) -> None:
    disk.leave(10 * MIB)
    store = FillsTheDisk(disk, at=0)
    told = await ingest(drive, store)
    _is_paused(told, "left beside the 0 MiB that are kept free, this drive needs 1")
    assert not told.named("inventory")
    assert store.puts == []
    disk.empty()
    _is_whole(await ingest(drive, store))


async def test_a_disk_that_gets_full_during_the_inventory_pauses_the_drive(
    drive: Careful, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = Room.claim

    def claim_and_lose(self: Room, needed: int) -> None:
        claim(self, needed)
        disk.leave(0)

    monkeypatch.setattr(Room, "claim", claim_and_lose)
    store = MemoryBlobStore()
    _is_paused(await ingest(drive, store), "the state disk is full")
    monkeypatch.setattr(Room, "claim", claim)
    _is_paused(await ingest(drive, store), "this drive needs")
    disk.empty()
    _is_whole(await ingest(drive, store))


async def test_a_disk_that_gets_full_while_files_move_pauses_the_drive_and_loses_nothing(
    drive: Careful, disk: Disk
) -> None:
    store = FillsTheDisk(disk, at=FILES // 2, pause_s=0.01)
    _is_paused(await ingest(drive, store), "the state disk is full")
    assert not store.puts[-1].endswith(".xml")
    disk.empty()
    _is_whole(await ingest(drive, store))
    # What was made and could not be written down is recognised, and none is made twice.
    names = [name async for name in store.names(ContainerName.parse("drive"))]
    assert len(names) == FILES


async def test_a_log_that_finds_no_room_is_written_when_there_is_some(drive: Careful, disk: Disk) -> None:
    store = FillsTheDisk(disk, at="_error.xml")
    told = await ingest(drive, store)
    assert store.puts[-1].endswith("_error.xml")
    _is_paused(told, "the state disk is full")
    assert [*(drive.work / "logs").glob("*.part")] == []
    disk.empty()
    store.stop_filling()
    again = await ingest(drive, store)
    _is_whole(again)
    assert set(again.last["logs"]) == {"error", "verbose"}


async def test_a_disk_that_runs_low_while_the_store_is_away_pauses_the_drive_and_says_why(
    drive: Careful, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    class GoesAway(FillsTheDisk):
        async def put_blob(
            self, name: BlobName, body: Body, crc64: int, attributes: BlobAttributes, *, replace: Replace
        ) -> None:
            await super().put_blob(name, body, crc64, attributes, replace=replace)
            if len(self.puts) >= 5:
                raise StoreUnreachable(f"{name}: no answer")

    monkeypatch.setattr(room_watch, "LOOK_EVERY_S", 0.01)
    drive.keep_free_bytes = 20 * MIB
    told = await ingest(drive, GoesAway(disk, at=5, left_bytes=5 * MIB, pause_s=0.05))
    _is_paused(told, "MiB left, and 10 MiB are kept free there")


async def test_a_disk_that_runs_low_pauses_the_drive_while_its_place_can_still_be_kept(
    drive: Careful, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_watch, "LOOK_EVERY_S", 0.01)
    drive.keep_free_bytes = 20 * MIB
    store = FillsTheDisk(disk, at=5, left_bytes=5 * MIB, pause_s=0.05)
    told = await ingest(drive, store)
    _is_paused(told, "MiB left, and 10 MiB are kept free there")
    done = told.named("progress")[-1]["tally"]["done"][0]
    assert 0 < done < FILES
    _is_paused(await ingest(drive, store), "left beside the 20 MiB that are kept free")
    disk.empty()
    again = await ingest(drive, store)
    _is_whole(again)
    assert again.named("progress")[0]["tally"]["done"][0] == done


async def test_on_a_full_disk_no_backup_is_made_and_none_is_called_unfit(disk: Disk, tmp_path: Path) -> None:
    path, key = disk.folder / "catalog.sqlite", disk.folder / "catalog.key"
    async with open_catalog(path, key) as catalog:
        await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    author = Author(WHO, "the bench", datetime(2024, 3, 1, tzinfo=UTC))
    await back_up(path, key, tmp_path / "copy")
    disk.leave((tmp_path / "copy").stat().st_size)
    with pytest.raises(StateUnusable, match=r"has \d+ bytes left, and \d+ are needed to restore"):
        await restore(path, key, tmp_path / "copy", author)
    with pytest.raises(StateUnusable, match="cannot grow, the disk is full"):
        await back_up(path, key, disk.folder / "copy")
    disk.leave(0)
    with pytest.raises(StateUnusable, match=r"cannot grow, the disk is full|the disk reports"):
        await rotate(path, key, author)
    assert not [one for one in disk.folder.iterdir() if one.name.startswith((".", "copy"))]
    disk.empty()
    await rotate(path, key, author)
    async with open_catalog(path, key) as catalog:
        assert await catalog.credential(name(), serial("A")) is not None
        assert (await catalog.verify_history()).broken is None
    assert not (disk.folder / "catalog.key.next").exists()
