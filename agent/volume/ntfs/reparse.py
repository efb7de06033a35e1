"""Reparse points: where links lead, and which tags mean that the content is not in the stream.

Source: [MS-FSCC] section 2.1.2 (tags; buffers of symbolic links and mount points).
"""

from __future__ import annotations

import struct

from agent.errors import NtfsDamaged
from agent.volume.ntfs.record import decode_name

MAX_REPARSE_BYTES = 16 * 1024
MOUNT_POINT = 0xA0000003
SYMLINK = 0xA000000C
LX_SYMLINK = 0xA000001D
WOF = 0x80000017

_CLOUD_MASK = 0xFFFF0FFF
_CLOUD = 0x9000001A
_ELSEWHERE = {
    WOF: "WOF-compressed (compact /exe)",
    0xC0000004: "moved to remote storage (HSM)",
    0x80000005: "on another drive of the pool (Drive Extender)",
    0x80000006: "moved to remote storage (HSM2)",
    0x80000007: "single-instance storage",
    0x80000008: "in a mounted WIM file",
    0x80000009: "on a cluster shared volume",
    0x80000013: "deduplicated",
    0xC0000014: "streamed with its app package",
    0x80000015: "cloud placeholder (OneDrive of Windows 8.1)",
    0x80000016: "fetched on demand (dynamic file filter)",
    0x80000018: "container layer (WCI)",
    0x90001018: "container layer (WCI)",
    0x9000001C: "a projected placeholder (ProjFS)",
    0x8000001E: "tiered to the cloud (Azure File Sync)",
    0xA000001F: "deleted from a container layer (WCI)",
    0x80000021: "cloud placeholder (OneDrive)",
    0xA0000022: "deleted from a projection (ProjFS)",
    0x90000027: "tiered to the cloud (Azure File Sync)",
    0xA0000027: "container layer (WCI)",
    0xA0001027: "container layer (WCI)",
    0xA0000028: "in a composite image (CIM)",
}
_PLAIN_DATA = frozenset(
    {
        MOUNT_POINT,
        SYMLINK,
        LX_SYMLINK,
        0x8000000A,  # DFS
        0x80000012,  # DFS replication
        0x80000014,  # NFS special file
        0x8000001B,  # app execution alias
        0x80000023,  # AF_UNIX socket
        0x80000024,  # WSL fifo
        0x80000025,  # WSL character device
        0x80000026,  # WSL block device
    }
)


def why_unreadable(tag: int, is_directory: bool) -> str | None:
    """Why the unnamed stream of a file with this tag is not its content, or None if it is.

    An unknown tag counts as unreadable: such a stream often reads as zeros without being so.
    """
    if is_directory or tag in _PLAIN_DATA:
        return None
    if tag & _CLOUD_MASK == _CLOUD:
        return f"cloud placeholder (reparse tag {tag:#010x})"
    return f"{_ELSEWHERE.get(tag, 'reparse point of an unknown kind')} (reparse tag {tag:#010x})"


def parse_reparse(value: bytes) -> tuple[int, str | None]:
    """The tag, and the target if it is a link. Raises NtfsDamaged when the buffer is malformed."""
    if len(value) < 8:
        raise NtfsDamaged(f"a reparse point of {len(value)} bytes")
    tag = int.from_bytes(value[:4], "little")
    if tag == SYMLINK:
        return tag, _path(value, 20)
    if tag == MOUNT_POINT:
        return tag, _path(value, 16)
    if tag == LX_SYMLINK:
        return tag, value[12:].decode("utf-8", "replace")
    return tag, None


def _path(value: bytes, names_at: int) -> str:
    """The print name, or the substitute name where there is none."""
    if len(value) < names_at:
        raise NtfsDamaged(f"a link's reparse point has {len(value)} bytes")
    substitute, substitute_size, shown, shown_size = struct.unpack_from("<HHHH", value, 8)
    start, size = (shown, shown_size) if shown_size else (substitute, substitute_size)
    start += names_at
    if size % 2 or start + size > len(value):
        raise NtfsDamaged(f"a link's name lies outside the {len(value)} bytes of its reparse point")
    return decode_name(value[start : start + size])
