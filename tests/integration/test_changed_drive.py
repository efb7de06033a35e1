"""A drive that was written to between two visits, and one that Windows did not finish writing to."""

from __future__ import annotations

import json
import lzma
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from agent.blobs.crc64 import crc64
from agent.blobs.memory import MemoryBlobStore
from agent.blobs.store import NO_ATTRIBUTES, BlobStore
from agent.errors import UnreadableSectors
from agent.formats.logreader import read_log
from agent.formats.plainwords import sentences
from agent.model.blobs import BlobName
from agent.model.codes import ChunkStatus, Disposition
from agent.transfer.uploading import Uploader
from agent.volume.block import BytesSource
from agent.volume.opening import open_volume
from fixtures.ntfs_made import MadeVolume
from fixtures.ntfs_records import DATA, ROOT, file_name, information, mapped, record, resident
from tests.kit.transfer import Drive, Told, ingest
from tests.kit.volume_command import SHARED

CLUSTER_BYTES, FILE_BYTES = 4096, 8192
FIRST_TIME, LATER = 133_000_000_000_000_000, 133_100_000_000_000_000
OLD, NEW = b"o" * FILE_BYTES, b"n" * FILE_BYTES
LOG_CLUSTER, FILE_CLUSTER, OTHER_CLUSTER = 40, 60, 70
IS_CLEAN, NO_CLIENT = 0x0002, 0xFFFF
WINDOWS_VOLUME = SHARED / "ntfs/ntfs-lastaccess.raw.xz"


def _log_page(lsn: int, *, flags: int = IS_CLEAN, client: int = NO_CLIENT) -> bytes:
    """A restart page of $LogFile: its header, and the restart area behind it."""
    header = struct.pack("<4sHHQIIHHH", b"RSTR", 30, 9, 0, 4096, 4096, 48, 1, 1)
    area = struct.pack("<QHHHH", lsn, 1, NO_CLIENT, client, flags)
    return header.ljust(48, b"\0") + area


def _volume(
    path: Path, *, cluster: int = FILE_CLUSTER, content: bytes = OLD, time: int = FIRST_TIME, **log: Any
) -> Path:
    """One file of two clusters, and the log; a file that is replaced lies elsewhere than before."""
    made = MadeVolume(mft=((4, 24),), total_clusters=128)
    made.clusters[FILE_CLUSTER] = OLD
    made.clusters[cluster] = content
    page = _log_page(log.pop("lsn", 1000), **log)
    made.clusters[LOG_CLUSTER] = page.ljust(4096, b"\0") + page
    made.add(2, file_name(ROOT, "$LogFile"), mapped(DATA, [(LOG_CLUSTER, 2)], FILE_BYTES))
    data = mapped(DATA, [(cluster, 2)], FILE_BYTES)
    made.records[30] = record(30, (information(first_time=time), file_name(ROOT, "a.bin"), data))
    path.write_bytes(made.build())
    return path


async def _content(store: BlobStore, name: str = "drive/a.bin") -> bytes:
    return b"".join([piece async for piece in store.read(BlobName.parse(name))])


def _stop_before_the_first_byte(event: dict[str, Any], uploader: Uploader) -> None:
    if event["event"] == "progress":
        uploader.command("stop")


async def _interrupted(drive: Drive, store: BlobStore) -> None:
    told = await ingest(drive, store, _stop_before_the_first_byte)
    assert told.last["event"] == "interrupted"
    assert drive.upload_order().journal.exists()


def _ended(told: Told) -> tuple[str, str]:
    return told.last["event"], told.last.get("status", "")


async def test_a_drive_that_was_written_to_meanwhile_is_listed_anew(tmp_path: Path) -> None:
    store = MemoryBlobStore()
    drive = Drive(_volume(tmp_path / "drive.img"), tmp_path)
    await _interrupted(drive, store)
    _volume(drive.image, cluster=OTHER_CLUSTER, content=NEW, time=LATER, lsn=2000)
    told = await ingest(drive, store)
    assert _ended(told) == ("finished", "Completed")
    assert await _content(store) == NEW
    (changed,) = told.named("drive.changed")
    assert "listed anew" in changed["detail"]


