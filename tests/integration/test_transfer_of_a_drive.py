"""One drive through the real reader and the real uploader, into a store that can be made to fail."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from agent.blobs.crc64 import crc64
from agent.blobs.faults import Call, FaultyBlobStore
from agent.blobs.memory import MemoryBlobStore
from agent.blobs.store import NO_ATTRIBUTES, BlobStore
from agent.errors import UnreadableSectors
from agent.formats.log_values import LogEntry
from agent.formats.logreader import read_log
from agent.model.blobs import BlobName
from agent.model.codes import BlobStatus, Disposition
from agent.model.identity import ContainerName
from agent.model.naming import decode
from agent.model.treatment import Treatment
from agent.model.verification import Verification
from agent.transfer import patience
from agent.transfer.items import ItemState
from agent.transfer.journal import Journal
from agent.transfer.rows import FoundFiles
from agent.transfer.sender import MARKER_KEY
from agent.transfer.uploading import Uploader
from agent.volume.block import BlockSource, BytesSource
from agent.volume.drivemap import State
from agent.volume.mapfile import parse
from agent.volume.ntfs import NtfsVolume
from fixtures.images import base_image
from tests.kit import images
from tests.kit.faults import FaultySource
from tests.kit.transfer import Drive, Told, ingest

FACTS = images.facts()
XSD = etree.XMLSchema(file=str(Path(__file__).parents[1] / "data/xsd/drive-log.xsd"))


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.001)


@pytest.fixture
def whole(demo_image: Path, tmp_path: Path) -> Drive:
    return Drive(demo_image, tmp_path, destination="drive/box 1/")


async def _plant(store: BlobStore) -> None:
    name, content = BlobName.parse(FACTS["preexisting"]["blob"]), FACTS["preexisting"]["content"].encode()
    await store.ensure_container(name.container)
    await store.put_blob(name, [memoryview(content)], crc64([content]), NO_ATTRIBUTES, replace=True)


async def _names(store: BlobStore, *containers: str) -> list[str]:
    return [str(name) for text in containers async for name in store.names(ContainerName(text))]


async def _sha256(store: BlobStore, name: str) -> str:
    digest = hashlib.sha256()
    async for part in store.read(BlobName.parse(name)):
        digest.update(part)
    return digest.hexdigest()


async def _check_demo(store: BlobStore) -> None:
    """Everything that was to arrive is there, byte for byte, and nothing else is."""
    expected = {b["blob"]: b["sha256"] for b in FACTS["blobs"] if b["outcome"] in ("created", "skipped")}
    found = {name: await _sha256(store, name) for name in await _names(store, *FACTS["containers"])}
    assert found == expected


def _log(drive: Drive, kind: str) -> Path:
    return max((drive.work / "logs").glob(f"*_{kind}.xml"), key=lambda path: path.stat().st_mtime_ns)


def _told(log: Path) -> Counter[tuple[str, str]]:
    with log.open("rb") as file:
        return Counter(
            (entry.target, "Skipped" if entry.is_skipped else entry.code)
            for entry in read_log(file)
            if isinstance(entry, LogEntry)
        )


def _counts(told: Told) -> dict[str, int]:
    return {part: counts[0] for part, counts in told.last["tally"].items()}


async def test_a_manifest_drive_ends_with_exactly_its_planted_trouble(by_manifest: Drive) -> None:
    store = MemoryBlobStore()
    await _plant(store)
    told = await ingest(by_manifest, store)
    assert (told.last["event"], told.last["status"]) == ("finished", "CompletedWithErrors")
    counts = FACTS["counts"]
    assert _counts(told) == {
        "discovered": counts["blobs_listed"],
        "done": counts["created"],
        "failed": counts["missing"] + counts["corrupt"],
        "skipped": counts["skipped"],
    }
    assert _told(_log(by_manifest, "error")) == {
        (FACTS["corrupt"]["blob"], "CompletedWithErrors"): 1,
        (FACTS["missing"]["blob"], "FileNotFound"): 1,
        (FACTS["preexisting"]["blob"], "Skipped"): 1,
    }
    await _check_demo(store)


async def test_the_logs_follow_the_schema_and_name_the_corrupt_block(by_manifest: Drive) -> None:
    store = MemoryBlobStore()
    await _plant(store)
    await ingest(by_manifest, store)
    for kind in ("error", "verbose"):
        XSD.assertValid(etree.parse(_log(by_manifest, kind)))
    assert sum(_told(_log(by_manifest, "verbose")).values()) == FACTS["counts"]["blobs_listed"]
    error_log = etree.parse(_log(by_manifest, "error"))
    (block,) = error_log.xpath("//Block[@Status='Corrupted']")
    assert int(block.get("Offset")) == FACTS["corrupt"]["offset"]
    assert {b.get("Status") for b in block.getparent()} == {"Corrupted", "Uncommitted"}


async def test_the_logs_lie_in_the_store_under_the_names_of_the_service(by_manifest: Drive) -> None:
    store = MemoryBlobStore()
    told = await ingest(replace(by_manifest, backup_manifest=True), store)
    names = await _names(store, "waimportexport")
    assert sorted(name.rpartition("_")[2] for name in names) == ["error.xml", "manifest.xml", "verbose.xml"]
    assert set(told.last["logs"]) == {"error", "verbose", "manifest"}
    assert all(name.startswith("waimportexport/waies/test-job_DEMO-0001_") for name in names)


async def test_metadata_and_properties_files_are_applied_the_blobs_own_over_the_lists(
    by_manifest: Drive,
) -> None:
    store = MemoryBlobStore()
    await ingest(by_manifest, store)
    first, second = [
        (await store.properties(BlobName.parse(blob["blob"]))).attributes for blob in FACTS["blobs"][:2]
    ]
    assert first.content_type == "image/jpeg"
    assert (first.cache_control, first.content_language) == ("no-cache", "en-GB")
    assert first.content_md5 is not None
    assert first.metadata["DataSetName"] == "album-2024"
    assert (second.metadata["DataSetName"], second.metadata["Rating"]) == ("album-2024-best", "5")
    assert second.metadata["UploadMethod"] == "drive"
    assert second.cache_control == "max-age=86400"
    assert second.metadata["mtime"].startswith("20")
    assert len(second.metadata[MARKER_KEY]) == 16


async def test_the_manifests_own_credential_shows_nowhere(by_manifest: Drive) -> None:
    store = MemoryBlobStore()
    told = await ingest(replace(by_manifest, backup_manifest=True), store)
    canary = FACTS["placeholder_account_key"].encode()
    kept = [path for path in by_manifest.work.rglob("*") if path.is_file()]
    assert kept
    assert [path.name for path in kept if canary in path.read_bytes()] == []
    assert canary.decode() not in repr(told.events)
    for name in await _names(store, "waimportexport"):
        content = b"".join([part async for part in store.read(BlobName.parse(name))])
        assert canary not in content


async def test_a_whole_volume_arrives_under_its_prefix(whole: Drive) -> None:
    store = MemoryBlobStore()
    told = await ingest(whole, store)
    assert told.last["status"] == "Completed"
    expected = {
        path: digest
        for path, (digest, _) in images.hashes("demo").items()
        if not path.startswith("System Volume Information/")
    }
    found = {}
    for name in await _names(store, "drive"):
        names = decode(name.removeprefix("drive/box 1/"))
        found["/".join(names)] = await _sha256(store, name)
    assert found == expected


async def test_nasty_names_and_files_arrive_or_are_accounted_for(nasty_image: Path, tmp_path: Path) -> None:
    drive, store = Drive(nasty_image, tmp_path), MemoryBlobStore()
    told = await ingest(drive, store)
    assert told.last["event"] == "finished"
    tally = told.last["tally"]
    for unit in (0, 1):
        accounted = sum(tally[part][unit] for part in ("done", "failed", "skipped"))
        assert accounted == tally["discovered"][unit]
    expected = images.hashes("nasty")
    packed = base_image("nasty").facts["wof"]
    expected |= {path: (said["sha256"], said["size"]) for path, said in packed.items()}
    found = {}
    for name in await _names(store, "drive"):
        path = "/".join(decode(name.removeprefix("drive/")))
        found[path] = await _sha256(store, name)
    assert set(packed) <= set(found)
    assert {path: digest for path, digest in found.items() if expected.get(path, ("",))[0] != digest} == {}
    XSD.assertValid(etree.parse(_log(drive, "error")))
    XSD.assertValid(etree.parse(_log(drive, "verbose")))


async def test_the_image_is_the_same_before_and_after(by_manifest: Drive) -> None:
    def state() -> tuple[str, int]:
        return hashlib.sha256(
            by_manifest.image.read_bytes()
        ).hexdigest(), by_manifest.image.stat().st_mtime_ns

    os.chmod(by_manifest.image, 0o444)
    before = state()
    await ingest(by_manifest, MemoryBlobStore())
    assert state() == before


async def test_progress_never_goes_back_and_stays_below_100_until_the_end(whole: Drive) -> None:
    told = await ingest(whole, MemoryBlobStore())
    percents = [event["percent"] for event in told.named("progress")]
    assert percents == sorted(percents)
    assert percents[-1] == 99


@pytest.mark.usefixtures("_brief_pauses")
@pytest.mark.parametrize("letter", ["U", "T", "L", "C"])
async def test_weather_is_no_files_error(by_manifest: Drive, letter: str) -> None:
    inner = MemoryBlobStore()
    await _plant(inner)
    store = FaultyBlobStore(inner, lambda call: letter if call.number % 7 == 3 else ".")
    told = await ingest(by_manifest, store)
    assert told.last["status"] == "CompletedWithErrors"
    assert sum(_told(_log(by_manifest, "error")).values()) == 3
    await _check_demo(inner)


async def test_a_credential_refused_at_the_start_ends_the_drive_with_its_code(whole: Drive) -> None:
    told = await ingest(whole, FaultyBlobStore(MemoryBlobStore(), lambda call: "R"))
    assert (told.last["event"], told.last["status"]) == ("finished", "BlobRequestForbidden")
    assert told.last["error"] == "StoreRefused"
    assert told.named("log.kept")
    assert "<Status>BlobRequestForbidden</Status>" in _log(whole, "error").read_text()


async def test_a_credential_refused_in_the_middle_pauses_and_the_resume_completes(whole: Drive) -> None:
    inner = MemoryBlobStore()

    def expires(call: Call) -> str:
        return "R" if call.number > 40 else "."

    told = await ingest(whole, FaultyBlobStore(inner, expires))
    assert (told.last["event"], told.last["error"]) == ("paused", "StoreRefused")
    assert (await ingest(whole, inner)).last["status"] == "Completed"


async def test_a_resume_with_a_refused_credential_keeps_the_place(whole: Drive) -> None:
    store = MemoryBlobStore()
    await _stopped_in_the_middle(whole, store)
    told = await ingest(whole, FaultyBlobStore(store, lambda call: "R"))
    assert (told.last["event"], told.last["error"]) == ("paused", "StoreRefused")
    assert (await ingest(whole, store)).last["status"] == "Completed"


async def test_an_unreachable_store_pauses_after_its_time(whole: Drive) -> None:
    told = await ingest(
        replace(whole, give_up_after_s=0.05), FaultyBlobStore(MemoryBlobStore(), lambda call: "U")
    )
    assert (told.last["event"], told.last["error"]) == ("paused", "StoreUnreachable")
    assert told.named("waiting")


async def test_a_leased_blob_is_that_blobs_trouble(whole: Drive) -> None:
    leased: list[str] = []

    def lease(call: Call) -> str:
        if call.operation != "put_blob" or "waimportexport" in call.subject or leased:
            return "."
        leased.append(call.subject)
        return "P"

    told = await ingest(whole, FaultyBlobStore(MemoryBlobStore(), lease))
    assert _counts(told)["failed"] == 1
    assert _told(_log(whole, "error")) == {(leased[0], "LeasePresent"): 1}


async def test_a_lease_that_comes_between_the_blocks_is_that_blobs_trouble(whole: Drive) -> None:
    refused: list[str] = []

    def lease(call: Call) -> str:
        if call.operation != "put_block" or not call.subject.endswith("harbour.mp4"):
            return "."
        refused.append(call.subject)
        return "P" if len(refused) > 3 else "."

    told = await ingest(replace(whole, block_bytes=64 * 1024), FaultyBlobStore(MemoryBlobStore(), lease))
    assert _counts(told)["failed"] == 1
    assert _told(_log(whole, "error")) == {(refused[0], "LeasePresent"): 1}
    # What was under way when the first one was refused is refused as well; nothing more is tried.
    assert len(refused) < 9449529 // (64 * 1024) // 2


async def _stopped_in_the_middle(drive: Drive, store: BlobStore) -> Told:
    puts = 0

    def stop(call: Call) -> str:
        nonlocal puts
        puts += call.operation in ("put_blob", "put_block")
        if puts == 60:
            running[0].command("stop")
        return "."

    running: list[Uploader] = []
    return await ingest(drive, FaultyBlobStore(store, stop), lambda event, uploader: running.append(uploader))


async def test_a_stopped_transfer_goes_on_where_it_stopped(whole: Drive) -> None:
    store = MemoryBlobStore()
    told = await _stopped_in_the_middle(whole, store)
    assert told.last["event"] == "interrupted"
    before = set(await _names(store, "drive"))
    assert before
    sent: Counter[str] = Counter()

    def count(call: Call) -> str:
        sent[call.subject] += call.operation == "put_blob"
        return "."

    told = await ingest(whole, FaultyBlobStore(store, count))
    assert told.last["status"] == "Completed"
    assert not told.named("inventory")
    assert {name for name in before if sent[name]} == set()


async def test_with_the_journal_lost_what_is_in_the_store_is_recognised(whole: Drive) -> None:
    store, renaming = MemoryBlobStore(), replace(whole, disposition=Disposition.RENAME)
    await _stopped_in_the_middle(renaming, store)
    for path in renaming.work.glob("journal.sqlite*"):
        path.unlink()
    told = await ingest(renaming, store)
    assert told.last["status"] == "Completed"
    assert not [name for name in await _names(store, "drive") if "(2)" in name]


async def test_with_the_journal_lost_small_files_that_are_done_are_not_read_again(whole: Drive) -> None:
    store, sources = MemoryBlobStore(), list[FaultySource]()

    def watched(source: BlockSource) -> BlockSource:
        sources.append(FaultySource(source, ""))
        return sources[-1]

    drive = replace(whole, wrap=watched)
    assert (await ingest(drive, store)).last["status"] == "Completed"
    names = await _names(store, "drive")
    for path in whole.work.glob("journal.sqlite*"):
        path.unlink()
    again = FaultyBlobStore(store)
    assert (await ingest(drive, again)).last["status"] == "Completed"
    assert await _names(store, "drive") == names
    sent = [call for call in again.calls if call.operation == "put_blob" and call.subject in names]
    # What was under way before the first of them was recognised.
    assert len(sent) < len(names) // 2
    first, second = [sum(length for _, length in source.asked) for source in sources]
    assert second < first // 2


async def test_blocks_that_are_staged_are_not_sent_again(whole: Drive) -> None:
    store, drive = MemoryBlobStore(), replace(whole, block_bytes=1 << 20)
    blocks = 0

    def cut(call: Call) -> str:
        nonlocal blocks
        blocks += call.operation == "put_block"
        return "R" if call.operation == "put_block" and blocks > 5 else "."

    assert (await ingest(drive, FaultyBlobStore(store, cut))).last["event"] == "paused"
    sent: Counter[str] = Counter()

    def count(call: Call) -> str:
        sent[call.operation] += 1
        return "."

    assert (await ingest(drive, FaultyBlobStore(store, count))).last["status"] == "Completed"
    all_blocks = sum(-(-size // (1 << 20)) for _, size in images.hashes("demo").values() if size > 1 << 20)
    assert sent["put_block"] == all_blocks - 5


async def test_a_cancelled_job_accounts_for_what_is_left(whole: Drive) -> None:
    running: list[Uploader] = []

    def cancel(call: Call) -> str:
        if call.number == 30:
            running[0].command("cancel")
        return "."

    told = await ingest(
        whole, FaultyBlobStore(MemoryBlobStore(), cancel), lambda event, uploader: running.append(uploader)
    )
    assert told.last["event"] == "finished"
    counts = _counts(told)
    assert counts["skipped"] > 0
    assert counts["done"] + counts["skipped"] == counts["discovered"]
    XSD.assertValid(etree.parse(_log(whole, "error")))


async def test_unreadable_sectors_cost_the_files_that_lie_there_and_no_other(whole: Drive) -> None:
    store = MemoryBlobStore()
    where = _place_of(whole, "session-1/video/harbour.mp4", 5 << 20)

    def fault(source: BlockSource) -> BlockSource:
        return FaultySource(source, "E", start=where)

    told = await ingest(replace(whole, wrap=fault), store)
    assert told.last["status"] == "CompletedWithErrors"
    assert _counts(told)["failed"] == 1
    (failed,) = etree.parse(_log(whole, "error")).findall("Blob")
    assert failed.findtext("FilePath") == "\\session-1\\video\\harbour.mp4"
    assert {b.get("Offset"): b.get("Status") for b in failed.iter("Block")} == {
        "0": "Uncommitted",
        "4194304": "IOFailed",
        "8388608": "Uncommitted",
    }
    assert "drive/box 1/session-1/video/harbour.mp4" not in await _names(store, "drive")


async def test_what_a_bad_sector_cost_is_told_and_mapped_for_ddrescue(whole: Drive) -> None:
    where = _place_of(whole, "session-1/video/harbour.mp4", 5 << 20)

    def fault(source: BlockSource) -> BlockSource:
        # As a drive that is read directly fails: the whole request, not the sector.
        return FaultySource(source, ".E.E", 512, start=where, names_block=False)

    told = await ingest(replace(whole, wrap=fault), MemoryBlobStore())
    (event,) = told.named("drive.unreadable")
    assert (event["files"], event["ranges"], event["bytes"]) == (1, 2, 1024)
    path = next((whole.work / "logs").glob("*_mapfile.txt"))
    found = parse(path.read_text(), whole.image.stat().st_size)
    assert list(found.ranges(State.BAD_SECTOR)) == [(where + 512, 512), (where + 1536, 512)]
    (lost,) = [line for line in path.read_text().splitlines() if line.startswith("# lost: ")]
    assert "harbour.mp4" in lost
    assert f"bytes {(5 << 20) + 512}..{(5 << 20) + 1024}, {(5 << 20) + 1536}..{(5 << 20) + 2048}" in lost
    assert told.last["logs"]["mapfile"].endswith(path.name)


async def test_a_healthy_drive_leaves_no_mapfile(whole: Drive) -> None:
    told = await ingest(whole, MemoryBlobStore())
    assert told.named("drive.unreadable") == []
    assert "mapfile" not in told.last["logs"]


async def test_good_data_comes_first_and_bad_sectors_are_tried_again_at_the_end(whole: Drive) -> None:
    where = _place_of(whole, "session-1/video/harbour.mp4", 5 << 20)
    sources: list[FaultySource] = []

    def fault(source: BlockSource) -> BlockSource:
        sources.append(FaultySource(source, "E", 512, start=where))
        return sources[0]

    told = await ingest(replace(whole, wrap=fault), MemoryBlobStore())
    assert _counts(told)["failed"] == 1
    (source,) = sources
    first_failure, *again = [n for n, each in enumerate(source.asked) if each in source.failed]
    good = [
        n
        for n, (offset, length) in enumerate(source.asked)
        if (offset, length) not in source.failed and not where - (8 << 20) <= offset <= where + (8 << 20)
    ]
    assert first_failure < max(good) < min(again)


@pytest.mark.parametrize("readable_at", range(2, 6))
async def test_a_sector_that_answers_in_the_end_costs_nothing(whole: Drive, readable_at: int) -> None:
    where = _place_of(whole, "session-1/video/harbour.mp4", 5 << 20)

    def fault(source: BlockSource) -> BlockSource:
        return FaultySource(source, "R", 512, start=where, readable_at=readable_at)

    told = await ingest(replace(whole, wrap=fault), MemoryBlobStore())
    assert told.last["status"] == "Completed"
    assert told.named("drive.unreadable") == []


async def test_a_bad_sector_between_small_files_costs_only_the_one_that_lies_on_it(whole: Drive) -> None:
    small = "session-1/documents/ledger.csv"
    where = _place_of(whole, small, 0)
    told = await ingest(
        replace(whole, wrap=lambda source: FaultySource(source, "E", 512, start=where)), MemoryBlobStore()
    )
    assert _counts(told)["failed"] == 1
    (failed,) = etree.parse(_log(whole, "error")).findall("Blob")
    assert failed.findtext("FilePath") == "\\" + small.replace("/", "\\")


async def test_alternate_streams_are_uploaded_when_the_job_asks(nasty_image: Path, tmp_path: Path) -> None:
    expected = {path: digest for path, (digest, *_) in images.hashes("nasty").items() if ":" in path}
    store = MemoryBlobStore()
    told = await ingest(Drive(nasty_image, tmp_path, upload_streams=True), store)
    assert told.last["event"] == "finished"
    names = await _names(store, "drive")
    found = {"/".join(decode(name.removeprefix("drive/"))): name for name in names}
    arrived = {path: await _sha256(store, found[path]) for path in expected if path in found}
    assert len(arrived) > 3
    assert arrived == {path: expected[path] for path in arrived}


def _place_of(drive: Drive, path: str, offset: int) -> int:
    """Where a byte of a file lies on the volume."""
    entry = NtfsVolume.open(BytesSource(drive.image.read_bytes())).find("\\" + path.replace("/", "\\"))
    assert entry is not None
    for start, length in entry.streams[0].extents:
        if offset < length:
            assert start is not None
            return start + offset
        offset -= length
    raise AssertionError("the file is shorter")


class _PulledSource(FaultySource):
    """Is gone when ``reads`` have been made."""

    def __init__(self, inner: BlockSource, reads: int) -> None:
        super().__init__(inner, "")
        self._reads_left = reads

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """See BlockSource."""
        self._reads_left -= 1
        self.gone = self.gone or self._reads_left < 0
        super().read_into(offset, buffer)


async def test_a_pulled_drive_is_one_event_and_goes_on_when_it_is_back(whole: Drive, tmp_path: Path) -> None:
    store, sources = MemoryBlobStore(), list[FaultySource]()

    def watched(source: BlockSource) -> BlockSource:
        sources.append(FaultySource(source, ""))
        return sources[-1]

    await ingest(replace(whole, work=tmp_path / "undisturbed", wrap=watched), MemoryBlobStore())
    reads = len(sources[0].asked) - 3
    told = await ingest(replace(whole, wrap=lambda source: _PulledSource(source, reads)), store)
    assert (told.last["event"], told.last["error"]) == ("paused", "DeviceUnavailable")
    assert (await ingest(whole, store)).last["status"] == "Completed"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"manifest_hash": "0" * 32}, "ManifestCorrupted"),
        ({"manifest_hash": "0" * 64}, "ManifestCorrupted"),
        ({"manifest_file": "\\Nothing.xml"}, "ManifestNotFound"),
        ({"manifest_file": "\\readme-first.txt", "manifest_hash": None}, "ManifestFormatInvalid"),
        ({"serial": "ANOTHER"}, "ManifestDriveIdMismatch"),
        ({"allow_unencrypted": False}, "BitLockerNotActivated"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_trouble_of_the_whole_drive_ends_it_with_its_code(
    by_manifest: Drive, change: dict[str, Any], status: str
) -> None:
    store = MemoryBlobStore()
    told = await ingest(replace(by_manifest, **change), store)
    assert (told.last["event"], told.last["status"]) == ("finished", status)
    assert told.last["detail"]
    assert f"<Status>{status}</Status>" in _log(by_manifest, "error").read_text()
    assert await _names(store, *FACTS["containers"]) == []


async def test_a_sha256_manifest_hash_is_accepted(by_manifest: Drive) -> None:
    told = await ingest(replace(by_manifest, manifest_hash=FACTS["manifest_sha256"]), MemoryBlobStore())
    assert told.last["status"] == "CompletedWithErrors"


async def test_a_file_that_is_no_volume_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "noise.img"
    image.write_bytes(b"\x00" * 1_000_000)
    told = await ingest(Drive(image, tmp_path), MemoryBlobStore())
    assert told.last["event"] == "finished"
    assert told.last["error"] in ("BitLockerVolumeNotFound", "VolumeNotNtfs")


@pytest.mark.usefixtures("_brief_pauses")
async def test_every_reply_may_be_lost_without_a_false_word(by_manifest: Drive, tmp_path: Path) -> None:
    """For each of the first calls and some later ones: the store acts, and the answer does not arrive."""
    for number in [*range(12), 50, 150, 250]:
        inner = MemoryBlobStore()
        await _plant(inner)
        drive = replace(by_manifest, work=tmp_path / str(number))
        drive.work.mkdir()
        told = await ingest(
            drive, FaultyBlobStore(inner, lambda call, n=number: "L" if call.number == n else ".")
        )
        assert told.last["status"] == "CompletedWithErrors", number
        assert sum(_told(_log(drive, "error")).values()) == 3, number
        await _check_demo(inner)


async def test_staged_blocks_of_another_block_size_are_not_taken_for_ours(whole: Drive) -> None:
    store, ledger = MemoryBlobStore(), "drive/box 1/session-1/documents/ledger.csv"

    def cut(call: Call) -> str:
        return "R" if call.operation == "put_block_list" and call.subject == ledger else "."

    first = await ingest(replace(whole, block_bytes=512 << 10), FaultyBlobStore(store, cut))
    assert first.last["event"] == "paused"
    told = await ingest(replace(whole, block_bytes=1024 << 10), store)
    assert told.last["status"] == "Completed"
    assert await _sha256(store, ledger) == images.hashes("demo")["session-1/documents/ledger.csv"][0]


class _Pulled(FaultySource):
    """Gone after so many reads."""

    limit = 0

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self.gone = self.gone or len(self.asked) >= self.limit
        super().read_into(offset, buffer)


@pytest.mark.parametrize("limit", [0, 1, 2, 4, 8, 12, 16, 20, 24])
async def test_a_drive_pulled_while_it_is_opened_and_its_files_are_listed_goes_on_when_it_is_back(
    whole: Drive, limit: int
) -> None:
    def pulled(source: BlockSource) -> BlockSource:
        gone = _Pulled(source, "")
        gone.limit = limit
        return gone

    store = MemoryBlobStore()
    told = await ingest(replace(whole, wrap=pulled), store)
    assert (told.last["event"], told.last["error"]) == ("paused", "DeviceUnavailable")
    assert (await ingest(whole, store)).last["status"] == "Completed"


def _record_of(drive: Drive, path: str) -> tuple[bytearray, int]:
    """The image, and where the MFT record of a file lies in it."""
    data = bytearray(drive.image.read_bytes())
    entry = NtfsVolume.open(BytesSource(bytes(data))).find("\\" + path.replace("/", "\\"))
    assert entry is not None
    at = -1
    while (at := data.find(b"FILE0", at + 1)) >= 0:
        if at % 512 == 0 and int.from_bytes(data[at + 44 : at + 48], "little") == entry.record:
            return data, at
    raise AssertionError("the record was not found")


async def test_one_bad_record_costs_one_file_of_a_manifest(by_manifest: Drive) -> None:
    _, place = _record_of(by_manifest, "session-1/video/harbour.mp4")
    told = await ingest(
        replace(by_manifest, wrap=lambda source: FaultySource(source, "E", block_bytes=512, start=place)),
        MemoryBlobStore(),
    )
    assert told.last["status"] == "CompletedWithErrors"
    assert ("demo/video/harbour.mp4", "IOFailed") in _told(_log(by_manifest, "error"))
    assert _counts(told)["failed"] == 3


async def test_a_timestamp_that_no_clock_ever_showed_is_no_trouble(whole: Drive) -> None:
    data, record = _record_of(whole, "readme-first.txt")
    attribute = record + int.from_bytes(data[record + 20 : record + 22], "little")
    content = attribute + int.from_bytes(data[attribute + 20 : attribute + 22], "little")
    data[content + 8 : content + 16] = b"\xff" * 8
    image = whole.work / "patched.img"
    image.write_bytes(data)
    assert (await ingest(replace(whole, image=image), MemoryBlobStore())).last["status"] == "Completed"


async def test_a_manifest_that_is_shorter_than_its_file_is_that_files_trouble(by_manifest: Drive) -> None:
    data = by_manifest.image.read_bytes()
    name = b"<FilePath>\\session-1\\empty\\one.txt</FilePath>"
    assert data.count(name) == 1
    other = b"<FilePath>\\readme-first.txt</FilePath>"
    image = by_manifest.work / "patched.img"
    image.write_bytes(data.replace(name, other + b" " * (len(name) - len(other))))
    told = await ingest(replace(by_manifest, image=image, manifest_hash=None), MemoryBlobStore())
    assert ("demo/empty/one.txt", "Failed") in _told(_log(by_manifest, "error"))
    assert _counts(told)["failed"] == 3


async def test_a_manifest_that_does_not_parse_is_not_backed_up(by_manifest: Drive) -> None:
    broken = replace(
        by_manifest, manifest_file="\\readme-first.txt", manifest_hash=None, backup_manifest=True
    )
    told = await ingest(broken, MemoryBlobStore())
    assert told.last["status"] == "ManifestFormatInvalid"
    assert not list(by_manifest.work.rglob("manifest.private"))


async def test_a_block_that_changed_on_the_way_while_stopping_is_sent_again_later(whole: Drive) -> None:
    store, running = MemoryBlobStore(), []

    def change(call: Call) -> str:
        if call.number == 40:
            running[0].command("stop")
        return "C" if 40 <= call.number < 60 else "."

    told = await ingest(
        whole, FaultyBlobStore(store, change), lambda event, uploader: running.append(uploader)
    )
    assert told.last["event"] == "interrupted"
    assert (await ingest(whole, store)).last["status"] == "Completed"


@pytest.mark.parametrize("kind", ["whole", "by_manifest"])
@pytest.mark.parametrize("limit", range(8))
async def test_a_drive_pulled_while_it_is_opened_is_no_drive_of_another_kind(
    request: pytest.FixtureRequest, kind: str, limit: int
) -> None:
    drive: Drive = request.getfixturevalue(kind)

    def pulled(source: BlockSource) -> BlockSource:
        gone = _Pulled(source, "")
        gone.limit = limit
        return gone

    told = await ingest(replace(drive, wrap=pulled), MemoryBlobStore())
    assert (told.last["event"], told.last["error"]) == ("paused", "DeviceUnavailable")


class _BackInTheRescueSweep:
    """Two places that cannot be read until both have been given up; then the drive turns out to be back."""

    def __init__(self, inner: BlockSource, places: tuple[int, int]) -> None:
        self._inner, self._places = inner, places
        self._tries: dict[int, int] = {}
        """Of a single sector, by thread."""
        self._both = threading.Event()
        self.size_bytes, self.sector_size = inner.size_bytes, inner.sector_size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """See BlockSource."""
        for place in self._places:
            if offset < place + 512 and offset + len(buffer) > place:
                self._refuse(place, len(buffer))
        if self._tries.get(threading.get_ident(), 0) >= 3:
            assert self._both.wait(10)
        self._inner.read_into(offset, buffer)

    def _refuse(self, place: int, length: int) -> None:
        if self._both.is_set():
            return
        if length == 512:
            thread = threading.get_ident()
            self._tries[thread] = self._tries.get(thread, 0) + 1
            if len(self._tries) == len(self._places) and min(self._tries.values()) >= 3:
                self._both.set()
        raise UnreadableSectors(place, 512, "I/O error")


async def test_two_files_that_meet_a_drive_which_was_away_for_a_moment_are_both_read_again(
    whole: Drive,
) -> None:
    places = (
        _place_of(whole, "session-1/video/harbour.mp4", 5 << 20),
        _place_of(whole, "session-1/video/harbour.mp4", 9 << 20),
    )
    told = await ingest(
        replace(whole, wrap=lambda source: _BackInTheRescueSweep(source, places)), MemoryBlobStore()
    )
    assert told.last["status"] == "Completed"


async def test_a_job_cancelled_while_the_drive_is_listed_has_books_that_balance(
    whole: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, running = asyncio.get_running_loop(), list[Uploader]()
    add, close = Journal.add_files, Journal.close_pending

    def cancel_and_add(journal: Journal, files: FoundFiles, disposition: Disposition) -> None:
        loop.call_soon_threadsafe(running[0].command, "cancel")
        time.sleep(0.1)
        add(journal, files, disposition)

    def close_slowly(journal: Journal, state: ItemState, status: BlobStatus, note: str) -> None:
        close(journal, state, status, note)
        time.sleep(0.2)

    monkeypatch.setattr(Journal, "add_files", cancel_and_add)
    monkeypatch.setattr(Journal, "close_pending", close_slowly)
    told = await ingest(whole, MemoryBlobStore(), lambda event, uploader: running.append(uploader))
    assert (told.last["event"], told.last["cancelled"]) == ("finished", True)
    assert told.last["tally"]["discovered"] == told.last["tally"]["skipped"]
    assert told.last["tally"]["discovered"][0] >= 2


@pytest.mark.parametrize("depth", ["manifest", "transit"])
async def test_what_a_manifest_promises_block_by_block_is_not_in_doubt_when_it_is_compared(
    by_manifest: Drive, monkeypatch: pytest.MonkeyPatch, depth: str
) -> None:
    monkeypatch.setattr(NtfsVolume, "is_log_open", True)
    drive = replace(by_manifest, treatment=Treatment(Verification.parse(depth)))
    told = await ingest(drive, MemoryBlobStore())
    assert told.named("opened")[0]["log_open"] is True
    assert ("detail" in told.last) is (depth == "transit")


async def test_a_log_has_its_name_on_the_disk_before_its_drive_is_finished(
    whole: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, fsync = list[tuple[str, bool]](), os.fsync

    def noted(descriptor: int) -> None:
        place = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        synced.append((place.name, bool(list(place.glob("*.xml")) if place.is_dir() else False)))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    await ingest(whole, MemoryBlobStore())
    assert ("logs", True) in synced
