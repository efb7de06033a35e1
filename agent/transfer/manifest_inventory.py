"""What is to be moved of a drive with a manifest: the blobs that it lists, each with its stream."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Any

from agent.errors import (
    DriveError,
    MalformedInput,
    ManifestCorrupted,
    ManifestDriveIdMismatch,
    ManifestFormatInvalid,
    ManifestNotFound,
    ReadManifestFailed,
)
from agent.formats.manifest import ManifestBlob, ManifestParser
from agent.formats.manifest_values import HashedPath
from agent.model.blobs import BlobName
from agent.model.codes import BlobStatus
from agent.model.identity import SerialNumber
from agent.threads import to_its_end
from agent.transfer.inventory import Report
from agent.transfer.items import NO_FACTS, Item, Outcome, Piece, SideFiles
from agent.transfer.journal import Journal
from agent.transfer.link import ReaderLink, stream_of
from agent.transfer.listing import MAX_COUNTED_BYTES
from agent.transfer.placement import checked_row, failed
from agent.volume.entry import StreamRef

LOOKUPS_PER_MESSAGE = 64


class ManifestInventory:
    """The blobs that a drive manifest lists, each with the stream that it names."""

    def __init__(self, link: ReaderLink, journal: Journal, serial: SerialNumber, report: Report) -> None:
        self._link = link
        self._journal = journal
        self._parser = ManifestParser(serial)
        self._report = report
        self._seq = 0
        self._sides: dict[tuple[str, bytes, str], int] = {}

    async def take(self, manifest_file: str, manifest_hash: str | None, copy_to: Path | None) -> list[str]:
        """Read the manifest, verify it and list its blobs; gives warnings for the log.

        ``manifest_hash`` is hex, MD5 or SHA-256 by its length. ``copy_to`` receives the manifest as
        it is, for the backup. Raises the Manifest errors of the tree.
        """
        ref = await self._manifest(manifest_file)
        digest = hashlib.sha256() if manifest_hash and len(manifest_hash) == 64 else hashlib.md5()  # noqa: S324
        await to_its_end(self._journal.begin_inventory)
        broken: DriveError | None = None
        with open(copy_to or os.devnull, "wb", opener=_private) as copy:  # noqa: ASYNC230 - local spool
            async for window in self._windows(ref):
                await to_its_end(_keep, window, digest, copy)
                broken = broken or await self._parse(lambda window=window: self._parser.feed(window))  # type: ignore[misc]
        found = digest.hexdigest().upper()
        if manifest_hash and found != manifest_hash.upper():
            # Bytes that are not the customer's explain whatever else is wrong with them.
            raise ManifestCorrupted(f"the manifest's hash is {found}, the job says {manifest_hash.upper()}")
        broken = broken or await self._parse(self._parser.close)
        if broken is not None:
            raise broken
        await to_its_end(self._journal.finish_inventory)
        return [*self._parser.warnings, *self._credential_warning()]

    def _credential_warning(self) -> list[str]:
        header = self._parser.header
        if header is None or not header.has_credential:
            return []
        return [f"the manifest carries a {header.credential_kind}; it is not used and not shown"]

    async def _parse(self, step: Callable[[], list[ManifestBlob]]) -> DriveError | None:
        """List the blobs that a step of the parser completes; gives what is wrong with the manifest."""
        try:
            await self._add(await to_its_end(step))
        except (ManifestFormatInvalid, ManifestDriveIdMismatch) as error:
            return error
        return None

    async def _manifest(self, manifest_file: str) -> StreamRef:
        path = "\\" + manifest_file.lstrip("\\/").replace("/", "\\")
        row = (await self._link.find([path]))[0]
        ref = stream_of(row) if row is not None else None
        if ref is None:
            raise ManifestNotFound(f"the drive has no file {path}")
        if ref.unsupported is not None:
            raise ReadManifestFailed(f"the manifest cannot be read: {ref.unsupported}")
        return ref

    async def _windows(self, ref: StreamRef) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(self._link.content(ref)) as windows:
                async for window in windows:
                    yield window
        except OSError as error:
            raise ReadManifestFailed(f"the manifest cannot be read: {error}") from None

    async def _add(self, blobs: Iterable[ManifestBlob]) -> None:
        pending = list(blobs)
        for start in range(0, len(pending), LOOKUPS_PER_MESSAGE):
            batch = pending[start : start + LOOKUPS_PER_MESSAGE]
            rows = await self._link.find([_drive_path(blob.file_path) for blob in batch])
            await to_its_end(self._insert, batch, rows)
            self._report(self._seq)

    def _insert(self, blobs: list[ManifestBlob], rows: list[Any]) -> None:
        found = []
        for blob, row in zip(blobs, rows, strict=True):
            item = self._item(blob, row)
            found.append((item, _manifest_outcome(item, _damage(row))))
        self._journal.add(found)

    def _item(self, blob: ManifestBlob, row: Any) -> Item:
        if blob.snapshot is not None:
            raise ManifestFormatInvalid("the manifest is that of an export: a blob has a Snapshot")
        facts = checked_row(row)[1] if row is not None else NO_FACTS
        item = Item(
            seq=self._seq,
            file_path=blob.file_path,
            blob=blob.blob_path,
            type=blob.type,
            length=min(blob.length, MAX_COUNTED_BYTES),
            disposition=blob.disposition,
            stream=stream_of(row) if row is not None else None,
            facts=facts,
            side=SideFiles(
                self._side(blob.list_metadata, "metadata"),
                self._side(blob.metadata, "metadata"),
                self._side(blob.list_properties, "properties"),
                self._side(blob.properties, "properties"),
            ),
            pieces=tuple(
                Piece(ordinal, c.offset, c.length, c.id, c.md5) for ordinal, c in enumerate(blob.chunks)
            )
            if blob.is_covered
            else None,
        )
        self._seq += 1
        return item

    def _side(self, file: HashedPath | None, kind: str) -> int | None:
        if file is None:
            return None
        key = (file.path, file.md5, kind)
        if len(self._sides) > 10_000:
            self._sides.clear()
        if key not in self._sides:
            self._sides[key] = self._journal.side_id(*key)
        return self._sides[key]


def _drive_path(path: str) -> str:
    return path if path.startswith("\\") else "\\" + path


def _damage(row: Any) -> str | None:
    """Why the file's record could not be read, if that is why it has no stream."""
    return str(row[4]) if isinstance(row, list) and len(row) == 5 and row[3] == "damaged" else None


def _manifest_outcome(item: Item, damage: str | None) -> Outcome | None:
    try:
        BlobName.parse(item.blob)
    except MalformedInput as error:
        return failed(item, BlobStatus.FILE_NAME_INVALID, str(error))
    if damage is not None:
        return failed(item, BlobStatus.IO_FAILED, f"the file's record cannot be read: {damage}")
    if item.stream is None:
        return failed(item, BlobStatus.FILE_NOT_FOUND, "")
    if item.stream.unsupported is not None:
        return failed(item, BlobStatus.FAILED, item.stream.unsupported)
    if item.stream.size > item.length:
        note = f"the file has {item.stream.size} bytes, and its manifest says {item.length}"
        return failed(item, BlobStatus.FAILED, note)
    return None


def _keep(window: bytes, digest: Any, copy: Any) -> None:
    digest.update(window)
    copy.write(window)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
