"""Writes drive manifests of the strict form, and redacts those that hold a customer's credential."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any, BinaryIO

from lxml import etree

from agent.errors import ManifestFormatInvalid
from agent.formats import scalars
from agent.formats.manifest import ManifestParser
from agent.formats.manifest_values import Chunk, CredentialKind, HashedPath, ManifestBlob, ManifestHeader
from agent.formats.violation import clip
from agent.model.codes import BlobType, Disposition

_LISTS = {BlobType.BLOCK: ("BlockList", "Block"), BlobType.PAGE: ("PageRangeList", "PageRange")}


class ManifestWriter:
    """Streams one manifest. The file stays the caller's, who closes it; what it raises passes through."""

    def __init__(self, file: BinaryIO, header: ManifestHeader, *, with_credential: bool = False) -> None:
        """Leaves the header's credential out unless told otherwise."""
        self._list = ExitStack()
        self._list_index: int | None = None
        self._open = ExitStack()
        self._xml: Any = self._open.enter_context(etree.xmlfile(file, encoding="utf-8"))
        self._xml.write_declaration()
        self._open.enter_context(self._xml.element("DriveManifest", Version=header.version))
        self._xml.write("\n  ")
        self._open.enter_context(self._xml.element("Drive"))
        self._leaf("    ", "DriveId", header.drive_id.normal)
        if with_credential and header.credential is not None and header.credential_kind is not None:
            self._leaf("    ", header.credential_kind, header.credential.reveal())
        if header.client_creator is not None:
            self._leaf("    ", "ClientCreator", header.client_creator)

    def blob(self, blob: ManifestBlob) -> None:
        """The next blob; a new ``list_index`` begins a new BlobList with the blob's list defaults.

        Raises ManifestFormatInvalid when XML cannot carry one of its texts.
        """
        if blob.list_index != self._list_index:
            self._new_list(blob)
        self._xml.write("\n      ")
        with self._xml.element("Blob"):
            self._texts(blob)
            # A blob without a list stays one: an empty list would claim that it has no content.
            if blob.is_covered:
                self._chunks(blob.type, blob.chunks)
            self._side_file("        ", "MetadataPath", blob.metadata)
            self._side_file("        ", "PropertiesPath", blob.properties)
            self._xml.write("\n      ")

    def close(self) -> None:
        """Write the end. Later calls do nothing."""
        if self._xml is None:
            return
        self._end_list()
        self._xml.write("\n  ")
        self._open.close()
        self._xml = None

    def _new_list(self, blob: ManifestBlob) -> None:
        self._end_list()
        self._list_index = blob.list_index
        self._xml.write("\n    ")
        self._list.enter_context(self._xml.element("BlobList"))
        self._side_file("      ", "MetadataPath", blob.list_metadata)
        self._side_file("      ", "PropertiesPath", blob.list_properties)

    def _end_list(self) -> None:
        if self._list_index is not None:
            self._xml.write("\n    ")
            self._list.close()

    def _texts(self, blob: ManifestBlob) -> None:
        for tag, text in (
            ("BlobPath", blob.blob_path),
            ("FilePath", blob.file_path),
            ("ClientData", blob.client_data),
            ("Snapshot", blob.snapshot),
            ("Length", str(blob.length)),
            ("ImportDisposition", None if _is_export(blob) else str(blob.disposition)),
        ):
            if text is not None:
                self._leaf("        ", tag, text)

    def _chunks(self, type: BlobType, chunks: tuple[Chunk, ...]) -> None:
        list_tag, tag = _LISTS[type]
        self._xml.write("\n        ")
        with self._xml.element(list_tag):
            for chunk in chunks:
                self._xml.write("\n          ")
                self._xml.write(etree.Element(tag, _attributes(chunk)))
            if chunks:
                self._xml.write("\n        ")

    def _side_file(self, indent: str, tag: str, file: HashedPath | None) -> None:
        if file is not None:
            self._leaf(indent, tag, file.path, {"Hash": scalars.md5_text(file.md5)})

    def _leaf(self, indent: str, tag: str, text: str, attributes: dict[str, str] | None = None) -> None:
        element = etree.Element(tag, attributes or {})
        try:
            element.text = text
        except ValueError:
            shown = "" if tag in frozenset(CredentialKind) else f" {clip(text)}"
            raise ManifestFormatInvalid(f"XML cannot carry the {tag}{shown}") from None
        self._xml.write("\n" + indent)
        self._xml.write(element)


def _is_export(blob: ManifestBlob) -> bool:
    return blob.snapshot is not None and blob.disposition is Disposition.RENAME


def _attributes(chunk: Chunk) -> dict[str, str]:
    named = {} if chunk.id is None else {"Id": chunk.id}
    return {
        "Offset": str(chunk.offset),
        "Length": str(chunk.length),
        **named,
        "Hash": scalars.md5_text(chunk.md5),
    }


def redact(pieces: Iterable[bytes | memoryview], out: BinaryIO) -> None:
    """Copy a manifest without its credential, for the backup in the customer's account.

    What was understood is written anew, so nothing that was not (a comment, an unknown element, a
    credential in an unforeseen place) can slip through. Raises ManifestFormatInvalid as the parser
    does; what was written to ``out`` by then is to be thrown away.
    """
    parser = ManifestParser()
    writer: ManifestWriter | None = None
    for piece in pieces:
        writer = _copy(parser, parser.feed(piece), out, writer)
    writer = _copy(parser, parser.close(), out, writer)
    header = parser.header
    if writer is None and header is not None:
        writer = ManifestWriter(out, header)
    if writer is not None:
        writer.close()


def _copy(
    parser: ManifestParser, blobs: list[ManifestBlob], out: BinaryIO, writer: ManifestWriter | None
) -> ManifestWriter | None:
    header = parser.header
    if blobs and writer is None and header is not None:
        writer = ManifestWriter(out, header)
    for blob in blobs:
        if writer is not None:
            writer.blob(blob)
    return writer
