"""The logs of a drive: written from the journal to the spool, then put into the store."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from agent.blobs.crc64 import crc64
from agent.blobs.directory_layout import publish
from agent.blobs.store import BlobStore
from agent.errors import StateUnusable
from agent.formats.drivelog import DriveLogWriter, LogKind
from agent.formats.lognames import ReportKind, log_blob_name
from agent.formats.manifest_values import HashedPath
from agent.formats.records import BlobRecord, ChunkRecord, SideFileRecord
from agent.model.blobs import BlobAttributes, BlobName
from agent.model.codes import BlobType, ChunkStatus, DispositionStatus, DriveStatus, SideFileStatus
from agent.model.identity import ContainerName, JobName, SerialNumber
from agent.transfer.items import Item, ItemState, Outcome, block_bytes_for, pieces_of
from agent.transfer.journal import Journal
from agent.transfer.sender import Sender

UPLOAD_BYTES = 4 * 1024 * 1024
_XML = BlobAttributes(content_type="application/xml")
_TEXT = BlobAttributes(content_type="text/plain")


@dataclass(frozen=True, slots=True)
class Report:
    """A report on the spool, and where it goes in the store."""

    kind: ReportKind
    path: Path
    blob: BlobName


class Reporter:
    """Writes the reports of one drive. All methods but ``upload`` block; call them in a thread."""

    def __init__(
        self,
        job: JobName,
        serial: SerialNumber,
        container: ContainerName,
        spool: Path,
        block_bytes: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        folder: str = "",
    ) -> None:
        """``folder`` in the container is empty, or ends with a slash.

        Raises StateUnusable when the spool cannot be made.
        """
        self._job, self._serial, self._container, self._spool = job, serial, container, spool
        self._block_bytes = block_bytes
        self._now = now
        self._folder = folder
        try:
            spool.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StateUnusable(f"the log spool {spool} cannot be made: {error.strerror}") from None

    def log(self, kind: ReportKind, journal: Journal | None, status: DriveStatus) -> Report:
        """An error or verbose log; ``journal`` None when the drive failed before it had any blobs."""

        def write(file: BinaryIO) -> None:
            writer = DriveLogWriter(file, self._serial, LogKind(kind.value))
            for record in self._records(journal, kind) if journal is not None else ():
                writer.blob(record)
            writer.close(status)

        return self._write(kind, write)

    def manifest(self, source: Path) -> Report:
        """The drive manifest without its credential."""
        from agent.formats.manifest_writer import redact  # brings a parser along

        def write(file: BinaryIO) -> None:
            with source.open("rb") as original:
                redact(iter(lambda: original.read(UPLOAD_BYTES), b""), file)

        return self._write(ReportKind.MANIFEST, write)

    def mapfile(self, text: str, lost: Iterable[str]) -> Report:
        """The reader's map of bad sectors, with a comment for each file that lost bytes to them."""

        def write(file: BinaryIO) -> None:
            head, _, rest = text.partition("\n")
            file.write(f"{head}\n".encode())
            for line in lost:
                file.write(f"# lost: {line}\n".encode("ascii"))
            file.write(rest.encode())

        return self._write(ReportKind.MAPFILE, write)

    def _write(self, kind: ReportKind, write: Callable[[BinaryIO], None]) -> Report:
        name = log_blob_name(self._job, self._serial, self._now(), kind)
        blob = BlobName.of(self._container, self._folder + name)
        path = self._spool / blob.path.rpartition("/")[2]
        unfinished = path.with_name(path.name + ".part")
        try:
            with unfinished.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            # A log that cannot go into the store is kept nowhere else: its name is to outlive a power cut.
            publish(unfinished, path)
        except OSError:
            # What is no log yet must not keep the room that the next try needs.
            unfinished.unlink(missing_ok=True)
            raise
        return Report(kind, path, blob)

    def _records(self, journal: Journal, kind: ReportKind) -> Iterator[BlobRecord]:
        for item, outcome in journal.outcomes(findings=kind is ReportKind.ERROR):
            yield self._record(journal, item, outcome)

    def _record(self, journal: Journal, item: Item, outcome: Outcome) -> BlobRecord:
        side = item.side
        return BlobRecord(
            status=outcome.blob_status,
            blob_path=outcome.final_blob,
            file_path=item.file_path,
            length=item.length,
            type=item.type,
            chunks=() if outcome.state is ItemState.SKIPPED else tuple(self._chunks(item, outcome)),
            disposition=item.disposition,
            disposition_status=outcome.disposition_status,
            reason=outcome.note,
            verified=outcome.verified,
            metadata=_side(journal, side.list_metadata, side.metadata, outcome, outcome.metadata_status),
            properties=_side(
                journal, side.list_properties, side.properties, outcome, outcome.properties_status
            ),
        )

    def _chunks(self, item: Item, outcome: Outcome) -> Iterator[ChunkRecord]:
        rest = _status_of_the_rest(item, outcome)
        for piece in pieces_of(item, block_bytes_for(item.length, self._block_bytes)):
            status = outcome.pieces.get(piece.ordinal, rest)
            yield ChunkRecord(piece.offset, piece.length, status, piece.id, piece.md5)


def _status_of_the_rest(item: Item, outcome: Outcome) -> ChunkStatus:
    """The status of pieces that have no trouble of their own."""
    if outcome.state is ItemState.DONE or outcome.disposition_status is not DispositionStatus.CANCELLED:
        return ChunkStatus.COMPLETED
    if outcome.pieces and item.type is BlobType.BLOCK:
        return ChunkStatus.UNCOMMITTED
    return ChunkStatus.CANCELLED


def _side(
    journal: Journal,
    default_id: int | None,
    own_id: int | None,
    outcome: Outcome,
    status: SideFileStatus | None,
) -> SideFileRecord | None:
    if (default_id is None and own_id is None) or outcome.state is ItemState.SKIPPED:
        return None
    default, own = (
        HashedPath(row.path, row.md5) if row is not None else None
        for row in (journal.side(n) if n is not None else None for n in (default_id, own_id))
    )
    if outcome.disposition_status is DispositionStatus.CANCELLED:
        status = SideFileStatus.CANCELLED
    return SideFileRecord(status or SideFileStatus.CANCELLED, default, own)


async def upload(report: Report, store: BlobStore, sender: Sender) -> str:
    """Put a report into the store; gives its address. Raises the store's errors."""
    await sender.ensure_container(report.blob.container)
    ids: list[str] = []
    attributes = _TEXT if report.kind is ReportKind.MAPFILE else _XML
    with report.path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        while data := await asyncio.to_thread(file.read, UPLOAD_BYTES):
            view = memoryview(data)
            checksum = await asyncio.to_thread(crc64, [view])
            if size <= UPLOAD_BYTES:
                await sender.put_report(report.blob, [view], checksum, attributes)
                return store.url(report.blob)
            ids.append(base64.b64encode(b"log-%07d" % len(ids)).decode("ascii"))
            await sender.put_block(report.blob, ids[-1], [view], checksum)
    await sender.commit_report(report.blob, ids, attributes)
    return store.url(report.blob)
