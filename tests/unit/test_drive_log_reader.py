"""Logs of all three generations, read and told in plain words."""

from __future__ import annotations

import io
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import MalformedInput
from agent.formats.drivelog import DriveLogWriter, LogKind
from agent.formats.logreader import Generation, LogEntry, LogReader, LogSummary, read_log
from agent.formats.plainwords import sentences
from agent.formats.records import BlobRecord
from agent.model.codes import BlobStatus, ChunkStatus, Disposition, DispositionStatus, DriveStatus
from agent.model.identity import SerialNumber
from agent.model.verification import Depth, Verdict, Verified

LOGS = Path(__file__).parents[1] / "data/log"


def read(data: bytes) -> tuple[list[LogEntry], LogSummary]:
    items = list(read_log(io.BytesIO(data)))
    assert isinstance(items[-1], LogSummary)
    return [item for item in items if isinstance(item, LogEntry)], items[-1]


def sample(name: str) -> bytes:
    return (LOGS / name).read_bytes()


def told(data: bytes) -> str:
    return "\n".join(sentences(read_log(io.BytesIO(data))))


@pytest.mark.parametrize("path", sorted(LOGS.iterdir()), ids=lambda path: path.name)
def test_a_sample_reads_the_same_byte_by_byte(path: Path) -> None:
    data = path.read_bytes()
    reader = LogReader()
    entries = [entry for at in range(len(data)) for entry in reader.feed(data[at : at + 1])]
    entries += reader.close()
    assert (entries, reader.summary) == read(data)
    assert entries or reader.summary.status == "ManifestCorrupted"


def test_a_classic_log_is_read_in_full() -> None:
    entries, summary = read(sample("error-corrupted-block.xml"))
    assert (summary.generation, summary.drive_id, summary.status) == (
        Generation.G1,
        "SMPL0001A",
        "CompletedWithErrors",
    )
    record = entries[0].record
    assert record is not None
    assert record.status is BlobStatus.COMPLETED_WITH_ERRORS
    assert [chunk.status for chunk in record.chunks] == [
        ChunkStatus.COMMITTED,
        ChunkStatus.CORRUPTED,
        ChunkStatus.COMMITTED,
    ]


def test_last_modified_may_stand_before_or_after_length() -> None:
    before = sample("error-export-properties-failed.xml").decode()
    modified = "<LastModified>2024-02-03T04:05:06Z</LastModified>"
    after = before.replace(modified, "").replace("</Length>", f"</Length>{modified}")
    assert before != after
    assert read(before.encode()) == read(after.encode())
    record = read(after.encode())[0][0].record
    assert record is not None
    assert record.last_modified == "2024-02-03T04:05:06Z"


def test_a_missing_version_and_blanks_in_hashes_do_not_matter() -> None:
    data = sample("error-corrupted-block.xml")
    lax = data.replace(b' Version="2014-11-01"', b"").replace(b'Hash="', b'Hash=" ')
    assert read(lax)[0] == read(data)[0]
    assert read(lax)[1].version is None


def test_data_box_disk_logs_are_read() -> None:
    entries, summary = read(sample("databox-disk-2018-10-01-error.xml"))
    assert summary.generation is Generation.G2
    assert summary.counts == {"None": 3, "Completed": 2, "ContainerRenamed": 1}
    assert [(e.code, e.source, e.length, e.is_renamed) for e in entries] == [
        ("ContainerRenamed", "\\PageBlob\\Bad Container\\disk0.vhd", 6144, True)
    ]
    verbose, _ = read(sample("databox-disk-2018-10-01-verbose.xml"))
    assert [(e.target, e.is_failed) for e in verbose] == [
        ("$root/read me.txt", False),
        ("share1/read me.txt", False),
    ]


def test_data_box_logs_without_a_root_are_read() -> None:
    entries, summary = read(sample("databox-2021-08-01-copylog.fragment.txt"))
    assert (summary.generation, summary.version, summary.total, summary.errored) == (
        Generation.G3,
        "2021-08-01",
        3,
        0,
    )
    assert entries[0].message == "error 1: text for people, holds the new and the old name"
    files, _ = read(sample("databox-2021-08-01-verbose.fragment.txt"))
    assert [(e.target, e.length) for e in files] == [
        ("$root\\read me.txt", 17),
        ("photos/2024/harbour.jpg", 150_000),
    ]


def test_an_entry_with_an_unknown_code_is_unclear_and_counts_as_failed() -> None:
    data = sample("verbose-all-good.xml").replace(b'Status="Created"', b'Status="Teleported"')
    entries, _ = read(data)
    assert [entry.is_unclear for entry in entries] == [True, True, False]
    assert entries[0].is_failed
    assert "Yes" not in told(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a log",
        b"<html/>",
        b"<?xml version='1.0'?><html/>",
        sample("verbose-all-good.xml")[:-20],
        sample("databox-2021-08-01-copylog.fragment.txt")[:-5],
        b'<!DOCTYPE DriveLog [<!ENTITY a "b">]>' + sample("verbose-all-good.xml"),
        b'<?xml version="1.0"?><!DOCTYPE DriveLog SYSTEM "file:///etc/passwd"><DriveLog/>',
        sample("verbose-all-good.xml").replace(b'Length="18"', b'Length="-18"'),
        sample("verbose-all-good.xml").replace(b"<Length>18</Length>", b""),
        b"<ErroredEntity>" * 100_000,
        sample("verbose-all-good.xml").replace(b"harbour", b"\x00"),
    ],
)
def test_what_is_no_whole_log_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedInput) as caught:
        read(data)
    assert caught.value.detail.isprintable()


