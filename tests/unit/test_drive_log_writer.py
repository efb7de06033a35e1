"""Error and verbose logs, held against the samples of the public format."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from agent.formats.drivelog import DriveLogWriter, LogKind
from agent.formats.logreader import LogEntry, LogSummary, read_log
from agent.formats.manifest import HashedPath, ManifestBlob, ManifestParser
from agent.formats.records import (
    BlobRecord,
    ChunkRecord,
    SideFileRecord,
)
from agent.model.codes import (
    BlobStatus,
    BlobType,
    ChunkStatus,
    Disposition,
    DispositionStatus,
    DriveStatus,
    SideFileStatus,
)
from agent.model.identity import SerialNumber
from agent.model.verification import Depth, Verdict, Verified

DATA = Path(__file__).parents[1] / "data"
SCHEMA = etree.XMLSchema(etree.parse(DATA / "xsd/drive-log.xsd"))
SERIAL = SerialNumber.parse("SMPL0001A")


def sample_blobs() -> list[ManifestBlob]:
    parser = ManifestParser()
    return [*parser.feed((DATA / "manifest/import-account-key.xml").read_bytes()), *parser.close()]


PHOTO, README, DISK = sample_blobs()


def write(kind: LogKind, records: list[BlobRecord], status: DriveStatus | None = None) -> bytes:
    out = io.BytesIO()
    log = DriveLogWriter(out, SERIAL, kind)
    for record in records:
        log.blob(record)
    log.close(status or log.outcome)
    log.close(DriveStatus.INTERNAL_ERROR)
    SCHEMA.assertValid(etree.fromstring(out.getvalue()))
    return out.getvalue()


def shape(data: bytes) -> str:
    """Elements, attributes and texts, without the layout and the mark at the head."""
    root = etree.fromstring(data, etree.XMLParser(remove_blank_text=True, remove_pis=True))
    return etree.tostring(root, method="c14n").decode()


def with_chunk(record: BlobRecord, index: int, status: ChunkStatus, others: ChunkStatus) -> BlobRecord:
    chunks = tuple(
        replace(chunk, status=status if at == index else others) for at, chunk in enumerate(record.chunks)
    )
    return replace(record, status=BlobStatus.COMPLETED_WITH_ERRORS, chunks=chunks)


def cancelled(blob: ManifestBlob, status: BlobStatus) -> BlobRecord:
    """A blob that failed as a whole: all that was to be done for it stands as Cancelled."""
    return BlobRecord(
        status=status,
        blob_path=blob.blob_path,
        file_path=blob.file_path,
        length=blob.length,
        type=blob.type,
        chunks=chunk_records(blob, ChunkStatus.CANCELLED),
        disposition=blob.disposition,
        disposition_status=DispositionStatus.CANCELLED,
        metadata=side_record(blob.list_metadata, blob.metadata, SideFileStatus.CANCELLED),
        properties=side_record(blob.list_properties, blob.properties, SideFileStatus.CANCELLED),
        snapshot=blob.snapshot,
    )


def skipped(blob: ManifestBlob) -> BlobRecord:
    """A blob that was there already and, by its disposition, was left alone."""
    return BlobRecord(
        status=BlobStatus.COMPLETED,
        blob_path=blob.blob_path,
        file_path=blob.file_path,
        length=blob.length,
        type=blob.type,
        disposition=blob.disposition,
        disposition_status=DispositionStatus.SKIPPED,
    )


def completed(blob: ManifestBlob, outcome: DispositionStatus, blob_path: str | None = None) -> BlobRecord:
    """A blob of which everything arrived; ``blob_path`` is its new path if it was renamed."""
    return BlobRecord(
        status=BlobStatus.COMPLETED,
        blob_path=blob.blob_path if blob_path is None else blob_path,
        file_path=blob.file_path,
        length=blob.length,
        type=blob.type,
        chunks=chunk_records(blob, ChunkStatus.COMPLETED),
        disposition=blob.disposition,
        disposition_status=outcome,
        metadata=side_record(blob.list_metadata, blob.metadata, SideFileStatus.COMPLETED),
        properties=side_record(blob.list_properties, blob.properties, SideFileStatus.COMPLETED),
        snapshot=blob.snapshot,
    )


def chunk_records(blob: ManifestBlob, status: ChunkStatus) -> tuple[ChunkRecord, ...]:
    """All chunks of the blob with one status."""
    return tuple(ChunkRecord(c.offset, c.length, status, c.id, c.md5) for c in blob.chunks)


def side_record(
    global_path: HashedPath | None, path: HashedPath | None, status: SideFileStatus
) -> SideFileRecord | None:
    """None when the manifest names neither file."""
    if global_path is None and path is None:
        return None
    return SideFileRecord(status, global_path, path)


GOOD = [
    completed(PHOTO, DispositionStatus.CREATED),
    completed(README, DispositionStatus.CREATED),
    completed(DISK, DispositionStatus.OVERWRITTEN),
]
RENAMED = completed(PHOTO, DispositionStatus.RENAMED, "photos/2024/harbour (2).jpg")
BAD_METADATA = replace(
    GOOD[0],
    status=BlobStatus.COMPLETED_WITH_ERRORS,
    metadata=SideFileRecord(SideFileStatus.CORRUPTED, PHOTO.list_metadata),
)


@pytest.mark.parametrize(
    ("sample", "kind", "records"),
    [
        ("verbose-all-good", LogKind.VERBOSE, GOOD),
        ("verbose-renamed-and-skipped", LogKind.VERBOSE, [RENAMED, skipped(README)]),
        (
            "error-corrupted-block",
            LogKind.ERROR,
            [with_chunk(GOOD[0], 1, ChunkStatus.CORRUPTED, ChunkStatus.COMMITTED), GOOD[1], GOOD[2]],
        ),
        (
            "error-page-range-corrupted",
            LogKind.ERROR,
            [GOOD[0], with_chunk(GOOD[2], 1, ChunkStatus.CORRUPTED, ChunkStatus.COMPLETED)],
        ),
        ("error-metadata-corrupted", LogKind.ERROR, [BAD_METADATA]),
        ("error-file-not-found", LogKind.ERROR, [cancelled(PHOTO, BlobStatus.FILE_NOT_FOUND)]),
    ],
)
def test_a_log_is_the_sample(sample: str, kind: LogKind, records: list[BlobRecord]) -> None:
    assert shape(write(kind, records)) == shape((DATA / f"log/{sample}.xml").read_bytes())


def test_a_drive_that_failed_before_its_blobs_is_the_sample() -> None:
    written = write(LogKind.ERROR, [], DriveStatus.MANIFEST_CORRUPTED)
    assert shape(written) == shape((DATA / "log/error-drive-level-manifest-corrupted.xml").read_bytes())


def test_an_error_log_without_errors_is_written_and_holds_no_blob() -> None:
    items = list(read_log(io.BytesIO(write(LogKind.ERROR, GOOD))))
    assert [type(item) for item in items] == [LogSummary]
    assert isinstance(items[0], LogSummary)
    assert items[0].status == "Completed"


def test_renamed_and_skipped_blobs_stand_in_the_error_log_without_their_parts() -> None:
    items = list(read_log(io.BytesIO(write(LogKind.ERROR, [*GOOD, RENAMED, skipped(README)]))))
    records = [item.record for item in items if isinstance(item, LogEntry)]
    assert records == [replace(RENAMED, chunks=(), metadata=None, properties=None), skipped(README)]
    assert isinstance(items[-1], LogSummary)
    assert items[-1].status == "CompletedWithWarnings"


def test_one_failure_among_warnings_makes_the_drive_end_with_errors() -> None:
    items = list(read_log(io.BytesIO(write(LogKind.VERBOSE, [RENAMED, BAD_METADATA]))))
    assert isinstance(items[-1], LogSummary)
    assert items[-1].status == "CompletedWithErrors"


def test_a_log_that_was_not_closed_is_not_well_formed() -> None:
    out = io.BytesIO()
    DriveLogWriter(out, SERIAL, LogKind.ERROR).blob(BAD_METADATA)
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(out.getvalue())


def test_a_name_that_xml_cannot_carry_breaks_no_log_and_comes_back() -> None:
    name = "\\a\x00b\x01\ud800\uffff\r%41 100% <&>]]>"
    record = replace(GOOD[1], file_path=name, blob_path="c/x\x07</Blob>")
    entry, _ = read_log(io.BytesIO(write(LogKind.VERBOSE, [record])))
    assert isinstance(entry, LogEntry)
    assert entry.source == name
    assert entry.target == "c/x%07</Blob>"


def test_an_ordinary_name_is_written_as_it_is() -> None:
    data = write(LogKind.VERBOSE, [replace(GOOD[1], file_path="\\100% Höhe\\漢 (50%).txt")])
    assert "<FilePath>\\100% Höhe\\漢 (50%).txt</FilePath>" in data.decode()


def test_a_percent_in_a_log_of_others_is_read_literally() -> None:
    data = (DATA / "log/error-file-not-found.xml").read_bytes().replace(b"harbour.jpg<", b"%41.jpg<")
    entry, _ = read_log(io.BytesIO(data))
    assert isinstance(entry, LogEntry)
    assert entry.source == "\\session-1\\photos\\%41.jpg"


ntfs = st.text(
    st.sampled_from(
        "aB9 .%&<>'\"\\/é漢😀\x00\x01\x1f\x7f\x85\t\n\r\ud800\udc00\udfff\ufffe\uffff\ufdd0\u2028"
    ),
    max_size=30,
)
digests = st.binary(min_size=16, max_size=16)
hashed = st.builds(HashedPath, ntfs, digests)
side_files = st.none() | st.builds(
    SideFileRecord, st.sampled_from(SideFileStatus), st.none() | hashed, st.none() | hashed
)
sizes = st.integers(0, (1 << 63) - 1)


def chunks(ids: st.SearchStrategy[str | None]) -> st.SearchStrategy[tuple[ChunkRecord, ...]]:
    one = st.builds(ChunkRecord, sizes, sizes, st.sampled_from(ChunkStatus), ids, st.none() | digests)
    return st.lists(one, max_size=3).map(tuple)


def records(dispositions: bool) -> st.SearchStrategy[BlobRecord]:
    return st.builds(
        BlobRecord,
        status=st.sampled_from(BlobStatus),
        blob_path=st.text("aB9 .%&<>'\"é漢😀/", max_size=20),
        file_path=ntfs,
        length=sizes,
        type=st.sampled_from(BlobType),
        chunks=chunks(st.none() | st.sampled_from(["AAAA", "AQ=="])),
        disposition=st.sampled_from(Disposition) if dispositions else st.none(),
        disposition_status=st.sampled_from(DispositionStatus) if dispositions else st.none(),
        metadata=side_files,
        properties=side_files,
        snapshot=st.none() | st.just("2024-02-03T04:05:06.0070000Z"),
        last_modified=st.none() | st.just("2024-02-03T04:05:06Z"),
        verified=st.none()
        | st.builds(
            Verified,
            st.sampled_from(Depth),
            st.sampled_from(Verdict),
            st.none() | st.integers(0, (1 << 64) - 1),
            st.none() | st.binary(min_size=16, max_size=16),
            st.none() | st.binary(min_size=32, max_size=32),
        ),
    )


def without_page_ids(record: BlobRecord) -> BlobRecord:
    if record.type is BlobType.BLOCK:
        return record
    return replace(record, chunks=tuple(replace(chunk, id=None) for chunk in record.chunks))


@given(st.lists((records(True) | records(False)).map(without_page_ids), max_size=3))
def test_every_record_written_is_read_back_equal(given_records: list[BlobRecord]) -> None:
    items = list(read_log(io.BytesIO(write(LogKind.VERBOSE, given_records))))
    assert [item.record for item in items if isinstance(item, LogEntry)] == given_records


@given(records(True).map(without_page_ids))
def test_the_error_log_holds_no_completed_part_and_drops_no_other(record: BlobRecord) -> None:
    entries = [e for e in read_log(io.BytesIO(write(LogKind.ERROR, [record]))) if isinstance(e, LogEntry)]
    if not record.is_failed and not record.is_warning:
        assert entries == []
        return
    (entry,) = entries
    assert entry.record is not None
    assert entry.record.chunks == tuple(c for c in record.chunks if c.status != "Completed")
    for kept, given_side in (
        (entry.record.metadata, record.metadata),
        (entry.record.properties, record.properties),
    ):
        assert kept == (None if given_side is None or given_side.status == "Completed" else given_side)