async def test_a_drive_that_is_as_it_was_is_not_listed_anew(tmp_path: Path) -> None:
    store = MemoryBlobStore()
    drive = Drive(_volume(tmp_path / "drive.img"), tmp_path)
    await _interrupted(drive, store)
    told = await ingest(drive, store)
    assert _ended(told) == ("finished", "Completed")
    assert not told.named("inventory")
    assert not told.named("drive.changed")


async def test_a_blob_made_of_what_the_file_was_before_is_not_taken_for_the_file(tmp_path: Path) -> None:
    store = MemoryBlobStore()
    drive = Drive(_volume(tmp_path / "drive.img"), tmp_path)
    assert _ended(await ingest(drive, store)) == ("finished", "Completed")
    # As at another station, or after the journal was lost.
    drive.upload_order().journal.unlink()
    _volume(drive.image, content=NEW, time=LATER, lsn=2000)
    told = await ingest(drive, store)
    assert _ended(told) == ("finished", "CompletedWithWarnings")
    assert told.last["tally"]["skipped"] == [1, FILE_BYTES]
    assert await _content(store) == OLD


@pytest.mark.parametrize("other", [{"account": "another"}, {"filed": "2026-11-22"}])
async def test_what_was_done_for_another_account_or_an_earlier_job_of_the_name_is_not_done(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    drive = Drive(_volume(tmp_path / "drive.img"), tmp_path)
    assert _ended(await ingest(drive, MemoryBlobStore())) == ("finished", "Completed")
    store = MemoryBlobStore()
    assert _ended(await ingest(replace(drive, **other), store)) == ("finished", "Completed")
    assert await _content(store) == OLD


class _Bad(BytesSource):
    """The last cluster of the file cannot be read."""

    def read_into(self, offset: int, buffer: memoryview) -> None:
        bad = (FILE_CLUSTER + 1) * CLUSTER_BYTES
        if offset < bad + CLUSTER_BYTES and bad < offset + len(buffer):
            raise UnreadableSectors(bad, CLUSTER_BYTES, "EIO")
        super().read_into(offset, buffer)


async def test_the_log_tells_the_bytes_that_were_lost_also_after_blocks_of_another_length(
    tmp_path: Path,
) -> None:
    image = _volume(tmp_path / "drive.img")
    drive = Drive(image, tmp_path, wrap=lambda source: _Bad(image.read_bytes()), block_bytes=CLUSTER_BYTES)
    assert _ended(await ingest(drive, MemoryBlobStore())) == ("finished", "CompletedWithErrors")
    told = await ingest(replace(drive, block_bytes=FILE_BYTES), MemoryBlobStore())
    assert _ended(told) == ("finished", "CompletedWithErrors")
    log = max((tmp_path / "logs").glob("*_error.xml"), key=lambda path: path.stat().st_mtime_ns)
    (block,) = etree.parse(log).xpath(f"//Block[@Status='{ChunkStatus.IO_FAILED}']")
    assert (block.get("Offset"), block.get("Length")) == ("0", str(FILE_BYTES))


@pytest.mark.parametrize(
    ("log", "is_open"),
    [
        ({"flags": IS_CLEAN, "client": NO_CLIENT}, False),
        ({"flags": IS_CLEAN, "client": 0}, False),
        ({"flags": 0, "client": NO_CLIENT}, False),
        ({"flags": 0, "client": 0}, True),
    ],
)
async def test_a_volume_that_was_never_dismounted_does_not_complete_without_a_warning(
    tmp_path: Path, log: dict[str, int], is_open: bool
) -> None:
    store = MemoryBlobStore()
    told = await ingest(Drive(_volume(tmp_path / "drive.img", **log), tmp_path), store)
    assert _ended(told) == ("finished", "CompletedWithWarnings" if is_open else "Completed")
    assert ("not dismounted" in told.last.get("detail", "")) is is_open
    assert told.named("opened")[0]["log_open"] is is_open
    assert await _content(store) == OLD


async def test_a_dirty_volume_does_not_complete_without_a_warning(tmp_path: Path) -> None:
    made = MadeVolume(mft=((4, 24),), dirty=True)
    made.add(30, file_name(ROOT, "a.bin"), resident(DATA, b"content"))
    image = tmp_path / "drive.img"
    image.write_bytes(made.build())
    told = await ingest(Drive(image, tmp_path), MemoryBlobStore())
    assert _ended(told) == ("finished", "CompletedWithWarnings")
    assert "dirty" in told.last["detail"]
    assert json.dumps(told.last["tally"]["failed"]) == "[0, 0]"


async def test_a_folder_that_only_looks_like_one_of_windows_own_is_the_customers(tmp_path: Path) -> None:
    made = MadeVolume(mft=((4, 24),), dirty=False)
    directories = {40: "System Volume Informat\u0131on", 41: "$Recycle.B\u0131n", 42: "$recycle.bin"}
    for number, name in directories.items():
        made.add(number, file_name(ROOT, name), flags=3)
        made.add(number + 10, file_name(number | 1 << 48, "a.txt"), resident(DATA, b"content"))
    image = tmp_path / "drive.img"
    image.write_bytes(made.build())
    store = MemoryBlobStore()
    told = await ingest(Drive(image, tmp_path), store)
    assert _ended(told) == ("finished", "Completed")
    assert told.last["tally"]["done"][0] == 2
    for number in (40, 41):
        assert await _content(store, f"drive/{directories[number]}/a.txt") == b"content"


async def test_a_drive_with_a_second_data_volume_does_not_complete_without_a_warning(tmp_path: Path) -> None:
    volume = _volume(tmp_path / "volume.img").read_bytes()
    sectors = len(volume) // 512
    rows = [struct.pack("<B3sB3sII", 0, b"", 7, b"", 64 + sectors * n, sectors) for n in range(2)]
    table = bytes(446) + b"".join(rows).ljust(64, b"\0") + b"\x55\xaa"
    image = tmp_path / "drive.img"
    image.write_bytes(table.ljust(64 * 512, b"\0") + volume * 2)
    store = MemoryBlobStore()
    told = await ingest(Drive(image, tmp_path), store)
    assert _ended(told) == ("finished", "CompletedWithWarnings")
    assert "further data volume" in told.last["detail"]
    assert await _content(store) == OLD


async def test_a_drive_with_no_file_does_not_complete_without_a_warning(tmp_path: Path) -> None:
    image = tmp_path / "drive.img"
    image.write_bytes(MadeVolume(mft=((4, 24),)).build())
    told = await ingest(Drive(image, tmp_path), MemoryBlobStore())
    assert _ended(told) == ("finished", "CompletedWithWarnings")
    assert "no file" in told.last["detail"]


async def test_new_names_do_not_hide_that_the_drive_may_not_hold_everything(tmp_path: Path) -> None:
    store, name = MemoryBlobStore(), BlobName.parse("drive/a.bin")
    await store.ensure_container(name.container)
    await store.put_blob(name, [memoryview(b"")], crc64([]), NO_ATTRIBUTES, replace=False)
    image = _volume(tmp_path / "drive.img", flags=0, client=0)
    await ingest(Drive(image, tmp_path, disposition=Disposition.RENAME), store)
    log = next((tmp_path / "logs").glob("*_error.xml"))
    with log.open("rb") as file:
        *_, answer = sentences(read_log(file))
    assert answer.startswith("May I erase my source? No")


@pytest.mark.skipif(not WINDOWS_VOLUME.is_file(), reason="no NTFS volume of Windows beside the checkout")
def test_a_volume_that_windows_dismounted_is_not_in_doubt_and_one_that_was_torn_away_is() -> None:
    drive = bytearray(lzma.decompress(WINDOWS_VOLUME.read_bytes()))
    opened = open_volume(BytesSource(bytes(drive)), None, allow_unencrypted=True)
    assert not opened.ntfs.is_log_open
    at = drive.find(b"RSTR")
    for page in (at, at + 4096):
        assert drive[page : page + 4] == b"RSTR"
        (area,) = struct.unpack_from("<24xH", drive, page)
        drive[page + area + 14] &= ~IS_CLEAN
    torn = open_volume(BytesSource(bytes(drive)), None, allow_unencrypted=True)
    assert torn.ntfs.is_log_open
    assert torn.ntfs.state != opened.ntfs.state
