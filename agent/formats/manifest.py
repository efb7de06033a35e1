"""Reads a drive manifest as it comes off the drive, however large it is.

Source: Microsoft's page "Azure Import/Export service manifest file format", versions 2011-10-01 and
2014-11-01. The page and the published samples disagree on the order of children, so any order is
read, except that DriveId and the defaults of a BlobList come before the blobs they are about.
"""

from __future__ import annotations

from collections.abc import Mapping

from agent.errors import MalformedInput, ManifestDriveIdMismatch, ManifestFormatInvalid
from agent.formats import scalars
from agent.formats.manifest_blob import LISTS, SIDE_FILES, TEXTS, BlobBuilder
from agent.formats.manifest_values import (
    Chunk,
    CredentialKind,
    HashedPath,
    ManifestBlob,
    ManifestHeader,
)
from agent.formats.sax import PushXml
from agent.formats.violation import Violation, clip
from agent.model.identity import SerialNumber
from agent.model.secrets import Secret

__all__ = [
    "Chunk",
    "CredentialKind",
    "HashedPath",
    "ManifestBlob",
    "ManifestHeader",
    "ManifestParser",
]

KNOWN_VERSIONS = frozenset({"2011-10-01", "2014-11-01"})
MAX_WARNINGS = 100
_CREDENTIALS = frozenset(CredentialKind)
_GRAMMAR: Mapping[str, frozenset[str]] = {
    "": frozenset({"DriveManifest"}),
    "DriveManifest": frozenset({"Drive"}),
    "Drive": frozenset({"DriveId", "ClientCreator", "BlobList"}) | _CREDENTIALS,
    "BlobList": SIDE_FILES | {"Blob"},
    "Blob": SIDE_FILES | TEXTS | frozenset(LISTS),
    "BlockList": frozenset({"Block"}),
    "PageRangeList": frozenset({"PageRange"}),
}


