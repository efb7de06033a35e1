"""The blocking half of the directory store; ``agent.blobs.directory`` calls it in threads."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from agent.blobs import rules
from agent.blobs.directory_layout import Layout, publish
from agent.blobs.directory_record import Record
from agent.blobs.store import BlobProperties, Body, ETag, Replace
from agent.errors import BlobAlreadyExists, BlobNotFound, BlobRequestFailed, ChecksumMismatch
from agent.model.blobs import BlobAttributes, BlobName
from agent.model.codes import BlobType
from agent.model.identity import ContainerName

_COPY_BYTES = 1 << 20
# A blob that is replaced while it is opened has a new record by then.
_OPEN_TRIES = 8


@dataclasses.dataclass(frozen=True, slots=True)
class _Piece:
    """Where the bytes of one block are."""

    file: Path
    offset: int
    length: int


class DirectoryFiles:
    """Raises OSError besides the errors of the port."""

    def __init__(self, root: Path) -> None:
        self._layout = Layout(root)

    def make_container(self, container: ContainerName) -> None:
        """Idempotent."""
        self._layout.make_container(container)

    def put_blob(
        self, name: BlobName, body: Body, crc64: int, attributes: BlobAttributes, replace: Replace
    ) -> None:
        """Checks the body, writes it, and lets it be seen."""
        self._check_writable(name, replace)
        rules.check_crc64(name, body, crc64)
        _check_md5(name, body, attributes)
        self._commit(name, Record(name.path, BlobType.BLOCK, "", attributes), _write_all(body), replace)

    def put_block(self, name: BlobName, block_id: str, body: Body, crc64: int) -> None:
        """A staged block is a file of its own."""
        self._check_container(name)
        self._check_type(name, BlobType.BLOCK)
        rules.check_crc64(name, body, crc64)
        with self._layout.fresh(name.container) as (fresh, file):
            _write_all(body)(file)
        target = self._layout.staged(name) / rules.block_id_bytes(block_id).hex()
        target.parent.mkdir(exist_ok=True)
        publish(fresh, target)

    def put_block_list(
        self, name: BlobName, block_ids: Sequence[str], attributes: BlobAttributes, replace: Replace
    ) -> None:
        """Copies the blocks together; what was staged and is not listed goes."""
        self._check_writable(name, replace)
        known = self._known_blocks(name)
        missing = next((block_id for block_id in block_ids if block_id not in known), None)
        if missing is not None:
            raise BlobRequestFailed(f"{name}: block {missing} was never staged (InvalidBlockList)")
        blocks = tuple((block_id, known[block_id].length) for block_id in block_ids)
        record = Record(name.path, BlobType.BLOCK, "", attributes, blocks)
        self._commit(name, record, _copy_all([known[block_id] for block_id in block_ids]), replace)

    def create_page_blob(
        self, name: BlobName, size_bytes: int, attributes: BlobAttributes, replace: Replace
    ) -> None:
        """A sparse file."""
        self._check_writable(name, replace)
        record = Record(name.path, BlobType.PAGE, "", attributes)
        self._commit(name, record, lambda file: file.truncate(size_bytes), replace)

    def put_page(self, name: BlobName, offset: int, body: Body, crc64: int) -> None:
        """Writes in place, as the service does."""
        self._check_type(name, BlobType.PAGE)
        length = rules.body_length(body)
        with self.open(name, "r+b") as file:
            if offset + length > os.fstat(file.fileno()).st_size:
                raise BlobRequestFailed(
                    f"{name}: pages {offset}..{offset + length} lie past its end (InvalidPageRange)"
                )
            rules.check_crc64(name, body, crc64)
            file.seek(offset)
            _write_all(body)(file)
            _touch(file.fileno())
            file.flush()
            os.fsync(file.fileno())

    def set_attributes(self, name: BlobName, attributes: BlobAttributes, etag: ETag) -> None:
        """Another record of the same content."""
        self._check_container(name)
        with self._layout.deciding(name.container):
            record = self._find(name)
            self._check_writable(name, etag)
            attributes = dataclasses.replace(attributes, tier=record.attributes.tier)
            self._publish_record(name, dataclasses.replace(record, attributes=attributes))
            _touch(self._layout.object(name, record.object_id))

    def remove(self, name: BlobName) -> None:
        """The blob and its staged blocks; nothing happens when it is not there."""
        if not self._layout.has_container(name.container):
            return
        with self._layout.deciding(name.container):
            record = self._look(name)
            if record is not None:
                self._layout.record(name).unlink()
                self._layout.hide(name)
                self._layout.object(name, record.object_id).unlink(missing_ok=True)
        shutil.rmtree(self._layout.staged(name), ignore_errors=True)

    def remove_container(self, container: ContainerName) -> None:
        """With all that is in it."""
        self._layout.remove_container(container)

    def properties(self, name: BlobName) -> BlobProperties:
        """The ETag changes with every write, page writes too."""
        record, file = self._opened(name, "rb")
        with file:
            status = os.fstat(file.fileno())
        attributes = record.attributes
        if attributes.content_type is None:
            attributes = dataclasses.replace(attributes, content_type=rules.DEFAULT_CONTENT_TYPE)
        return BlobProperties(status.st_size, record.type, _etag(record, status), attributes)

    def uncommitted_blocks(self, name: BlobName) -> dict[str, int]:
        """From the folder of staged blocks."""
        return {block_id: piece.length for block_id, piece in self._staged_blocks(name).items()}

    def open(self, name: BlobName, mode: str) -> IO[bytes]:
        """The content; the caller closes it. Raises BlobNotFound."""
        return self._opened(name, mode)[1]

    def _opened(self, name: BlobName, mode: str) -> tuple[Record, IO[bytes]]:
        for _ in range(_OPEN_TRIES):
            record = self._find(name)
            try:
                return record, open(self._layout.object(name, record.object_id), mode, buffering=0)
            except FileNotFoundError:
                continue
        raise BlobRequestFailed(f"{name}: its content is missing from the directory store")

    def open_at(self, name: BlobName, offset: int, etag: ETag | None) -> IO[bytes]:
        """To read from there; the caller closes it."""
        record, file = self._opened(name, "rb")
        try:
            status = os.fstat(file.fileno())
            rules.check_read(name, status.st_size, _etag(record, status), offset, etag)
            file.seek(offset)
        except BaseException:
            file.close()
            raise
        return file

    def names(self, container: ContainerName, prefix: str) -> list[BlobName]:
        """Sorted by code points; reads every record."""
        if not self._layout.has_container(container):
            return []
        paths = (Record.from_json(file.read_bytes()).path for file in self._layout.records(container))
        return [BlobName(container, path) for path in sorted(paths) if path.startswith(prefix)]

    def _commit(
        self, name: BlobName, record: Record, write: Callable[[IO[bytes]], object], replace: Replace
    ) -> None:
        with self._layout.fresh(name.container) as (content, file):
            write(file)
        record = dataclasses.replace(record, object_id=content.name)
        final = self._layout.object(name, record.object_id)
        publish(content, final)
        with self._layout.deciding(name.container):
            before = self._look(name)
            try:
                self._check_writable(name, replace)
            except BlobAlreadyExists:
                final.unlink()
                raise
            self._publish_record(name, record)
            self._layout.show(name, final)
            if before is not None:
                self._layout.object(name, before.object_id).unlink(missing_ok=True)
        shutil.rmtree(self._layout.staged(name), ignore_errors=True)

    def _publish_record(self, name: BlobName, record: Record) -> None:
        with self._layout.fresh(name.container) as (fresh, file):
            file.write(record.to_json())
        publish(fresh, self._layout.record(name))

    def _look(self, name: BlobName) -> Record | None:
        try:
            return Record.from_json(self._layout.record(name).read_bytes())
        except FileNotFoundError:
            return None

    def _find(self, name: BlobName) -> Record:
        self._check_container(name)
        record = self._look(name)
        if record is None:
            raise BlobNotFound(f"{name}: no such blob")
        return record

    def _known_blocks(self, name: BlobName) -> dict[str, _Piece]:
        known: dict[str, _Piece] = {}
        record = self._look(name)
        if record is not None:
            file, offset = self._layout.object(name, record.object_id), 0
            for block_id, length in record.blocks:
                known[block_id] = _Piece(file, offset, length)
                offset += length
        return known | self._staged_blocks(name)

    def _staged_blocks(self, name: BlobName) -> dict[str, _Piece]:
        folder = self._layout.staged(name)
        if not folder.is_dir():
            return {}
        return {
            base64.b64encode(bytes.fromhex(file.name)).decode("ascii"): _Piece(file, 0, file.stat().st_size)
            for file in folder.iterdir()
        }

    def _check_container(self, name: BlobName) -> None:
        if not self._layout.has_container(name.container):
            raise BlobNotFound(f"{name}: no such container")

    def _check_writable(self, name: BlobName, replace: Replace) -> None:
        """Before the writing it only spares that; the decision falls where the record is published."""
        self._check_container(name)
        if replace or self._layout.record(name).exists():
            rules.check_replace(name, replace, None if replace is True else self._version(name))

    def _version(self, name: BlobName) -> ETag | None:
        try:
            record, file = self._opened(name, "rb")
        except BlobNotFound:
            return None
        with file:
            return _etag(record, os.fstat(file.fileno()))

    def _check_type(self, name: BlobName, wanted: BlobType) -> None:
        record = self._look(name)
        if record is not None and record.type is not wanted:
            raise BlobRequestFailed(f"{name}: it is a {record.type}, not a {wanted} (InvalidBlobType)")


def _touch(content: Path | int) -> None:
    """The kernel's own stamps are milliseconds apart, and two versions may be nearer to each other."""
    now = time.time_ns()
    os.utime(content, ns=(now, now))


