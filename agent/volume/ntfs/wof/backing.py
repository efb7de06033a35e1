"""From a WOF reparse point and two streams to the one that the customer sees.

Such a file has its size in the unnamed stream, which is a hole, and its content, packed, in the stream
``WofCompressedData``. The reparse point says by which provider and algorithm ([MS-FSCC] section 2.1.2.10
names the tag; the structures are WOF_EXTERNAL_INFO and FILE_PROVIDER_EXTERNAL_INFO of Windows' driver kit).
"""

from __future__ import annotations

import struct
from typing import Final

from agent.errors import NtfsDamaged
from agent.volume.entry import StreamKind, StreamRef
from agent.volume.ntfs.wof.chunks import ChunkTable

PACKED_STREAM: Final = "WofCompressedData"

_REPARSE_HEAD_BYTES = 8
_INFO = struct.Struct("<4I")
"""Version and provider of WOF; version and algorithm of the provider."""
_VERSION = 1
_WIM_PROVIDER, _FILE_PROVIDER = 1, 2
_CHUNK_BYTES = {0: 4096, 1: 32768, 2: 8192, 3: 16384}
"""By algorithm: XPRESS4K, LZX, XPRESS8K, XPRESS16K."""
_READABLE = (StreamKind.RESIDENT, StreamKind.PLAIN, StreamKind.SPARSE)


def content_of(unnamed: StreamRef, packed: StreamRef | None, reparse: bytes) -> StreamRef:
    """``unnamed`` as what it is unpacked from ``packed``; ``reparse`` is the whole reparse point.

    With ``unsupported`` set when that cannot be done. An empty stream needs no unpacking.
    """
    if unnamed.unsupported is not None or not unnamed.size:
        return unnamed
    try:
        chunk_bytes = chunk_size(reparse)
        if packed is None:
            raise NtfsDamaged(f"there is no stream {PACKED_STREAM}")
        _check(packed)
        ChunkTable(unnamed.size, chunk_bytes, packed.size)
    except NtfsDamaged as damage:
        return _unreadable(unnamed, f"WOF-compressed (compact /exe), {damage.detail}")
    return StreamRef(
        unnamed.record,
        unnamed.sequence,
        unnamed.name,
        StreamKind.WOF,
        unnamed.size,
        unnamed.size,
        chunk_bytes,
        packed.extents,
        None,
        packed.first_offset,
        packed.size,
    )


def _unreadable(unnamed: StreamRef, why: str) -> StreamRef:
    return StreamRef(
        unnamed.record,
        unnamed.sequence,
        unnamed.name,
        unnamed.kind,
        unnamed.size,
        unnamed.valid_size,
        unnamed.unit_bytes,
        unnamed.extents,
        why,
        unnamed.first_offset,
    )


def chunk_size(reparse: bytes) -> int:
    """The chunk of the algorithm in bytes. Raises NtfsDamaged when it is none that is known."""
    length = int.from_bytes(reparse[4:6], "little")
    if length < _INFO.size or len(reparse) < _REPARSE_HEAD_BYTES + _INFO.size:
        raise NtfsDamaged(f"its reparse point is too short ({length} of {len(reparse)} bytes)")
    version, provider, file_version, algorithm = _INFO.unpack_from(reparse, _REPARSE_HEAD_BYTES)
    if version == _VERSION and provider == _WIM_PROVIDER:
        raise NtfsDamaged("its content is in a WIM file elsewhere")
    if (version, provider, file_version) != (_VERSION, _FILE_PROVIDER, _VERSION):
        raise NtfsDamaged(f"of an unknown kind (version {version}.{file_version}, provider {provider})")
    if algorithm not in _CHUNK_BYTES:
        raise NtfsDamaged(f"its algorithm {algorithm} is unknown")
    return _CHUNK_BYTES[algorithm]


def _check(packed: StreamRef) -> None:
    if packed.unsupported is not None:
        raise NtfsDamaged(f"its stream {PACKED_STREAM} cannot be read: {packed.unsupported}")
    if packed.kind not in _READABLE:
        raise NtfsDamaged(f"its stream {PACKED_STREAM} is itself {packed.kind}")
    if packed.valid_size < packed.size:
        raise NtfsDamaged(
            f"only {packed.valid_size} of the {packed.size} bytes of its stream {PACKED_STREAM} were written"
        )
