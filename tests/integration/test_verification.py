"""What a job asks to be verified, hashed and set on its blobs is done, or said not to be."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import AccountSasPermissions, BlobServiceClient, ResourceTypes, generate_account_sas
from lxml import etree

from agent.blobs.azure import AzureBlobStore
from agent.blobs.crc64 import crc64
from agent.blobs.faults import Call, FaultyBlobStore
from agent.blobs.memory import MemoryBlobStore
from agent.blobs.store import BlobStore, ETag
from agent.formats.log_values import LogEntry
from agent.formats.logreader import read_log
from agent.formats.records import BlobRecord
from agent.model.blobs import AccessTier, BlobName
from agent.model.codes import BlobStatus, BlobType, Disposition, SideFileStatus
from agent.model.identity import ContainerName
from agent.model.secrets import Secret
from agent.model.treatment import Treatment
from agent.model.verification import Depth, Verdict, Verification, Verified
from agent.transfer import patience
from agent.transfer.items import FileFacts, Item, ItemState, Outcome, Piece, SideFiles
from agent.transfer.journal import Journal
from agent.transfer.uploading import Uploader
from agent.volume.ntfs import StreamKind, StreamRef
from tests.kit import images
from tests.kit.faults import FaultySource
from tests.kit.moving import MIB, move
from tests.kit.transfer import Drive, Told, ingest

if TYPE_CHECKING:
    from fixtures.azurite import Azurite

FACTS = images.facts()
XSD = etree.XMLSchema(file=str(Path(__file__).parents[1] / "data/xsd/drive-log.xsd"))
VIDEO, DISK, LEDGER = "demo/video/harbour.mp4", "demo/vm/disk0.vhd", FACTS["corrupt"]["blob"]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.001)


@pytest.fixture
def whole(demo_image: Path, tmp_path: Path) -> Drive:
    return Drive(demo_image, tmp_path, block_bytes=256 * 1024)


def asking(drive: Drive, verify: str | None = None, **asked: Any) -> Drive:
    return replace(drive, treatment=Treatment(Verification.parse(verify) if verify else None, **asked))


def _log(drive: Drive, kind: str) -> Path:
    return max((drive.work / "logs").glob(f"*_{kind}.xml"), key=lambda path: path.stat().st_mtime_ns)


def _records(drive: Drive, kind: str = "verbose") -> dict[str, BlobRecord]:
    path = _log(drive, kind)
    XSD.assertValid(etree.parse(path))
    with path.open("rb") as file:
        entries = [entry for entry in read_log(file) if isinstance(entry, LogEntry)]
    return {entry.target: entry.record for entry in entries if entry.record is not None}


def _verified(drive: Drive) -> dict[str, Verified]:
    """By blob, of what was moved."""
    return {name: one.verified for name, one in _records(drive).items() if one.verified is not None}


def _counts(told: Told) -> dict[str, int]:
    return {part: counts[0] for part, counts in told.last["tally"].items()}


def _balance(told: Told) -> None:
    tally = told.last["tally"]
    for unit in (0, 1):
        assert sum(tally[part][unit] for part in ("done", "failed", "skipped")) == tally["discovered"][unit]


async def _content(store: BlobStore, name: str) -> bytes:
    return b"".join([part async for part in store.read(BlobName.parse(name))])


async def _names(store: BlobStore, *containers: str) -> list[str]:
    return [str(name) for text in containers async for name in store.names(ContainerName(text))]


class Lying(MemoryBlobStore):
    """Gives back other bytes than it was given, ``times`` times for each blob in ``about``."""

    def __init__(self, *about: str, times: int = 1 << 30) -> None:
        super().__init__()
        self._lies = dict.fromkeys(about, times)

    async def read(
        self, name: BlobName, *, offset: int = 0, etag: ETag | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The first byte is another while it lies."""
        lies = self._lies.get(str(name), 0) > 0
        if lies:
            self._lies[str(name)] -= 1
        async for piece in super().read(name, offset=offset, etag=etag):
            yield bytes([piece[0] ^ 1]) + piece[1:] if lies else piece
            lies = False