def _etag(record: Record, status: os.stat_result) -> ETag:
    return ETag(f'"{record.object_id}-{status.st_mtime_ns:x}"')


def _check_md5(name: BlobName, body: Body, attributes: BlobAttributes) -> None:
    if attributes.content_md5 is None:
        return
    md5 = hashlib.md5(usedforsecurity=False)
    for piece in body:
        md5.update(piece)
    if md5.digest() != attributes.content_md5:
        raise ChecksumMismatch(
            f"{name}: {rules.body_length(body)} bytes do not have the MD5 that was sent along"
        )


def _write_all(body: Body) -> Callable[[IO[bytes]], None]:
    def write(file: IO[bytes]) -> None:
        for piece in body:
            rest = piece.cast("B")
            while rest.nbytes:
                rest = rest[file.write(rest) :]

    return write


def _copy_all(pieces: Sequence[_Piece]) -> Callable[[IO[bytes]], None]:
    def write(file: IO[bytes]) -> None:
        for piece in pieces:
            _copy(piece, file)

    return write


def _copy(piece: _Piece, target: IO[bytes]) -> None:
    left = piece.length
    with open(piece.file, "rb") as source:
        source.seek(piece.offset)
        while left:
            data = source.read(min(left, _COPY_BYTES))
            if not data:
                raise BlobRequestFailed(f"a block of the directory store lacks its last {left} bytes")
            target.write(data)
            left -= len(data)
