"""Gathers one entry of a drive log of any generation."""

from __future__ import annotations

from collections.abc import Mapping

from agent.formats import carry, scalars
from agent.formats.chunk_rules import MAX_PAGE_RANGES
from agent.formats.log_values import Generation, LogEntry
from agent.formats.manifest_values import HashedPath
from agent.formats.records import BlobRecord, ChunkRecord, SideFileRecord
from agent.formats.violation import Violation
from agent.model.codes import (
    BlobStatus,
    BlobType,
    ChunkStatus,
    Disposition,
    DispositionStatus,
    SideFileStatus,
)
from agent.model.verification import Verified

G1_TEXTS = frozenset({"BlobPath", "FilePath", "Snapshot", "LastModified", "Length", "ImportDisposition"})
SIDE_FILES = frozenset({"Metadata", "Properties"})
_LISTS: Mapping[str, BlobType] = {"BlockList": BlobType.BLOCK, "PageRangeList": BlobType.PAGE}


class EntryBuilder:
    """Takes the parts of one entry in any order; every method raises Violation."""

    def __init__(
        self, tag: str, generation: Generation, escaped: bool, attributes: Mapping[str, str]
    ) -> None:
        """``escaped``: paths of files are percent-escaped, as in our own logs."""
        self._tag = tag
        self._generation = generation
        self._escaped = escaped
        self._attributes = dict(attributes)
        self._texts: dict[str, str] = {}
        self._disposition_status = ""
        self._type: BlobType | None = None
        self._chunks: list[ChunkRecord] = []
        self._sides: dict[str, str] = {}
        self._paths: dict[tuple[str, str], HashedPath] = {}
        self._hash = b""
        self._is_foreign = False
        self.reason = ""
        self.verified: Verified | None = None

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """A child begins."""
        if tag in ("Block", "PageRange"):
            self._chunk(attributes)
        elif tag in _LISTS:
            self._type = _LISTS[tag]
        elif tag in SIDE_FILES:
            self._sides[tag] = attributes.get("Status", "")
        elif tag in ("GlobalPath", "Path"):
            self._hash = scalars.md5(scalars.required(attributes, "Hash"))
        elif tag == "ImportDisposition":
            self._disposition_status = attributes.get("Status", "")

    def end(self, parent: str, tag: str, text: str) -> None:
        """A child ended."""
        if tag in ("GlobalPath", "Path"):
            self._paths[parent, tag] = HashedPath(self._file_path(text), self._hash)
        elif parent in ("Blob", "File", "ErroredEntity"):
            self._texts[tag] = text

    def finish(self) -> LogEntry:
        """The entry, whole."""
        if self._tag == "ErroredEntity":
            return self._errored()
        if self._generation is Generation.G3:
            return LogEntry(
                target=self._attributes.get("Path", ""),
                code="Completed",
                length=self._size("Size", required=True),
            )
        return self._blob()

    def _errored(self) -> LogEntry:
        number = self._texts.get("ErrorCode", "").strip()
        message = self._texts.get("ErrorMessage", "").strip()
        return LogEntry(
            target=self._attributes.get("Path", ""),
            code=self._texts.get("Category", "").strip(),
            message=" ".join(part for part in (number and f"error {number}:", message) if part) or None,
        )

    def _blob(self) -> LogEntry:
        source = self._texts.get("FilePath", self._texts.get("OriginalFilePath"))
        record = self._record()
        return LogEntry(
            target=self._texts.get("BlobPath", self._texts.get("FileStoragePath", "")),
            code=self._attributes.get("Status", "").strip(),
            source=None if source is None else self._file_path(source),
            length=self._size("SizeInBytes" if "SizeInBytes" in self._texts else "Length"),
            message=self.reason or None,
            record=record,
            # Without a record nobody looks at the parts, so anything odd in them must show here.
            is_unclear=record is None and (self._is_foreign or self._is_odd()),
        )

    def _record(self) -> BlobRecord | None:
        missing = {"BlobPath", "FilePath", "Length"} - self._texts.keys()
        if missing and self._generation is Generation.G1:
            raise Violation(f"it has no {min(missing)}")
        if missing or self._is_foreign:
            return None
        try:
            return self._known_record()
        except ValueError:
            return None

    def _is_odd(self) -> bool:
        if self._generation is Generation.G1:
            return True
        settled = {"", *DispositionStatus} - {DispositionStatus.SKIPPED, DispositionStatus.CANCELLED}
        return self._disposition_status.strip() not in settled

    def _known_record(self) -> BlobRecord:
        disposition = self._texts.get("ImportDisposition")
        return BlobRecord(
            status=BlobStatus(self._attributes.get("Status", "").strip()),
            blob_path=self._texts["BlobPath"],
            file_path=self._file_path(self._texts["FilePath"]),
            length=scalars.whole(self._texts["Length"], "Length"),
            type=self._type,
            chunks=tuple(self._chunks),
            disposition=None if disposition is None else Disposition(disposition.strip()),
            disposition_status=(
                None if disposition is None else DispositionStatus(self._disposition_status.strip())
            ),
            metadata=self._side("Metadata"),
            properties=self._side("Properties"),
            snapshot=self._bare("Snapshot"),
            last_modified=self._bare("LastModified"),
            reason=self.reason,
            verified=self.verified,
        )

    def _bare(self, tag: str) -> str | None:
        text = self._texts.get(tag)
        return None if text is None else text.strip()

    def _side(self, tag: str) -> SideFileRecord | None:
        if tag not in self._sides:
            return None
        return SideFileRecord(
            SideFileStatus(self._sides[tag].strip()),
            self._paths.get((tag, "GlobalPath")),
            self._paths.get((tag, "Path")),
        )

    def _chunk(self, attributes: Mapping[str, str]) -> None:
        if len(self._chunks) == MAX_PAGE_RANGES:
            raise Violation(f"more than {MAX_PAGE_RANGES} blocks or page ranges")
        try:
            status = ChunkStatus(attributes.get("Status", "").strip())
        except ValueError:
            self._is_foreign = True
            return
        digest = attributes.get("Hash")
        self._chunks.append(
            ChunkRecord(
                offset=scalars.whole(scalars.required(attributes, "Offset"), "Offset"),
                length=scalars.whole(scalars.required(attributes, "Length"), "Length"),
                status=status,
                id=attributes.get("Id"),
                md5=None if digest is None else scalars.md5(digest),
            )
        )

    def _size(self, name: str, *, required: bool = False) -> int | None:
        text = self._attributes.get(name) if required else self._texts.get(name)
        return None if text is None else scalars.whole(text, name)

    def _file_path(self, text: str) -> str:
        return carry.unescape(text) if self._escaped else text
