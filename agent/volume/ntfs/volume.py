"""One NTFS volume, read-only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from typing import BinaryIO

from agent.errors import DiskOperationFailed, NtfsDamaged
from agent.volume.block import BlockSource
from agent.volume.entry import DamagedRecord, Entry, StreamRef
from agent.volume.ntfs.content import ContentReader
from agent.volume.ntfs.finder import Finder
from agent.volume.ntfs.geometry import read_geometry
from agent.volume.ntfs.logfile import PAGE_BYTES, PAGES, is_open
from agent.volume.ntfs.record import AttributeType, decode_name
from agent.volume.ntfs.scan import scan
from agent.volume.ntfs.table import MasterFileTable
from agent.volume.ntfs.tree import FIRST_USER_RECORD
from agent.volume.window import WindowCache

_MFT_RECORD, _LOG_RECORD, _VOLUME_RECORD = 0, 2, 3
_DIRTY = 0x0001
_HIBERNATION_FILE = "hiberfil.sys"
_HIBERNATION_HEADER_BYTES = 4096
_HIBERNATED = frozenset({b"hibr", b"rstr"})
"""How the header begins while memory waits in the file, or when its return was begun and not finished; after
that Windows writes "wake", or zeros. Both cases of letters occur (PO_MEMORY_IMAGE, Windows 2000 to 11)."""
_MAX_IN_USE_BYTES = 4 * 1024 * 1024
"""Of the map of records in use: that of 32 million records."""


class NtfsVolume:
    """Names, sizes and places of everything on the volume, and the bytes of its streams.

    ``serial`` is the 64-bit volume serial, ``version`` (major, minor) of NTFS, ``is_dirty`` whether
    Windows did not finish with it (``is_hibernated``: whether it means to go on). Thread-safe, as its
    source is.
    """

    def __init__(self, source: BlockSource) -> None:
        """Use ``open``."""
        self._geometry = read_geometry(source)
        self._cached = source if isinstance(source, WindowCache) else WindowCache(source)
        self._table = MasterFileTable(self._cached, self._geometry, source)
        self._content = ContentReader(source, self._cached, self._table)
        self._finder = Finder(self._table, self._cached)
        self.serial = self._geometry.serial
        self.cluster_size = self._geometry.cluster_size
        self.record_size = self._geometry.record_size
        self.size_bytes = self._geometry.volume_bytes
        self.label, self.version, self.is_dirty = self._describe()

    @classmethod
    def open(cls, source: BlockSource) -> NtfsVolume:
        """Boot sector (or its backup) and $MFT (or $MFTMirr) are read.

        Raises VolumeNotNtfs when the source holds no NTFS, NtfsDamaged when its structures contradict
        each other, DiskOperationFailed when the volume is larger than the source, UnreadableSectors.
        """
        return cls(source)

    @property
    def record_count(self) -> int:
        """Records of $MFT, in use or not: no volume has more files."""
        return self._table.record_count

    @cached_property
    def is_hibernated(self) -> bool:
        """Whether a Windows that sleeps, or was shut down by fast startup, still counts on this volume.

        Told by hiberfil.sys in the root: its header, or that it is too short to have one, as on a volume
        that is not the sleeping Windows' own. What that Windows had not written yet is not on the volume.
        False also when the file cannot be found or read for damage.
        """
        head = bytearray(4)
        try:
            entry = self.find(_HIBERNATION_FILE)
            content = next((ref for ref in entry.streams if not ref.name), None) if entry else None
            if content is None or content.size < _HIBERNATION_HEADER_BYTES:
                return content is not None
            self.read_into(content, 0, memoryview(head))
        except (NtfsDamaged, DiskOperationFailed):
            return False
        return bytes(head).lower() in _HIBERNATED

    @property
    def is_log_open(self) -> bool:
        """Whether the volume was not dismounted: the newest changes may stand in $LogFile alone.

        False also when the log cannot be found or read for damage.
        """
        return is_open(self._restart_pages)

    @cached_property
    def state(self) -> str:
        """16 hex digits that are others after Windows has had the volume mounted for writing.

        Of what every mount or every new file changes: the restart pages of $LogFile, the first records of
        $MFT, and which records are in use. What cannot be read counts as nothing.
        """
        digest = hashlib.blake2b(self._restart_pages, digest_size=8)
        digest.update(
            self._table.beginning(_MFT_RECORD, AttributeType.DATA, FIRST_USER_RECORD * self.record_size)
        )
        digest.update(self._table.beginning(_MFT_RECORD, AttributeType.BITMAP, _MAX_IN_USE_BYTES))
        return digest.hexdigest()

    @cached_property
    def _restart_pages(self) -> bytes:
        return self._table.beginning(_LOG_RECORD, AttributeType.DATA, PAGES * PAGE_BYTES)

    def scan(self, scratch: BinaryIO | None = None) -> Iterator[Entry | DamagedRecord]:
        """Every name of every file and directory in use, and every record that cannot be parsed.

        $MFT is read once, from end to end, in pieces of 4 MiB; besides, only what lies outside of it is
        read: attribute lists and reparse points too long for their record, exactly these bytes. In the
        order of $MFT, but for files whose attribute list lies outside of it or leads to records that come
        later, and for what lies below a directory that comes later: they are given at the end. 8.3
        aliases are left out.

        ``scratch`` is an empty, seekable file open for reading and writing that the scan alone uses: the
        table of directories, the entries that wait, four bytes a record and the records that continue
        others lie there, and memory stays within 64 MiB (and a bit and a half a record, and some 250 bytes
        for each piece of a file in very many) whatever the volume holds. Names, times and places of the
        volume stand in it in the clear, and no content; so let it be unlinked. Without one all that is
        kept in memory, which then grows by some 4 bytes a record, 60 a directory, 300 a waiting entry, and
        a record for each that continues another one.

        Nothing that is wrong with one record raises; a device that is gone does (DiskOperationFailed), and
        so does a scratch file that cannot be written or read (StateUnusable), or not be as large as such
        a volume would need it (DriveError).
        """
        return scan(self._table, scratch)

    def read_into(self, ref: StreamRef, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer`` with the stream's bytes from ``offset`` on; all must lie below ``ref.size``.

        Extents that touch are one read of the source, straight into ``buffer``; holes and what lies
        beyond the valid size are zeros. Raises UnreadableSectors as the source does, NtfsDamaged when
        the stream is not what ``ref`` says, cannot be unpacked or is unsupported, DiskOperationFailed
        for a range outside of stream or volume.
        """
        self._content.read_into(ref, offset, buffer)

    def find(self, path: str) -> Entry | None:
        """The file of a path with backslashes from the volume's root, or None if there is none.

        Case is told apart only where names differ in nothing else; links are not followed. Raises
        NtfsDamaged when a directory's index contradicts itself or the table, UnreadableSectors.
        """
        return self._finder.find(path)

    def _describe(self) -> tuple[str, tuple[int, int], bool]:
        """Label, version and state from $Volume. Raises NtfsDamaged when they are not there."""
        attributes = self._table.attributes(self._table.referenced(_VOLUME_RECORD))
        label = ""
        version: tuple[int, int] | None = None
        flags = 0
        for each in attributes:
            if each.type == AttributeType.VOLUME_NAME and not each.mapped:
                label = decode_name(each.value[: each.size & ~1])
            elif each.type == AttributeType.VOLUME_INFORMATION and not each.mapped and each.size >= 12:
                value = each.value
                version = value[8], value[9]
                flags = int.from_bytes(value[10:12], "little")
        if version is None:
            raise NtfsDamaged("$Volume does not tell the version of NTFS")
        return label, version, flags & _DIRTY != 0