def counted(store: BlobStore, faults: Callable[[Call], str] = lambda call: ".") -> FaultyBlobStore:
    return FaultyBlobStore(store, faults)


def _calls(store: FaultyBlobStore, operation: str) -> Counter[str]:
    return Counter(call.subject for call in store.calls if call.operation == operation)


# --- checksums of whole files --------------------------------------------------------------------


async def test_the_verbose_log_tells_the_crc64_of_every_blob(by_manifest: Drive) -> None:
    store = MemoryBlobStore()
    told = await ingest(replace(by_manifest, block_bytes=256 * 1024), store)
    _balance(told)
    moved = {name: one for name, one in _verified(by_manifest).items() if one.verdict is Verdict.MATCH}
    assert {name: one.crc64 for name, one in moved.items()} == {
        name: crc64([await _content(store, name)]) for name in await _names(store, *FACTS["containers"])
    }
    assert DISK in moved
    assert {one.depth for one in moved.values()} == {Depth.MANIFEST}


async def test_files_of_all_kinds_have_their_crc64(nasty_image: Path, tmp_path: Path) -> None:
    drive, store = Drive(nasty_image, tmp_path, block_bytes=64 * 1024), MemoryBlobStore()
    _balance(await ingest(drive, store))
    found = {name: one.crc64 for name, one in _verified(drive).items()}
    blobs = await _names(store, "drive")
    assert found == {name: crc64([await _content(store, name)]) for name in blobs}
    assert found


async def test_hashes_that_the_job_asks_for_are_set_on_every_blob_and_told(by_manifest: Drive) -> None:
    drive = asking(replace(by_manifest, block_bytes=256 * 1024), content_md5=True, sha256=True)
    store = MemoryBlobStore()
    _balance(await ingest(drive, store))
    told, kinds = _verified(drive), set[BlobType]()
    for name in await _names(store, *FACTS["containers"]):
        content, found = await _content(store, name), await store.properties(BlobName.parse(name))
        kinds.add(found.type)
        md5, sha256 = hashlib.md5(content).digest(), hashlib.sha256(content).digest()
        assert found.attributes.content_md5 == md5
        assert found.attributes.metadata["sha256"] == sha256.hex()
        assert (told[name].content_md5, told[name].sha256) == (md5, sha256)
    assert kinds == set(BlobType)


async def test_fragmented_and_packed_files_are_hashed_in_their_order(
    nasty_image: Path, tmp_path: Path
) -> None:
    drive = asking(Drive(nasty_image, tmp_path, block_bytes=64 * 1024), sha256=True)
    store = MemoryBlobStore()
    _balance(await ingest(drive, store))
    names = await _names(store, "drive")
    for name in names:
        digest = hashlib.sha256(await _content(store, name)).hexdigest()
        assert (await store.properties(BlobName.parse(name))).attributes.metadata["sha256"] == digest
    assert names


