"""What a drive manifest says, as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agent.model.codes import BlobType, Disposition
from agent.model.identity import SerialNumber
from agent.model.secrets import Secret


@dataclass(frozen=True, slots=True)
class HashedPath:
    """A file on the drive (backslashes, from the volume's root) and the 16 bytes of its MD5."""

    path: str
    md5: bytes


@dataclass(frozen=True, slots=True)
class Chunk:
    """A block or a page range: bytes [offset, offset + length) of file and blob alike."""

    offset: int
    length: int
    id: str | None
    md5: bytes


@dataclass(frozen=True, slots=True)
class ManifestBlob:
    """One ``Blob`` element, checked except for its two names.

    ``blob_path`` and ``file_path`` are the text of the manifest, whatever it is: a name that the
    service or NTFS refuses is trouble of this blob, not of the manifest. ``list_index`` counts the
    BlobLists from 0. ``snapshot`` (export) is kept as text, for it has seven digits of a second.
    """

    list_index: int
    blob_path: str
    file_path: str
    client_data: str | None
    snapshot: str | None
    length: int
    disposition: Disposition
    type: BlobType
    chunks: tuple[Chunk, ...]
    metadata: HashedPath | None
    properties: HashedPath | None
    list_metadata: HashedPath | None
    list_properties: HashedPath | None

    @property
    def is_covered(self) -> bool:
        """Whether the chunks tell all of the content.

        False for a block blob whose manifest entry has no list: its bytes cannot be verified
        against the manifest. A page blob is always covered, for bytes between its ranges are not data.
        """
        return self.type is BlobType.PAGE or not self.length or bool(self.chunks)


class CredentialKind(StrEnum):
    """The element that holds the manifest's own credential."""

    ACCOUNT_KEY = "StorageAccountKey"
    CONTAINER_SAS = "ContainerSas"


@dataclass(frozen=True, slots=True)
class ManifestHeader:
    """What stands before the blobs. Exports carry no credential, nor do imports of newer tools."""

    version: str
    drive_id: SerialNumber
    credential_kind: CredentialKind | None = None
    credential: Secret | None = None
    client_creator: str | None = None

    @property
    def has_credential(self) -> bool:
        """Whether the drive carries a key or a signature of the customer's account."""
        return self.credential is not None
