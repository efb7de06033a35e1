"""Writes drive logs of version 2014-11-01, one blob at a time (docs/adr/0002-logs.md).

Source: Microsoft's page "Azure Import/Export service log file format"; order of elements and what
the error log leaves out as in its samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from enum import StrEnum
from typing import Any, BinaryIO

from lxml import etree

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
        self._kind = kind
        self._failed = 0
        self._warned = 0
        file.write(_PROLOGUE.encode())
        self._open = ExitStack()
        self._xml: Any = self._open.enter_context(etree.xmlfile(file, encoding="utf-8"))
        self._open.enter_context(self._xml.element("DriveLog", Version=VERSION))
        self._line("  ", _leaf("DriveId", serial.normal))

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
        if self._xml is None:
            return
        self._line("  ", _leaf("Status", status))
        self._xml.write("\n")
        self._open.close()
        self._xml = None

    def _blob(self, record: BlobRecord) -> None:
        self._xml.write("\n  ")
        with self._xml.element("Blob", Status=str(record.status)):
            if record.reason:
                self._line("    ", _instruction(carry.REASON_PREFIX, record.reason))
            if record.verified is not None:
                self._line("    ", _instruction(carry.VERIFIED_PREFIX, to_text(record.verified)))
            for leaf in _leaves(record):
                self._line("    ", leaf)
            if record.type is not None:
                self._chunks(record.type, record.chunks)
            for tag, side in (("Metadata", record.metadata), ("Properties", record.properties)):
                if side is not None:
                    self._side_file(tag, side)
            self._xml.write("\n  ")

    def _chunks(self, type: BlobType, chunks: tuple[ChunkRecord, ...]) -> None:
        list_tag, tag = _LISTS[type]
        if not chunks:
            self._line("    ", etree.Element(list_tag))
            return
        self._xml.write("\n    ")
        with self._xml.element(list_tag):
            for chunk in chunks:
                self._line("      ", etree.Element(tag, _chunk_attributes(chunk)))
            self._xml.write("\n    ")

    def _side_file(self, tag: str, side: SideFileRecord) -> None:
        element = etree.Element(tag, {"Status": str(side.status)})
        for name, file in (("GlobalPath", side.global_path), ("Path", side.path)):
            if file is not None:
                element.append(_hashed_path(name, file))
        etree.indent(element, space="  ", level=2)
        self._line("    ", element)

    def _line(self, indent: str, element: etree._Element) -> None:
        self._xml.write("\n" + indent)
        self._xml.write(element)


def _leaf(tag: str, text: str, attributes: Mapping[str, str] | None = None) -> etree._Element:
    element = etree.Element(tag, dict(attributes or {}))
    element.text = text
    return element


def _leaves(record: BlobRecord) -> Iterable[etree._Element]:
    yield _leaf("BlobPath", carry.printable(record.blob_path))
    yield _leaf("FilePath", carry.escape(record.file_path))
    if record.snapshot is not None:
        yield _leaf("Snapshot", carry.printable(record.snapshot))
    if record.last_modified is not None:
        yield _leaf("LastModified", carry.printable(record.last_modified))
    yield _leaf("Length", str(record.length))
    if record.disposition is not None and record.disposition_status is not None:
        yield _leaf("ImportDisposition", record.disposition, {"Status": str(record.disposition_status)})


def _instruction(prefix: str, text: str) -> etree._ProcessingInstruction:
    return etree.ProcessingInstruction(
        carry.MARK_TARGET, prefix + carry.printable(" ".join(text.split())).replace("?>", "? >")
    )


def _chunk_attributes(chunk: ChunkRecord) -> dict[str, str]:
    named = {} if chunk.id is None else {"Id": chunk.id}
    hashed = {} if chunk.md5 is None else {"Hash": scalars.md5_text(chunk.md5)}
    return {
        "Offset": str(chunk.offset),
        "Length": str(chunk.length),
        **named,
        **hashed,
        "Status": str(chunk.status),
    }


def _hashed_path(tag: str, file: HashedPath) -> etree._Element:
    return _leaf(tag, carry.escape(file.path), {"Hash": scalars.md5_text(file.md5)})