@pytest.mark.usefixtures("_brief_pauses")
async def test_a_store_that_fails_at_times_does_not_change_a_hash(whole: Drive) -> None:
    drive, store = asking(whole, content_md5=True, sha256=True), MemoryBlobStore()
    weather = counted(store, lambda call: "LCU"[call.number // 40 % 3] if call.number % 40 == 0 else ".")
    told = await ingest(drive, weather)
    assert told.last["status"] == "Completed"
    for name in await _names(store, "drive"):
        attributes = (await store.properties(BlobName.parse(name))).attributes
        assert attributes.content_md5 == hashlib.md5(await _content(store, name)).digest()


async def test_a_sector_that_is_read_at_the_second_sweep_does_not_cost_the_hash(whole: Drive) -> None:
    image = whole.image.read_bytes()
    place = image.index(b"ftyp") // 512 * 512 + 64 * 512 if b"ftyp" in image else len(image) // 3
    drive = asking(
        replace(whole, wrap=lambda source: FaultySource(source, "R", block_bytes=512, start=place)),
        sha256=True,
    )
    store = MemoryBlobStore()
    told = await ingest(drive, store)
    _balance(told)
    assert told.last["status"] == "Completed"
    for name in await _names(store, "drive"):
        digest = hashlib.sha256(await _content(store, name)).hexdigest()
        assert (await store.properties(BlobName.parse(name))).attributes.metadata["sha256"] == digest


async def _paused_with_staged_blocks(drive: Drive, store: BlobStore, after: int = 5) -> None:
    blocks = 0

    def cut(call: Call) -> str:
        nonlocal blocks
        blocks += call.operation == "put_block"
        return "R" if call.operation == "put_block" and blocks > after else "."

    assert (await ingest(drive, counted(store, cut))).last["event"] == "paused"


async def test_a_resume_reads_staged_blocks_again_for_the_hash_and_does_not_send_them(whole: Drive) -> None:
    drive, store = asking(whole, sha256=True), MemoryBlobStore()
    await _paused_with_staged_blocks(drive, store)
    second = counted(store)
    assert (await ingest(drive, second)).last["status"] == "Completed"
    sizes = [size for _, size in images.hashes("demo").values() if size > drive.block_bytes]
    assert sum(_calls(second, "put_block").values()) == sum(-(-s // drive.block_bytes) for s in sizes) - 5
    for name in await _names(store, "drive"):
        digest = hashlib.sha256(await _content(store, name)).hexdigest()
        assert (await store.properties(BlobName.parse(name))).attributes.metadata["sha256"] == digest


async def test_a_crc64_that_a_resume_cannot_know_is_said_to_be_unknown(whole: Drive) -> None:
    store = MemoryBlobStore()
    await _paused_with_staged_blocks(whole, store)
    assert (await ingest(whole, store)).last["status"] == "Completed"
    told = _verified(whole)
    unknown = {name for name, one in told.items() if one.crc64 is None}
    assert 1 <= len(unknown) <= 5
    for name in told.keys() - unknown:
        assert told[name].crc64 == crc64([await _content(store, name)])
    assert {one.verdict for one in told.values()} == {Verdict.MATCH}


# --- depths ------------------------------------------------------------------------------------------


async def test_what_differs_from_the_manifest_is_counted_as_such(by_manifest: Drive) -> None:
    told = await ingest(by_manifest, MemoryBlobStore())
    assert _verified(by_manifest)[LEDGER] == Verified(Depth.MANIFEST, Verdict.DIFFER)
    counts = _counts(told)
    assert told.last["verified"] == {
        "transit": 0,
        "manifest": counts["done"],
        "readback": 0,
        "differ": 1,
        "unknown": 0,
    }


async def test_transit_takes_the_drives_word_for_what_the_manifest_says(by_manifest: Drive) -> None:
    drive, store = asking(by_manifest, "transit"), MemoryBlobStore()
    told = await ingest(drive, store)
    _balance(told)
    assert _counts(told)["failed"] == FACTS["counts"]["missing"]
    assert told.last["verified"]["transit"] == _counts(told)["done"]
    assert _verified(drive)[LEDGER].depth is Depth.TRANSIT
    assert LEDGER in await _names(store, *FACTS["containers"])


async def test_every_blob_is_read_back_and_matches(whole: Drive) -> None:
    drive, store = asking(whole, "readback"), counted(MemoryBlobStore())
    told = await ingest(drive, store)
    assert told.last["status"] == "Completed"
    assert told.last["verified"]["readback"] == _counts(told)["done"]
    assert set(_calls(store, "read")) == set(await _names(store.inner, "drive"))


async def test_page_blobs_are_read_back_with_their_holes(by_manifest: Drive) -> None:
    store = counted(MemoryBlobStore())
    drive = asking(by_manifest, "readback")
    _balance(await ingest(drive, store))
    assert _calls(store, "read")[DISK] == 1
    assert _verified(drive)[DISK].verdict is Verdict.MATCH


@pytest.mark.parametrize("name", [VIDEO, DISK, "demo/photos/2024/01/DSC_0001.jpg"])
async def test_a_blob_that_reads_back_as_other_bytes_fails_and_says_so(by_manifest: Drive, name: str) -> None:
    drive, store = asking(by_manifest, "readback"), Lying(name)
    told = await ingest(drive, store)
    _balance(told)
    assert told.last["status"] == "CompletedWithErrors"
    assert _counts(told)["failed"] == FACTS["counts"]["missing"] + FACTS["counts"]["corrupt"] + 1
    record = _records(drive, "error")[name]
    assert record.status is BlobStatus.BLOB_UNEXPECTED_CHANGE
    assert record.verified is not None
    assert record.verified.verdict is Verdict.DIFFER
    assert str(record.verified.crc64) in record.reason
    assert "left in its place" in record.reason
    assert told.last["verified"]["differ"] == 2


async def test_what_reads_back_wrong_once_and_right_the_second_time_matches(whole: Drive) -> None:
    drive = asking(whole, "readback")
    names = [f"drive/{path}" for path in images.hashes("demo") if path.endswith(".mp4")]
    assert names
    told = await ingest(drive, Lying(*names, times=1))
    assert told.last["status"] == "Completed"


async def test_a_credential_that_may_not_read_leaves_it_unknown_with_a_warning(whole: Drive) -> None:
    drive = asking(whole, "readback")
    store = counted(MemoryBlobStore(), lambda call: "R" if call.operation == "read" else ".")
    told = await ingest(drive, store)
    _balance(told)
    assert told.last["status"] == "CompletedWithWarnings"
    assert told.last["verified"]["unknown"] == _counts(told)["done"] == _counts(told)["discovered"]
    assert 1 <= sum(_calls(store, "read").values()) <= 4
    records = _records(drive, "error")
    assert len(records) == _counts(told)["done"]
    assert all(record.reason.startswith("not read back: ") for record in records.values())


async def test_a_blob_that_is_gone_when_it_is_read_back_has_failed(
    whole: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryBlobStore()

    async def vanish(name: BlobName, **at: Any) -> AsyncIterator[bytes]:
        if str(name).endswith("readme-first.txt"):
            store._blobs.pop(name, None)
        async for piece in MemoryBlobStore.read(store, name, **at):
            yield piece

    monkeypatch.setattr(store, "read", vanish)
    told = await ingest(asking(whole, "readback"), store)
    _balance(told)
    assert (told.last["status"], _counts(told)["failed"]) == ("CompletedWithErrors", 1)


@pytest.mark.usefixtures("_brief_pauses")
@pytest.mark.parametrize("fault", ["U", "L", "T"])
async def test_weather_while_reading_back_is_no_files_error(whole: Drive, fault: str) -> None:
    store = counted(
        MemoryBlobStore(), lambda call: fault if call.operation == "read" and call.number % 40 == 0 else "."
    )
    told = await ingest(asking(whole, "readback"), store)
    assert told.last["status"] == "Completed"
    assert told.last["verified"]["readback"] == _counts(told)["done"]


async def test_a_share_of_the_blobs_is_read_back_and_a_resume_chooses_the_same(whole: Drive) -> None:
    drive, first = asking(whole, "readback:20%"), counted(MemoryBlobStore())
    told = await ingest(drive, first)
    chosen = _calls(first, "read").keys()
    assert 0.1 < len(chosen) / _counts(told)["done"] < 0.3
    assert told.last["verified"]["readback"] == len(chosen)
    assert told.last["verified"]["transit"] == _counts(told)["done"] - len(chosen)
    work = drive.work / "again"
    second = counted(first.inner)
    assert (await ingest(replace(drive, work=work), second)).last["status"] == "Completed"
    assert _calls(second, "read").keys() == chosen


async def test_with_the_journal_lost_what_is_there_is_read_on_both_sides_and_not_sent_again(
    whole: Drive,
) -> None:
    drive, store = asking(whole, "readback", sha256=True), MemoryBlobStore()
    await ingest(drive, store)
    for path in drive.work.glob("journal.sqlite*"):
        path.unlink()
    second = counted(store)
    told = await ingest(drive, second)
    assert told.last["status"] == "Completed"
    assert told.last["verified"]["readback"] == _counts(told)["done"]
    assert not _calls(second, "put_block")
    assert not _calls(second, "put_block_list")


async def test_with_the_journal_lost_and_no_reading_back_hashes_are_taken_from_the_blobs(
    whole: Drive,
) -> None:
    drive, store = asking(whole, content_md5=True, sha256=True), MemoryBlobStore()
    await ingest(drive, store)
    before = _verified(drive)
    for path in drive.work.glob("journal.sqlite*"):
        path.unlink()
    assert (await ingest(drive, store)).last["status"] == "Completed"
    after = _verified(drive)
    assert {name: (one.content_md5, one.sha256) for name, one in after.items()} == {
        name: (one.content_md5, one.sha256) for name, one in before.items()
    }


async def test_a_transfer_that_is_stopped_while_it_reads_back_does_so_when_it_goes_on(whole: Drive) -> None:
    drive, running = asking(whole, "readback"), list[Uploader]()
    reads = 0

    def stop(call: Call) -> str:
        nonlocal reads
        reads += call.operation == "read"
        if reads == 5:
            running[0].command("stop")
        return "."

    inner = MemoryBlobStore()
    told = await ingest(drive, counted(inner, stop), lambda event, uploader: running.append(uploader))
    assert told.last["event"] == "interrupted"
    told = await ingest(drive, inner)
    assert told.last["status"] == "Completed"
    assert told.last["verified"]["readback"] == _counts(told)["done"]


async def test_a_job_cancelled_while_it_reads_back_balances(whole: Drive) -> None:
    running = list[Uploader]()

    def cancel(call: Call) -> str:
        if call.operation == "read":
            running[0].command("cancel")
        return "."

    store = counted(MemoryBlobStore(), cancel)
    told = await ingest(asking(whole, "readback"), store, lambda event, uploader: running.append(uploader))
    assert told.last["event"] == "finished"
    _balance(told)


async def test_a_drive_is_verified_hashed_and_tiered_on_the_emulator_of_the_service(
    by_manifest: Drive, azurite: Azurite
) -> None:
    """With all that the wire carries: Content-MD5 instead of the CRC-64 on small blobs, tiers, downloads."""
    _empty(azurite)
    drive = asking(
        replace(by_manifest, block_bytes=1 << 20, job="on-azurite"),
        "readback",
        content_md5=True,
        sha256=True,
        tier=AccessTier.COOL,
    )
    store = AzureBlobStore.connect(azurite.endpoint, Secret(azurite.key))
    try:
        told = await ingest(drive, store)
        _balance(told)
        assert told.last["verified"]["readback"] == _counts(told)["done"] > 200
        found = (await store.properties(BlobName.parse(VIDEO))).attributes
        content = await _content(store, VIDEO)
    finally:
        await store.close()
    assert found.tier is AccessTier.COOL
    assert found.content_md5 == hashlib.md5(content).digest()
    assert found.metadata["sha256"] == hashlib.sha256(content).hexdigest()
    assert found.metadata["originalname"] == "\\session-1\\video\\harbour.mp4"


def _empty(azurite: Azurite) -> None:
    """The emulator serves all tests of a run, and others ingest the same drive into it."""
    with BlobServiceClient(azurite.endpoint, azurite.key, api_version="2024-11-04") as service:
        for container in FACTS["containers"]:
            with suppress(ResourceNotFoundError):
                service.delete_container(container)


async def test_a_sas_that_may_only_write_leaves_every_blob_unknown(whole: Drive, azurite: Azurite) -> None:
    for container in ("drive", "waimportexport"):
        owner = AzureBlobStore.connect(azurite.endpoint, Secret(azurite.key))
        await owner.ensure_container(ContainerName(container))
        await owner.close()
    sas = generate_account_sas(
        account_name=azurite.endpoint.rpartition("/")[2],
        account_key=azurite.key,
        resource_types=ResourceTypes(object=True, container=True),
        permission=AccountSasPermissions(write=True, create=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    # Blobs of one request only: whether a larger one is there cannot be asked without the right to read.
    drive = asking(replace(whole, block_bytes=16 << 20, disposition=Disposition.OVERWRITE), "readback")
    store = AzureBlobStore.connect(azurite.endpoint, Secret(sas))
    try:
        told = await ingest(drive, store)
    finally:
        await store.close()
    assert told.last["status"] == "CompletedWithWarnings"
    assert told.last["verified"]["unknown"] == _counts(told)["done"]
    _balance(told)


# --- what a properties file promises -------------------------------------------------------------------


def _file(seq: int, size: int) -> tuple[Item, bytes]:
    data = bytes([seq]) * size
    place = (seq + 1) << 30
    kind, extents = (StreamKind.PLAIN, ((place, size),)) if size else (StreamKind.RESIDENT, ())
    ref = StreamRef(seq, 1, "", kind, size, size, 0, extents, None, place)
    pieces = tuple(
        Piece(n, at, len(data[at : at + MIB]), None, hashlib.md5(data[at : at + MIB]).digest())
        for n, at in enumerate(range(0, size, MIB))
    )
    item = Item(
        seq, f"\\f{seq}", f"box/f{seq}", BlobType.BLOCK, size, Disposition.OVERWRITE, ref, pieces=pieces
    )
    return item, data


async def _with_promise(
    folder: Path, store: BlobStore, size: int, promised: bytes, treatment: Treatment | None = None
) -> Outcome:
    item, data = _file(1, size)

    def prepare(journal: Journal) -> None:
        number = journal.side_id("\\p.xml", b"\0" * 16, "properties")
        journal.record_side(number, SideFileStatus.COMPLETED, {"content_md5": promised.hex()})
        assert number == 1

    promising = item._replace(side=SideFiles(properties=1))
    (outcome,) = await move(folder, [promising], {1: data}, store, treatment or Treatment(), prepare=prepare)
    return outcome


@pytest.mark.parametrize("size", [0, 1000, 5 * MIB])
async def test_a_file_that_is_what_its_properties_promise_arrives_with_their_md5(
    tmp_path: Path, size: int
) -> None:
    store, promised = MemoryBlobStore(), hashlib.md5(b"\1" * size).digest()
    outcome = await _with_promise(tmp_path, store, size, promised)
    assert outcome.state is ItemState.DONE
    assert outcome.verified is not None
    assert outcome.verified.content_md5 == promised
    assert (await store.properties(BlobName.parse("box/f1"))).attributes.content_md5 == promised


@pytest.mark.parametrize("size", [0, 1000, 5 * MIB])
async def test_a_file_that_is_not_what_its_properties_promise_is_not_committed(
    tmp_path: Path, size: int
) -> None:
    store = MemoryBlobStore()
    outcome = await _with_promise(tmp_path, store, size, b"\7" * 16, Treatment(sha256=True))
    assert (outcome.state, outcome.blob_status) == (ItemState.FAILED, BlobStatus.COMPLETED_WITH_ERRORS)
    assert outcome.verified is not None
    assert outcome.verified.verdict is Verdict.DIFFER
    assert outcome.note.endswith(f"its properties file says {'07' * 16}")
    assert await _names(store, "box") == []


@pytest.mark.parametrize("holes", [(), (1,), (0, 3), (0, 1, 2, 3)], ids=str)
@pytest.mark.parametrize("is_kept", [True, False])
async def test_a_page_blob_is_hashed_with_its_holes_and_held_to_its_promise(
    tmp_path: Path, holes: tuple[int, ...], is_kept: bool
) -> None:
    store, (item, data) = MemoryBlobStore(), _file(1, 4 * MIB)
    assert item.pieces is not None
    pieces = tuple(piece for piece in item.pieces if piece.ordinal not in holes)
    pieces = tuple(piece._replace(ordinal=number) for number, piece in enumerate(pieces))
    content = b"".join(bytes(MIB) if number in holes else b"\1" * MIB for number in range(4))
    promised = hashlib.md5(content).digest() if is_kept else b"\7" * 16

    def prepare(journal: Journal) -> None:
        journal.side_id("\\p.xml", b"\0" * 16, "properties")
        journal.record_side(1, SideFileStatus.COMPLETED, {"content_md5": promised.hex()})

    disk = item._replace(type=BlobType.PAGE, pieces=pieces, side=SideFiles(properties=1))
    asked = Treatment(sha256=True)
    (outcome,) = await move(tmp_path, [disk], {1: data}, store, asked, prepare=prepare)
    found = await store.properties(BlobName.parse("box/f1"))
    assert (found.type, await _content(store, "box/f1")) == (BlobType.PAGE, content)
    assert outcome.verified is not None
    assert outcome.verified.content_md5 == hashlib.md5(content).digest()
    assert outcome.verified.sha256 == hashlib.sha256(content).digest()
    assert outcome.verified.verdict is (Verdict.MATCH if is_kept else Verdict.DIFFER)
    assert outcome.state is (ItemState.DONE if is_kept else ItemState.FAILED)
    assert found.attributes.content_md5 == (promised if is_kept else None)
    assert ("sha256" in found.attributes.metadata) is is_kept


# --- what is set on blobs ----------------------------------------------------------------------------------


async def test_the_access_tier_is_set_on_all_block_blobs_and_on_no_page_blob(by_manifest: Drive) -> None:
    drive = asking(replace(by_manifest, block_bytes=256 * 1024), tier=AccessTier.COOL)
    store = MemoryBlobStore()
    _balance(await ingest(drive, store))
    tiers = Counter()
    for name in await _names(store, *FACTS["containers"]):
        found = await store.properties(BlobName.parse(name))
        tiers[found.type, found.attributes.tier] += 1
    assert tiers.keys() == {(BlobType.BLOCK, AccessTier.COOL), (BlobType.PAGE, None)}


async def test_times_and_attributes_come_with_each_file(whole: Drive) -> None:
    store = MemoryBlobStore()
    await ingest(whole, store)
    found = (await store.properties(BlobName.parse("drive/readme-first.txt"))).attributes.metadata
    assert found.keys() == {"ingestid", "mtime", "ctime", "btime", "ntfsattributes"}
    assert all(found[key].endswith("Z") and found[key][10] == "T" for key in ("mtime", "ctime", "btime"))
    assert int(found["ntfsattributes"], 16) & 0x20


async def test_a_job_may_do_without_them(whole: Drive) -> None:
    store = MemoryBlobStore()
    await ingest(asking(whole, file_facts=False), store)
    found = (await store.properties(BlobName.parse("drive/readme-first.txt"))).attributes.metadata
    assert found.keys() == {"ingestid", "mtime"}


async def test_the_original_name_comes_with_a_blob_of_another(by_manifest: Drive) -> None:
    store = MemoryBlobStore()
    await ingest(by_manifest, store)
    found = (await store.properties(BlobName.parse(VIDEO))).attributes.metadata
    assert found["originalname"] == "\\session-1\\video\\harbour.mp4"


async def _attributes_of(tmp_path: Path, item: Item, data: bytes) -> tuple[dict[str, str], Outcome]:
    store = MemoryBlobStore()
    (outcome,) = await move(tmp_path, [item], {item.seq: data}, store)
    found = (await store.properties(BlobName.parse(outcome.final_blob))).attributes
    return dict(found.metadata), outcome


async def test_what_does_not_fit_into_metadata_is_left_out_largest_first_and_told(tmp_path: Path) -> None:
    item, data = _file(1, 10)
    facts = FileFacts(132_000_000_000_000_001, 0, 133_000_000_000_000_000, 0x22)
    long = item._replace(file_path="\\" + "漢" * 1000, facts=facts)
    metadata, outcome = await _attributes_of(tmp_path, long, data)
    assert metadata.keys() == {"ingestid", "mtime", "btime", "ntfsattributes"}
    assert metadata["mtime"] == "2019-04-17T18:40:00.0000001Z"
    assert metadata["ntfsattributes"] == "0x22"
    assert outcome.state is ItemState.DONE
    assert outcome.note == "metadata originalname left out: too long"


async def test_a_name_with_half_a_character_is_told_by_the_blobs_own_name_alone(tmp_path: Path) -> None:
    item, data = _file(1, 10)
    metadata, outcome = await _attributes_of(tmp_path, item._replace(file_path="\\a\ud800"), data)
    assert metadata.keys() == {"ingestid"}
    assert outcome.state is ItemState.DONE
