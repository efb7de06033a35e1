"""Writes drive logs of version 2014-11-01, one blob at a time (docs/adr/0002-logs.md).

Source: Microsoft's page "Azure Import/Export service log file format"; order of elements and what
the error log leaves out as in its samples.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum
from typing import BinaryIO

from agent.formats import carry, scalars
from agent.formats.manifest_values import HashedPath
from agent.formats.records import BlobRecord, ChunkRecord, SideFileRecord
from agent.formats.verified_text import to_text
from agent.model.codes import BlobType, ChunkStatus, DriveStatus, SideFileStatus
from agent.model.identity import SerialNumber

VERSION = "2014-11-01"
_PROLOGUE = f'<?xml version="1.0" encoding="utf-8"?>\n<?{carry.MARK_TARGET} {carry.MARK_TEXT}?>\n'
_LISTS = {BlobType.BLOCK: ("BlockList", "Block"), BlobType.PAGE: ("PageRangeList", "PageRange")}


class LogKind(StrEnum):
    """The two logs of a drive; both follow one schema."""

    ERROR = "error"
    VERBOSE = "verbose"


def filtered(record: BlobRecord) -> BlobRecord | None:
    """What the error log tells of a blob: its unsuccessful parts only; None when there are none.

    Renamed and skipped blobs are told, without their parts, and so are those whose verification was
    asked for and could not be done.
    """
    if not record.is_failed and not record.is_warning:
        return None
    return replace(
        record,
        chunks=tuple(chunk for chunk in record.chunks if chunk.status is not ChunkStatus.COMPLETED),
        metadata=_unless_completed(record.metadata),
        properties=_unless_completed(record.properties),
    )


def _unless_completed(side: SideFileRecord | None) -> SideFileRecord | None:
    return None if side is None or side.status is SideFileStatus.COMPLETED else side


class DriveLogWriter:
    """Streams one log. The file stays the caller's, who closes it; what it raises passes through.

    A log that was not closed is no well-formed XML, so that nobody takes it for a whole one.
    """

    def __init__(self, file: BinaryIO, serial: SerialNumber, kind: LogKind) -> None:
        """Writes the beginning; ``file`` is open for writing bytes."""
        self._file, self._kind = file, kind
        self._failed = 0
        self._warned = 0
        self._is_closed = False
        self._write([_PROLOGUE, f'<DriveLog Version="{VERSION}">', f"\n  {_leaf('DriveId', serial.normal)}"])

    @property
    def outcome(self) -> DriveStatus:
        """What the blobs so far amount to: Completed, ...WithWarnings or ...WithErrors."""
        if self._failed:
            return DriveStatus.COMPLETED_WITH_ERRORS
        return DriveStatus.COMPLETED_WITH_WARNINGS if self._warned else DriveStatus.COMPLETED

    def blob(self, record: BlobRecord) -> None:
        """Tell of one blob; the error log drops what succeeded."""
        self._failed += record.is_failed
        self._warned += record.is_warning
        told = filtered(record) if self._kind is LogKind.ERROR else record
        if told is not None:
            self._blob(told)

    def close(self, status: DriveStatus) -> None:
        """Write the drive's status and the end. Later calls do nothing."""
        if not self._is_closed:
            self._write([f"\n  {_leaf('Status', status)}", "\n</DriveLog>"])
            self._is_closed = True

    def _blob(self, record: BlobRecord) -> None:
        parts = [f'\n  <Blob Status="{record.status}">']
        if record.reason:
            parts.append(_instruction(carry.REASON_PREFIX, record.reason))
        if record.verified is not None:
            parts.append(_instruction(carry.VERIFIED_PREFIX, to_text(record.verified)))
        parts += [f"\n    {leaf}" for leaf in _leaves(record)]
        if record.type is not None:
            parts += _chunks(record.type, record.chunks)
        for tag, side in (("Metadata", record.metadata), ("Properties", record.properties)):
            if side is not None:
                parts.append(_side_file(tag, side))
        parts.append("\n  </Blob>")
        self._write(parts)

    def _write(self, parts: list[str]) -> None:
        self._file.write("".join(parts).encode("utf-8"))


# Texts and not elements of a library: a verbose log has a dozen elements for each file of a drive.
def _text(value: str) -> str:
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _attribute(value: str) -> str:
    return _text(value).replace('"', "&quot;")


def _leaf(tag: str, text: str, attributes: str = "") -> str:
    return f"<{tag}{attributes}>{_text(text)}</{tag}>"


def _leaves(record: BlobRecord) -> Iterable[str]:
    yield _leaf("BlobPath", carry.printable(record.blob_path))
    yield _leaf("FilePath", carry.escape(record.file_path))
    if record.snapshot is not None:
        yield _leaf("Snapshot", carry.printable(record.snapshot))
    if record.last_modified is not None:
        yield _leaf("LastModified", carry.printable(record.last_modified))
    yield _leaf("Length", str(record.length))
    if record.disposition is not None and record.disposition_status is not None:
        yield _leaf("ImportDisposition", record.disposition, f' Status="{record.disposition_status}"')


def _instruction(prefix: str, text: str) -> str:
    said = carry.printable(" ".join(text.split())).replace("?>", "? >")
    return f"\n    <?{carry.MARK_TARGET} {prefix}{said}?>"


def _chunks(type: BlobType, chunks: tuple[ChunkRecord, ...]) -> Iterable[str]:
    list_tag, tag = _LISTS[type]
    if not chunks:
        yield f"\n    <{list_tag}/>"
        return
    yield f"\n    <{list_tag}>"
    for chunk in chunks:
        yield f"\n      <{tag} {_chunk_attributes(chunk)}/>"
    yield f"\n    </{list_tag}>"


def _chunk_attributes(chunk: ChunkRecord) -> str:
    named = "" if chunk.id is None else f'Id="{_attribute(carry.printable(chunk.id))}" '
    hashed = "" if chunk.md5 is None else f'Hash="{scalars.md5_text(chunk.md5)}" '
    return f'Offset="{chunk.offset}" Length="{chunk.length}" {named}{hashed}Status="{chunk.status}"'


def _side_file(tag: str, side: SideFileRecord) -> str:
    files = [
        f"\n      {_hashed_path(name, file)}"
        for name, file in (("GlobalPath", side.global_path), ("Path", side.path))
        if file is not None
    ]
    if not files:
        return f'\n    <{tag} Status="{side.status}"/>'
    return f'\n    <{tag} Status="{side.status}">{"".join(files)}\n    </{tag}>'


def _hashed_path(tag: str, file: HashedPath) -> str:
    return _leaf(tag, carry.escape(file.path), f' Hash="{scalars.md5_text(file.md5)}"')
