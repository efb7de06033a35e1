"""Where a directory store keeps what, and how a file gets there whole or not at all.

::

    ROOT/CONTAINER/path/of/blob         the blob under its own name, for people to look at
    ROOT/.store/CONTAINER/records/H     JSON: name, type, attributes, object; H = SHA-256 of the path
    ROOT/.store/CONTAINER/objects/ID    the content
    ROOT/.store/CONTAINER/staged/H/B    blocks not committed yet; B = the block id in hex
    ROOT/.store/CONTAINER/fresh/ID      files being written
    ROOT/.store/CONTAINER/lock          held while it is decided which record stands (``flock``)

A record is what makes a blob exist: it appears in one step (``rename``), so any blob name works and
none can leave the root. The file under the blob's own name is
a hard link to the object. It is left out where a file system cannot have it: a segment of more
than 255 bytes, an empty segment, or a blob ``a`` beside a blob ``a/b``.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from agent.model.blobs import BlobName
from agent.model.identity import ContainerName

_MAX_SEGMENT_BYTES = 255
_PRIVATE = ".store"
_PARTS = ("records", "objects", "staged", "fresh")


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below one root; methods that touch the disk block, and raise OSError."""

    root: Path

    def has_container(self, container: ContainerName) -> bool:
        """Whether it was made."""
        return self._part(container, "records").is_dir()

    def make_container(self, container: ContainerName) -> None:
        """Idempotent; ``records`` is made last, and stands for the whole."""
        (self.root / container.text).mkdir(parents=True, exist_ok=True)
        for part in reversed(_PARTS):
            self._part(container, part).mkdir(parents=True, exist_ok=True)

    def record(self, name: BlobName) -> Path:
        """The record of a blob."""
        return self._part(name.container, "records") / _hash(name)

    def records(self, container: ContainerName) -> list[Path]:
        """All records of a container, in no order."""
        return list(self._part(container, "records").iterdir())

    def object(self, name: BlobName, object_id: str) -> Path:
        """The content of a blob."""
        return self._part(name.container, "objects") / object_id

    def staged(self, name: BlobName) -> Path:
        """The folder of a blob's staged blocks."""
        return self._part(name.container, "staged") / _hash(name)

    @contextmanager
    def deciding(self, container: ContainerName) -> Iterator[None]:
        """Nobody else, in this process or another, decides at the same time what record stands."""
        descriptor = os.open(self._part(container, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def fresh(self, container: ContainerName) -> Iterator[tuple[Path, IO[bytes]]]:
        """A new file, on the disk at the end of the block, where it must be moved away."""
        path = self._part(container, "fresh") / uuid.uuid4().hex
        try:
            with open(path, "xb") as file:
                yield path, file
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def show(self, name: BlobName, content: Path) -> None:
        """Puts the content under the blob's own name, where the file system can have it."""
        own = self._own_name(name)
        if own is None:
            return
        link = self._part(name.container, "fresh") / uuid.uuid4().hex
        with suppress(OSError):
            own.parent.mkdir(parents=True, exist_ok=True)
            os.link(content, link)
            os.replace(link, own)
        link.unlink(missing_ok=True)

    def hide(self, name: BlobName) -> None:
        """Takes away what ``show`` put there, and the folders that are empty then."""
        own = self._own_name(name)
        if own is None:
            return
        own.unlink(missing_ok=True)
        for folder in own.parents:
            if folder == self.root / name.container.text:
                return
            with suppress(OSError):
                folder.rmdir()

    def remove_container(self, container: ContainerName) -> None:
        """With all that is in it; nothing happens when it is not there."""
        for folder in (self.root / container.text, self.root / _PRIVATE / container.text):
            if folder.exists():
                shutil.rmtree(folder)

    def folders(self) -> tuple[Path, Path]:
        """Those that the first container makes, inner first."""
        return self.root / _PRIVATE, self.root

    def _own_name(self, name: BlobName) -> Path | None:
        segments = name.path.split("/")
        if any(
            segment in ("", ".", "..") or "\0" in segment or len(os.fsencode(segment)) > _MAX_SEGMENT_BYTES
            for segment in segments
        ):
            return None
        return self.root.joinpath(name.container.text, *segments)

    def _part(self, container: ContainerName, part: str) -> Path:
        return self.root / _PRIVATE / container.text / part


def publish(fresh: Path, target: Path) -> None:
    """Makes a finished file visible in one step, in place of what was there."""
    os.replace(fresh, target)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Makes the names in it outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hash(name: BlobName) -> str:
    return hashlib.sha256(name.path.encode("utf-8", "surrogatepass")).hexdigest()