class ManifestParser:
    """Push parser: bytes in, blobs out, memory for one blob.

    Every method raises ManifestFormatInvalid, naming line and element, for XML or a manifest that is
    not well formed, and ManifestDriveIdMismatch when the manifest is about another drive.
    """

    def __init__(self, expect_drive_id: SerialNumber | None = None) -> None:
        """``expect_drive_id`` is the serial read from the device; None accepts any."""
        self._reading = _Reading(expect_drive_id)
        self._xml = PushXml(self._reading, lambda text: ManifestFormatInvalid(f"drive manifest, {text}"))

    @property
    def header(self) -> ManifestHeader | None:
        """Once DriveId was seen; complete when the first blob is handed out, in all published orders."""
        return self._reading.header()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was let pass though the format does not provide for it, at most MAX_WARNINGS lines."""
        return tuple(self._reading.warnings)

    def feed(self, data: bytes | memoryview) -> list[ManifestBlob]:
        """The next bytes; returns the blobs that they complete."""
        self._xml.feed(data)
        return self._reading.take()

    def close(self) -> list[ManifestBlob]:
        """The file is over; raises ManifestFormatInvalid when it ended too early."""
        self._xml.close()
        self._reading.check_complete()
        return self._reading.take()


class _Reading:
    """The handler behind the parser."""

    secret_elements: frozenset[str] = _CREDENTIALS

    def __init__(self, expect_drive_id: SerialNumber | None) -> None:
        self._expected = expect_drive_id
        self._version = ""
        self._drives = 0
        self._lists = 0
        self._blobs = 0
        self._drive_id: SerialNumber | None = None
        self._credential: tuple[CredentialKind, Secret] | None = None
        self._creator: str | None = None
        self._defaults: dict[str, HashedPath] = {}
        self._hash = b""
        self._blob: BlobBuilder | None = None
        self._list_has_blobs = False
        self._done: list[ManifestBlob] = []
        self.warnings: list[str] = []

    def header(self) -> ManifestHeader | None:
        if self._drive_id is None:
            return None
        kind, secret = self._credential or (None, None)
        return ManifestHeader(self._version, self._drive_id, kind, secret, self._creator)

    def take(self) -> list[ManifestBlob]:
        done, self._done = self._done, []
        return done

    def check_complete(self) -> None:
        if self._drive_id is None:
            raise ManifestFormatInvalid("drive manifest: it names no DriveId")
        if not self._lists:
            self._warn("the manifest has no BlobList: there is nothing to import")

    def knows(self, parent: str, tag: str) -> bool:
        return tag in _GRAMMAR.get(parent, frozenset())

    def instruction(self, target: str, text: str) -> None:
        """Nothing in this format depends on one."""

    def start(self, parent: str, tag: str, attributes: Mapping[str, str]) -> None:
        if tag in ("Block", "PageRange"):
            self._open_blob().chunk(attributes)
        elif tag in SIDE_FILES:
            self._hash = scalars.md5(scalars.required(attributes, "Hash"))
        elif tag in LISTS:
            self._open_blob().open_list(tag)
        elif tag == "Blob":
            self._start_blob()
        elif tag == "BlobList":
            self._start_list()
        elif tag == "Drive":
            self._start_drive()
        elif tag == "DriveManifest":
            self._start_manifest(attributes)

    def end(self, parent: str, tag: str, text: str) -> None:
        if parent == "Blob":
            self._end_in_blob(tag, text)
        elif tag == "Blob":
            self._end_blob()
        elif tag in SIDE_FILES:
            self._end_default(tag, text)
        elif tag == "DriveId":
            self._end_drive_id(text)
        elif tag in _CREDENTIALS:
            self._end_credential(CredentialKind(tag), text)
        elif tag == "ClientCreator":
            self._creator = text

    def _warn(self, text: str) -> None:
        if len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(text)

    def _open_blob(self) -> BlobBuilder:
        if self._blob is None:
            raise Violation("a list outside of a Blob")
        return self._blob

    def _start_manifest(self, attributes: Mapping[str, str]) -> None:
        self._version = attributes.get("Version", "").strip()
        if self._version not in KNOWN_VERSIONS:
            self._warn(
                f"manifest Version {clip(self._version)} is not one of {', '.join(sorted(KNOWN_VERSIONS))}"
            )

    def _start_drive(self) -> None:
        self._drives += 1
        if self._drives > 1:
            raise Violation("a second Drive: one manifest is about one drive")

    def _start_list(self) -> None:
        if self._drive_id is None:
            raise Violation("DriveId must come before the first BlobList")
        self._lists += 1
        self._defaults = {}
        self._list_has_blobs = False

    def _start_blob(self) -> None:
        self._blobs += 1
        self._list_has_blobs = True
        self._blob = BlobBuilder(self._lists - 1, self._blobs)

    def _end_in_blob(self, tag: str, text: str) -> None:
        if tag in TEXTS:
            self._open_blob().text(tag, text)
        elif tag in SIDE_FILES:
            self._open_blob().side_file(tag, HashedPath(text, self._hash))

    def _end_blob(self) -> None:
        blob = self._open_blob()
        done = blob.finish(self._defaults.get("MetadataPath"), self._defaults.get("PropertiesPath"))
        if not done.is_covered:
            self._warn(f"{blob.name()} has no BlockList: its content cannot be verified")
        self._done.append(done)
        self._blob = None

    def _end_default(self, tag: str, text: str) -> None:
        if tag in self._defaults:
            raise Violation(f"{tag} stands twice in one BlobList")
        if self._list_has_blobs:
            raise Violation(f"the {tag} of a BlobList must come before its blobs")
        self._defaults[tag] = HashedPath(text, self._hash)

    def _end_drive_id(self, text: str) -> None:
        if self._drive_id is not None:
            raise Violation("DriveId stands twice")
        try:
            self._drive_id = SerialNumber.parse(text)
        except MalformedInput as error:
            raise Violation(error.detail) from None
        if self._expected is not None and self._drive_id != self._expected:
            raise ManifestDriveIdMismatch(
                f"the manifest was written for drive {self._drive_id}, and this drive is {self._expected}"
            )

    def _end_credential(self, kind: CredentialKind, text: str) -> None:
        if self._credential is not None:
            raise Violation("more than one of StorageAccountKey and ContainerSas")
        if text.strip():
            self._credential = (kind, Secret(text.strip()))
