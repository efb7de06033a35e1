"""A drive log told in plain words, for the customer and the technician."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agent.errors import DriveError, catalogue
from agent.formats import carry
from agent.formats.log_values import LogEntry, LogSummary
from agent.formats.records import BlobRecord, ChunkRecord, SideFileRecord
from agent.model.codes import BlobStatus, ChunkStatus, DispositionStatus, DriveStatus, SideFileStatus
from agent.model.verification import Verdict

MAX_RANGES_TOLD = 8
QUESTION = "May I erase my source?"
"""Begins the last line; its answer follows."""
MAX_NAME_TOLD = 1024

_BLOB: dict[BlobStatus, str] = {
    BlobStatus.COMPLETED_WITH_ERRORS: "is incomplete",
    BlobStatus.FILE_NAME_INVALID: "was not imported, because its name is not allowed; ship it under another",
    BlobStatus.FILE_NAME_TOO_LONG: "was not imported, because its name is too long; ship it under another",
    BlobStatus.FILE_NOT_FOUND: "was not imported, because the drive does not hold it; ship it again",
    BlobStatus.FILE_ACCESS_DENIED: "was not imported, because it could not be opened; ship it again",
    BlobStatus.BLOB_REQUEST_FAILED: "was not imported, because the service refused a request; try again",
    BlobStatus.BLOB_REQUEST_FORBIDDEN: "was not imported, because access was refused; renew the credential",
    BlobStatus.RENAME_FAILED: "was not imported, because no free name was found; ship it under another",
    BlobStatus.BLOB_UNEXPECTED_CHANGE: "changed in the service while it was copied; copy it again",
    BlobStatus.LEASE_PRESENT: "was not imported, because somebody holds a lease on the blob; "
    "release the lease and ship the file again",
    BlobStatus.IO_FAILED: "was not imported, because reading or sending it failed; ship it again",
    BlobStatus.FAILED: "was not imported, for a reason the log does not tell; ship it again",
}
_CHUNK: dict[ChunkStatus, str] = {
    ChunkStatus.COMMITTED: "arrived, but other parts of the blob are missing",
    ChunkStatus.UNCOMMITTED: "were sent, but are not part of the blob",
    ChunkStatus.CORRUPTED: "do not match the hash in the drive manifest: they are not what was prepared",
    ChunkStatus.FILE_UNEXPECTED_END: "are missing: the file on the drive ends before them",
    ChunkStatus.BLOB_UNEXPECTED_END: "are missing: the blob ends before them",
    ChunkStatus.BLOB_REQUEST_FAILED: "are missing: the service refused the request",
    ChunkStatus.IO_FAILED: "are missing: reading or sending them failed",
    ChunkStatus.FAILED: "are missing, for a reason the log does not tell",
    ChunkStatus.CANCELLED: "were not tried",
}
_SIDE: dict[SideFileStatus, str] = {
    SideFileStatus.FILE_NAME_INVALID: "the file's name is not allowed",
    SideFileStatus.FILE_NAME_TOO_LONG: "the file's name is too long",
    SideFileStatus.FILE_NOT_FOUND: "the drive does not hold the file",
    SideFileStatus.FILE_ACCESS_DENIED: "the file could not be opened",
    SideFileStatus.CORRUPTED: "the file does not match its hash in the drive manifest",
    SideFileStatus.XML_READ_FAILED: "the file does not follow its format",
    SideFileStatus.XML_WRITE_FAILED: "the file could not be written",
    SideFileStatus.BLOB_REQUEST_FAILED: "the service refused the request",
    SideFileStatus.IO_FAILED: "reading or sending failed",
    SideFileStatus.FAILED: "for a reason the log does not tell",
    SideFileStatus.CANCELLED: "an earlier failure stopped it",
}
_MEANING = {
    str(error.status): (error.__doc__ or "").partition("\n")[0].rstrip(".")
    for error in reversed(catalogue())
    if issubclass(error, DriveError) and error is not DriveError
}
"""Statuses of drives that ended by an error of their own, as its documentation says what it is."""
_WITH_ERRORS = frozenset({str(DriveStatus.COMPLETED_WITH_ERRORS), "Failed"})
_LOST = frozenset(ChunkStatus) - {ChunkStatus.COMPLETED, ChunkStatus.COMMITTED, ChunkStatus.CANCELLED}


def sentences(entries: Iterable[LogEntry | LogSummary], *, is_each_told: bool = False) -> Iterator[str]:
    """One line for each thing that happened, and last whether the source may be erased.

    Takes what ``read_log`` gives. Without a summary, as from a log that was cut off, the answer is no.
    With ``is_each_told`` what arrived as it should has its line, too: a verbose log lists it.
    """
    failed = skipped = renamed = unverified = 0
    summary: LogSummary | None = None
    for entry in entries:
        if isinstance(entry, LogSummary):
            summary = entry
            continue
        failed += entry.is_failed
        skipped += entry.is_skipped
        renamed += entry.is_renamed
        unverified += entry.is_unverified
        lines = list(_entry(entry))
        yield from lines or ([_arrived(entry)] if is_each_told else ())
    if summary is not None:
        yield _drive(summary)
    yield _verdict(summary, failed, skipped, renamed, unverified)


def _arrived(entry: LogEntry) -> str:
    verified = entry.record.verified if entry.record is not None else None
    how = ""
    if verified is not None and verified.verdict is Verdict.MATCH:
        how = f", verified by {verified.depth}"
    return f"Blob {_shown(entry.target)}{_origin(entry)} arrived{how}."


def _origin(entry: LogEntry) -> str:
    return f" (from {_shown(entry.source)})" if entry.source else ""


def _entry(entry: LogEntry) -> Iterator[str]:
    name, origin = _shown(entry.target), _origin(entry)
    if entry.is_skipped and entry.message:
        yield f"Blob {name}{origin} was not imported: {_one_line(entry.message)}."
    elif entry.is_skipped:
        yield (
            f"Blob {name}{origin} was left as it was, because a blob of that name existed already; "
            "the drive's file was not imported, and the two were not compared."
        )
    elif entry.is_renamed:
        what = f"Blob {name}{origin} arrived under a new name, because its own was taken or not allowed"
        yield f"{what}: {_one_line(entry.message)}." if entry.message else f"{what}."
    elif entry.is_unverified:
        why = f": {_one_line(entry.message)}" if entry.message else ""
        yield f"Blob {name}{origin} arrived, but was not verified as the job asked{why}."
    elif entry.is_failed and entry.record is not None:
        yield from _failed_blob(name, origin, entry.record)
        if entry.message and entry.record.status is not BlobStatus.FAILED:
            yield f"The station says of it: {_one_line(entry.message)}."
    elif entry.is_failed:
        said = _one_line(entry.message) if entry.message else "the log tells no more"
        yield f"Blob {name}{origin} failed with {_shown(entry.code)}: {said}."


def _failed_blob(name: str, origin: str, record: BlobRecord) -> Iterator[str]:
    if record.status is BlobStatus.FAILED and record.reason:
        yield f"Blob {name}{origin} was not imported: {_one_line(record.reason)}."
    elif record.status is BlobStatus.COMPLETED_WITH_ERRORS and not _has_lost(record):
        yield f"Blob {name}{origin} holds the file's content, but not all that belongs to it."
    elif record.status is BlobStatus.COMPLETED_WITH_ERRORS and _is_held_back(record):
        yield f"Blob {name}{origin} was not made, because not all of the file arrived sound."
    else:
        yield f"Blob {name}{origin} {_BLOB.get(record.status, 'is incomplete')}."
    if record.status in (BlobStatus.COMPLETED, BlobStatus.COMPLETED_WITH_ERRORS):
        yield from _ranges(name, record.chunks)
    for what, side in (("metadata", record.metadata), ("properties", record.properties)):
        if side is not None and side.status not in (SideFileStatus.COMPLETED, SideFileStatus.CANCELLED):
            yield f"The {what} of blob {name} were not set: {_SIDE[side.status]}{_side_name(side)}."


def _is_held_back(record: BlobRecord) -> bool:
    return record.disposition_status is DispositionStatus.CANCELLED


def _has_lost(record: BlobRecord) -> bool:
    return any(chunk.status is not ChunkStatus.COMPLETED for chunk in record.chunks)


def _side_name(side: SideFileRecord) -> str:
    files = [_shown(file.path) for file in (side.global_path, side.path) if file is not None]
    return f" ({', '.join(files)})" if files else ""


def _ranges(name: str, chunks: tuple[ChunkRecord, ...]) -> Iterator[str]:
    for told, (start, end, status) in enumerate(_runs(chunks), 1):
        if told > MAX_RANGES_TOLD:
            yield f"More ranges of blob {name} are in the log."
            return
        advice = "; ship the file again" if status in _LOST else ""
        yield f"Bytes {start} to {end - 1} of blob {name} {_CHUNK[status]}{advice}."


def _runs(chunks: tuple[ChunkRecord, ...]) -> Iterator[tuple[int, int, ChunkStatus]]:
    """Neighbours of one status as one range, [start, end); empty and completed ones left out."""
    run: tuple[int, int, ChunkStatus] | None = None
    for chunk in chunks:
        if chunk.status is ChunkStatus.COMPLETED or not chunk.length:
            continue
        if run is not None and run[1] == chunk.offset and run[2] is chunk.status:
            run = (run[0], chunk.offset + chunk.length, chunk.status)
            continue
        if run is not None:
            yield run
        run = (chunk.offset, chunk.offset + chunk.length, chunk.status)
    if run is not None:
        yield run


def _drive(summary: LogSummary) -> str:
    drive = _shown(summary.drive_id) if summary.drive_id else "of this log"
    counted = "" if summary.total is None else f", {summary.total} files, {summary.errored or 0} with errors"
    meaning = _MEANING.get(summary.status or "", "")
    why = f": {meaning[0].lower()}{meaning[1:]}" if meaning else ""
    return f"Drive {drive} ended as {summary.status or 'the log does not say'}{counted}{why}."


def _verdict(summary: LogSummary | None, failed: int, skipped: int, renamed: int, unverified: int) -> str:
    question = f"{QUESTION} "
    if summary is None or summary.status is None:
        return question + "No: the log does not say how the drive ended."
    ended = {DriveStatus.COMPLETED, DriveStatus.COMPLETED_WITH_WARNINGS, DriveStatus.COMPLETED_WITH_ERRORS}
    if summary.status not in {*ended, "Succeeded", "Failed"}:
        return question + f"No: the drive was not imported ({_shown(summary.status)})."
    if failed or skipped:
        missing = [f"{count} {what}" for count, what in ((failed, "failed"), (skipped, "skipped")) if count]
        return question + f"No: {' and '.join(missing)}; the source may hold the only copy of them."
    if summary.errored or (summary.status in _WITH_ERRORS and not _only_renames(summary)):
        return question + "No: the drive had errors that this log does not list."
    if unverified:
        return question + f"No: {unverified} arrived, but were not verified as the job asked."
    if renamed:
        return (
            question + f"Only after you noted the new names: everything in this log arrived, {renamed} under "
            "another name than asked for."
        )
    if summary.status not in (DriveStatus.COMPLETED, "Succeeded"):
        return question + "No: the drive had warnings that this log does not list; `job show` tells them."
    return (
        question + "Yes, as far as the drive is concerned: everything that was to be imported from it "
        "arrived. What was not on the drive, or not in its manifest if it has one, is not covered."
    )


def _only_renames(summary: LogSummary) -> bool:
    """Data Box counts a rename among the errors; whether that explains all of them."""
    told = {code for code, count in summary.counts.items() if count} - {"None", "Completed"}
    return bool(told) and all(code.endswith("Renamed") for code in told)


def _one_line(text: str) -> str:
    return _shown(" ".join(text.split()).rstrip("."))[1:-1]


def _shown(text: str) -> str:
    """Quoted, cut, and without a character that could forge a line or turn its direction."""
    cut = text if len(text) <= MAX_NAME_TOLD else text[:MAX_NAME_TOLD] + "..."
    return '"' + "".join(ch if ch.isprintable() else carry.percent(ch) for ch in cut) + '"'