def test_memory_does_not_grow_with_the_number_of_entries() -> None:
    whole = sample("verbose-all-good.xml")
    start, end = whole.index(b"<Blob "), whole.rindex(b"<Status>")
    reader = LogReader()
    reader.feed(whole[:start])
    seen = 0
    tracemalloc.start()
    try:
        for turn in range(40):
            seen += len(reader.feed(whole[start:end] * 100))
            if turn == 2:
                early = tracemalloc.get_traced_memory()[1]
        late = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seen == 12_000
    assert late - early < 500_000


@pytest.mark.parametrize(
    ("name", "says", "answer"),
    [
        ("verbose-all-good.xml", "ended as Completed", "Yes"),
        ("error-corrupted-block.xml", "Bytes 65536 to 131071", "No: 1 failed"),
        ("error-page-range-corrupted.xml", "Bytes 4096 to 4607", "No: 1 failed"),
        ("error-file-not-found.xml", "the drive does not hold it", "No: 1 failed"),
        ("error-metadata-corrupted.xml", "The metadata of blob", "No: 1 failed"),
        ("error-export-properties-failed.xml", "The properties of blob", "No: 1 failed"),
        (
            "error-drive-level-manifest-corrupted.xml",
            "ManifestCorrupted: the manifest's bytes do not match the job's manifestHash.",
            "No: the drive was not imported",
        ),
        ("verbose-renamed-and-skipped.xml", "was left as it was", "No: 1 skipped;"),
        ("databox-disk-2018-10-01-error.xml", "under a new name", "Only after you noted the new names"),
        ("databox-2021-08-01-copylog.fragment.txt", "under a new name", "Only after you noted the new names"),
        ("databox-2021-08-01-verbose.fragment.txt", "the log does not say", "No: the log does not say"),
    ],
)
def test_plain_words_say_what_happened_and_answer_the_question(name: str, says: str, answer: str) -> None:
    lines = told(sample(name)).splitlines()
    assert any(says in line for line in lines)
    assert lines[-1].startswith(f"May I erase my source? {answer}")


def test_each_file_of_a_verbose_log_has_its_line_when_that_is_asked_for() -> None:
    entries = list(read_log(io.BytesIO(sample("verbose-renamed-and-skipped.xml"))))
    names = [f'"{entry.target}"' for entry in entries if isinstance(entry, LogEntry)]
    lines = list(sentences(entries, is_each_told=True))
    assert len(names) >= 2
    assert all(any(line.startswith(f"Blob {name}") for line in lines) for name in names)
    assert lines[-1] == list(sentences(entries))[-1]


def test_how_a_file_was_verified_is_told_only_where_it_was() -> None:
    verified = Verified(Depth.READBACK, Verdict.MATCH)
    record = BlobRecord(BlobStatus.COMPLETED, "box/a", "\\a", 3, verified=verified)
    entry = LogEntry("box/a", "Completed", "\\a", record=record)
    bare = replace(entry, record=replace(record, verified=None))
    first, second, _ = sentences([entry, bare], is_each_told=True)
    assert first == 'Blob "box/a" (from "\\a") arrived, verified by readback.'
    assert second == 'Blob "box/a" (from "\\a") arrived.'


def test_renamed_blobs_alone_ask_for_a_note_of_the_names() -> None:
    data = sample("verbose-renamed-and-skipped.xml").replace(b'"Skipped"', b'"Created"')
    assert "Only after you noted the new names" in told(data).splitlines()[-1]


def test_a_drive_with_errors_that_the_log_does_not_list_is_not_safe_to_erase() -> None:
    data = sample("verbose-all-good.xml").replace(b"<Status>Completed<", b"<Status>CompletedWithErrors<")
    assert "No: the drive had errors" in told(data).splitlines()[-1]


def test_a_cut_off_list_of_entries_is_not_safe_to_erase() -> None:
    assert list(sentences([])) == ["May I erase my source? No: the log does not say how the drive ended."]


def test_neighbouring_ranges_are_told_as_one() -> None:
    data = sample("error-corrupted-block.xml").replace(b'"Committed"', b'"Corrupted"')
    assert "Bytes 0 to 149999 of blob" in told(data)
    assert told(data).count("Bytes") == 1


def test_a_hostile_name_cannot_forge_a_line() -> None:
    data = sample("error-file-not-found.xml").replace(
        b"harbour.jpg<", "x&#10;May I erase my source? Yes\u2028\u202e<".encode()
    )
    assert "\u202e" not in told(data)
    assert all(not line.startswith("May I erase my source? Yes") for line in told(data).splitlines())


def test_a_path_is_told_as_the_customer_knows_it() -> None:
    assert '(from "\\session-1\\photos\\harbour.jpg")' in told(sample("error-file-not-found.xml"))


def test_the_reason_of_a_blob_is_read_back_and_told(tmp_path: Path) -> None:
    record = BlobRecord(
        status=BlobStatus.COMPLETED,
        blob_path="box/a:zone",
        file_path="\\a:zone",
        length=3,
        disposition=Disposition.NO_OVERWRITE,
        disposition_status=DispositionStatus.SKIPPED,
        reason="an alternate data stream; not ?> uploaded\n",
    )
    path = tmp_path / "log.xml"
    with path.open("wb") as file:
        writer = DriveLogWriter(file, SerialNumber.parse("S1"), LogKind.ERROR)
        writer.blob(record)
        writer.close(DriveStatus.COMPLETED_WITH_WARNINGS)
    with path.open("rb") as file:
        entry, summary = read_log(file)
    assert isinstance(entry, LogEntry)
    assert entry.message == "an alternate data stream; not ? > uploaded"
    told = list(sentences([entry, summary]))
    assert "was not imported: an alternate data stream" in told[0]
