"""What a drive log says of one blob, as values (format of 2014-11-01)."""

from __future__ import annotations

from dataclasses import dataclass

from agent.formats.manifest_values import HashedPath
from agent.model.codes import (
    BlobStatus,
    BlobType,
    ChunkStatus,
    Disposition,
    DispositionStatus,
    SideFileStatus,
)
from agent.model.verification import Verdict, Verified


@dataclass(frozen=True, slots=True)
class ChunkRecord:
    """A block or page range: bytes [offset, offset + length). ``md5`` is what was expected of it."""

    offset: int
    length: int
    status: ChunkStatus
    id: str | None = None
    md5: bytes | None = None


@dataclass(frozen=True, slots=True)
class SideFileRecord:
    """The metadata or properties of a blob: the list's file, its own, or both."""

    status: SideFileStatus
    global_path: HashedPath | None = None
    path: HashedPath | None = None


@dataclass(frozen=True, slots=True)
class BlobRecord:
    """One ``Blob`` element.

    ``blob_path`` is where the content is now: after a rename, the new path. ``snapshot`` and
    ``last_modified`` are for exports, the two dispositions for imports. ``type`` None writes no list.
    """

    status: BlobStatus
    blob_path: str
    file_path: str
    length: int
    type: BlobType | None = BlobType.BLOCK
    chunks: tuple[ChunkRecord, ...] = ()
    disposition: Disposition | None = None
    disposition_status: DispositionStatus | None = None
    metadata: SideFileRecord | None = None
    properties: SideFileRecord | None = None
    snapshot: str | None = None
    last_modified: str | None = None
    reason: str = ""
    """One line in plain words, for a reader of the log; the format itself has no place for it."""

    verified: Verified | None = None
    """How deep it was verified; the format has no place for this either."""

    @property
    def is_failed(self) -> bool:
        """Some byte or side file of it did not arrive."""
        return (
            self.status is not BlobStatus.COMPLETED
            or self.disposition_status is DispositionStatus.CANCELLED
            or any(chunk.status is not ChunkStatus.COMPLETED for chunk in self.chunks)
            or any(
                side is not None and side.status is not SideFileStatus.COMPLETED
                for side in (self.metadata, self.properties)
            )
        )

    @property
    def is_warning(self) -> bool:
        """Nothing failed, but the blob of that name is not, or not under that name, the drive's file.

        Or a verification that was asked for could not be done.
        """
        return not self.is_failed and (
            self.is_unverified
            or self.disposition_status in (DispositionStatus.RENAMED, DispositionStatus.SKIPPED)
        )

    @property
    def is_unverified(self) -> bool:
        """A verification was asked for and could not be done."""
        return self.verified is not None and self.verified.verdict is Verdict.UNKNOWN
