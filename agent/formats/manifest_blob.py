"""Gathers one ``Blob`` element of a manifest."""

from __future__ import annotations

import re
from collections.abc import Mapping

from agent.formats import scalars
from agent.formats.chunk_rules import BlockList, ChunkList, PageRangeList
from agent.formats.manifest_values import Chunk, HashedPath, ManifestBlob
from agent.formats.violation import Violation, clip
from agent.model.codes import BlobType, Disposition

_SNAPSHOT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)?\Z", re.ASCII)
LISTS: Mapping[str, type[BlockList] | type[PageRangeList]] = {
    "BlockList": BlockList,
    "PageRangeList": PageRangeList,
}
TEXTS = frozenset({"BlobPath", "FilePath", "ClientData", "Snapshot", "Length", "ImportDisposition"})
SIDE_FILES = frozenset({"MetadataPath", "PropertiesPath"})


class BlobBuilder:
    """Takes the children in any order; every method raises Violation."""

    def __init__(self, list_index: int, ordinal: int) -> None:
        """``ordinal`` counts the blobs of the manifest from 1, to name one that has no path yet."""
        self._list_index = list_index
        self._ordinal = ordinal
        self._texts: dict[str, str] = {}
        self._side_files: dict[str, HashedPath] = {}
        self._chunks: ChunkList | None = None

    def name(self) -> str:
        """How a message calls this blob."""
        path = self._texts.get("BlobPath")
        return f"blob {self._ordinal}" + (f" ({clip(path)})" if path is not None else "")

    def text(self, tag: str, text: str) -> None:
        """One of TEXTS."""
        if tag in self._texts:
            raise Violation(f"{tag} stands twice in {self.name()}")
        self._texts[tag] = text

    def side_file(self, tag: str, file: HashedPath) -> None:
        """One of SIDE_FILES."""
        if tag in self._side_files:
            raise Violation(f"{tag} stands twice in {self.name()}")
        self._side_files[tag] = file

    def open_list(self, tag: str) -> None:
        """One of LISTS begins."""
        if self._chunks is not None:
            raise Violation(f"a second list of blocks or page ranges in {self.name()}")
        self._chunks = LISTS[tag]()

    def chunk(self, attributes: Mapping[str, str]) -> None:
        """A block or page range within the open list."""
        if self._chunks is None:
            raise Violation(f"a chunk outside of a list in {self.name()}")
        name = attributes.get("Id") if self._chunks.type is BlobType.BLOCK else None
        try:
            chunk = Chunk(
                offset=scalars.whole(scalars.required(attributes, "Offset"), "Offset"),
                length=scalars.whole(scalars.required(attributes, "Length"), "Length"),
                id=None if name is None else scalars.block_id(name),
                md5=scalars.md5(scalars.required(attributes, "Hash")),
            )
            self._chunks.add(chunk)
        except Violation as broken:
            raise Violation(f"{self.name()}: {broken}") from None

    def finish(self, list_metadata: HashedPath | None, list_properties: HashedPath | None) -> ManifestBlob:
        """The blob, whole and checked."""
        try:
            return self._finish(list_metadata, list_properties)
        except Violation as broken:
            raise Violation(f"{self.name()}: {broken}") from None

    def _finish(self, list_metadata: HashedPath | None, list_properties: HashedPath | None) -> ManifestBlob:
        length = scalars.whole(self._required("Length"), "Length")
        return ManifestBlob(
            list_index=self._list_index,
            blob_path=self._required("BlobPath"),
            file_path=self._required("FilePath"),
            client_data=self._texts.get("ClientData"),
            snapshot=self._snapshot(),
            length=length,
            disposition=self._disposition(),
            type=BlobType.BLOCK if self._chunks is None else self._chunks.type,
            chunks=() if self._chunks is None else self._chunks.finish(length),
            metadata=self._side_files.get("MetadataPath"),
            properties=self._side_files.get("PropertiesPath"),
            list_metadata=list_metadata,
            list_properties=list_properties,
        )

    def _required(self, tag: str) -> str:
        if tag not in self._texts:
            raise Violation(f"it has no {tag}")
        return self._texts[tag]

    def _snapshot(self) -> str | None:
        text = self._texts.get("Snapshot", "").strip()
        if text and not _SNAPSHOT.match(text):
            raise Violation(f"Snapshot {clip(text)} is not a time")
        return text or None

    def _disposition(self) -> Disposition:
        text = self._texts.get("ImportDisposition", "").strip()
        try:
            return Disposition(text.lower()) if text else Disposition.RENAME
        except ValueError:
            raise Violation(
                f"ImportDisposition {clip(text)} is none of no-overwrite, overwrite, rename"
            ) from None
