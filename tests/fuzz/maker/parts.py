"""The small structures of NTFS, written: attributes, runlists, records, index nodes.

Source: libyal, "New Technologies File System (NTFS)". Nothing is checked: a caller may write what
contradicts itself.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

Run = tuple[int | None, int]
"""First cluster (None: a hole), clusters."""

TIME = 133_513_851_060_000_000
"""2024-02-03 04:05:06 UTC."""

STANDARD_INFORMATION, ATTRIBUTE_LIST, FILE_NAME = 0x10, 0x20, 0x30
VOLUME_NAME, VOLUME_INFORMATION, DATA = 0x60, 0x70, 0x80
INDEX_ROOT, INDEX_ALLOCATION, BITMAP, REPARSE_POINT, LOGGED = 0x90, 0xA0, 0xB0, 0xC0, 0x100
STRIDE = 512


def reference(number: int, sequence: int = 1) -> int:
    """How records point at one another."""
    return number | sequence << 48


def padded(data: bytes, to: int = 8) -> bytes:
    """With zeros up to a multiple."""
    return data + bytes(-len(data) % to)


def resident(kind: int, value: bytes, name: str = "", flags: int = 0) -> bytes:
    """An attribute that holds its value; its id is set by ``file_record``."""
    spelled = name.encode("utf-16-le", "surrogatepass")
    value_at = 24 + len(padded(spelled))
    head = struct.pack("<IIBBHHHIHBB", kind, 0, 0, len(name), 24, flags, 0, len(value), value_at, 0, 0)
    return _sized(head + padded(spelled) + value)


def mapped(
    kind: int,
    runs: Sequence[Run],
    size: int,
    *,
    cluster_size: int = 4096,
    valid: int | None = None,
    name: str = "",
    flags: int = 0,
    unit_shift: int = 0,
    first_vcn: int = 0,
    allocated: int | None = None,
) -> bytes:
    """An attribute that holds a runlist; ``allocated`` bytes are those of all its instances."""
    spelled = name.encode("utf-16-le", "surrogatepass")
    clusters = sum(length for _, length in runs)
    names_at = 72 if unit_shift else 64
    runs_at = names_at + len(padded(spelled))
    stored = sum(length for cluster, length in runs if cluster is not None) * cluster_size
    head = struct.pack("<IIBBHHH", kind, 0, 1, len(name), names_at, flags, 0)
    head += struct.pack("<QqHH4x", first_vcn, first_vcn + clusters - 1, runs_at, unit_shift)
    allocated = clusters * cluster_size if allocated is None else allocated
    head += struct.pack("<QQQ", allocated, size, size if valid is None else valid)
    if unit_shift:
        head += struct.pack("<Q", stored)
    return _sized(head + padded(spelled) + run_list(runs))


def _sized(attribute: bytes) -> bytes:
    whole = padded(attribute)
    return whole[:4] + struct.pack("<I", len(whole)) + whole[8:]


def run_list(runs: Sequence[Run]) -> bytes:
    """Packed, with its end mark."""
    out, last = b"", 0
    for cluster, length in runs:
        if cluster is None:
            out += one_run(length, None)
        else:
            out += one_run(length, cluster - last)
            last = cluster
    return out + b"\0"


def one_run(length: int, distance: int | None) -> bytes:
    """One run with fields as short as they can be; a length may need its sign bit clear."""
    size = _signed(length)
    if distance is None:
        return bytes([len(size)]) + size
    step = _signed(distance)
    return bytes([len(size) | len(step) << 4]) + size + step


def _signed(value: int) -> bytes:
    width = 1
    while not -(1 << 8 * width - 1) <= value < 1 << 8 * width - 1:
        width += 1
    return value.to_bytes(width, "little", signed=True)


def file_record(
    number: int,
    attributes: Sequence[bytes],
    *,
    size: int = 1024,
    sequence: int = 1,
    flags: int = 1,
    links: int = 1,
    base: int = 0,
) -> bytes:
    """A record with ids given to its attributes in their order, fix-ups applied."""
    strides = size // STRIDE
    first = 48 + (2 * (strides + 1) + 7) // 8 * 8
    body = b""
    for attribute_id, each in enumerate(attributes):
        body += each[:14] + struct.pack("<H", attribute_id) + each[16:]
    used = first + len(body) + 8
    if used > size:
        raise ValueError(f"record {number} needs {used} bytes")
    head = struct.pack("<4sHHQHHHHIIQHHI", b"FILE", 48, strides + 1, 0, sequence, links, first, flags, used,
                       size, base, len(attributes), 0, number)  # fmt: skip
    record = bytearray((head.ljust(first, b"\0") + body + b"\xff\xff\xff\xff\0\0\0\0").ljust(size, b"\0"))
    protect(record, 0x0101)
    return bytes(record)


def protect(record: bytearray, number: int | None = None) -> None:
    """Apply the update sequence, in place, as far as the header's own array of it fits."""
    at, count = struct.unpack_from("<HH", record, 4)
    if at % 2 or at + 2 * count > len(record) or count < 2:
        return
    if number is not None:
        struct.pack_into("<H", record, at, number)
    mark = bytes(record[at : at + 2])
    for index in range(1, count):
        tail = index * STRIDE - 2
        if tail + 2 > len(record) or at <= tail < at + 2 * count:
            return
        record[at + 2 * index : at + 2 * index + 2] = record[tail : tail + 2]
        record[tail : tail + 2] = mark


def unprotect(record: bytearray) -> None:
    """Undo ``protect``, in place; leaves alone what does not look protected."""
    at, count = struct.unpack_from("<HH", record, 4)
    if at % 2 or at + 2 * count > len(record) or count < 2 or (count - 1) * STRIDE > len(record):
        return
    for index in range(1, count):
        tail = index * STRIDE - 2
        record[tail : tail + 2] = record[at + 2 * index : at + 2 * index + 2]


def information(attributes: int = 0x20) -> bytes:
    """$STANDARD_INFORMATION."""
    value = struct.pack("<QQQQI", TIME, TIME + 1, TIME + 2, TIME + 3, attributes)
    return resident(STANDARD_INFORMATION, value.ljust(72, b"\0"))


def name_value(
    parent: int, name: str, namespace: int = 1, size: int = 0, is_directory: bool = False
) -> bytes:
    """The value of a $FILE_NAME, which is also the key of an index entry."""
    flags = 0x10000000 if is_directory else 0x20
    head = struct.pack("<QQQQQQQII", parent, TIME, TIME, TIME, TIME, size + -size % 8, size, flags, 0)
    return head + struct.pack("<BB", len(name), namespace) + name.encode("utf-16-le", "surrogatepass")


def file_name(parent: int, name: str, namespace: int = 1, is_directory: bool = False) -> bytes:
    """A $FILE_NAME attribute."""
    return resident(FILE_NAME, name_value(parent, name, namespace, is_directory=is_directory))


def list_entry(kind: int, first_vcn: int, where: int, attribute_id: int, name: str = "") -> bytes:
    """One line of an attribute list."""
    spelled = name.encode("utf-16-le", "surrogatepass")
    length = (26 + len(spelled) + 7) // 8 * 8
    head = struct.pack("<IHBBQQH", kind, length, len(name), 26, first_vcn, where, attribute_id)
    return (head + spelled).ljust(length, b"\0")


def index_entry(where: int, key: bytes, child: int | None = None, is_last: bool = False) -> bytes:
    """One entry of a node; the last one has no key."""
    body = b"" if is_last else key
    flags = (child is not None) | is_last << 1
    tail = b"" if child is None else struct.pack("<Q", child)
    length = 16 + len(padded(body)) + len(tail)
    head = struct.pack("<QHHHH", 0 if is_last else where, length, len(body), flags, 0)
    return head + padded(body) + tail


def index_root(entries: bytes, block_size: int, blocks_per_unit: int, has_children: bool) -> bytes:
    """$INDEX_ROOT of a directory."""
    head = struct.pack("<IIIB3x", FILE_NAME, 1, block_size, blocks_per_unit)
    used = 16 + len(entries)
    node = struct.pack("<IIIB3x", 16, used, used, has_children)
    return resident(INDEX_ROOT, head + node + entries, "$I30")


def index_block(vcn: int, entries: bytes, size: int, has_children: bool) -> bytes:
    """One INDX block, fix-ups applied."""
    count = size // STRIDE + 1
    first = (16 + 2 * count + 7) // 8 * 8
    head = struct.pack("<4sHHQQ", b"INDX", 40, count, 0, vcn)
    head += struct.pack("<IIIB3x", first, first + len(entries), size - 24, has_children)
    block = bytearray(head.ljust(24 + first, b"\0") + entries)
    if len(block) > size:
        raise ValueError(f"index block {vcn} needs {len(block)} bytes")
    block = block.ljust(size, b"\0")
    protect(block, 0x0202)
    return bytes(block)


def boot_sector(
    *,
    sector_size: int,
    cluster_size: int,
    sectors: int,
    mft: int,
    mirror: int,
    record_size: int,
    index_size: int,
) -> bytes:
    """``mft`` and ``mirror`` in clusters."""
    sector = bytearray(512)
    sector[:11] = b"\xeb\x52\x90NTFS    "
    struct.pack_into("<HB", sector, 11, sector_size, cluster_size // sector_size)
    sector[21] = 0xF8
    struct.pack_into("<HH", sector, 24, 63, 255)
    struct.pack_into("<I", sector, 36, 0x00800080)
    sizes = [_size_code(size, cluster_size) for size in (record_size, index_size)]
    struct.pack_into("<QQQb3xb3xQ", sector, 40, sectors, mft, mirror, *sizes, 0x1234_5678_9ABC_DEF0)
    sector[510:] = b"\x55\xaa"
    return bytes(sector)


def _size_code(size: int, cluster_size: int) -> int:
    return size // cluster_size if size >= cluster_size else -(size.bit_length() - 1)


def reparse(tag: int, data: bytes) -> bytes:
    """$REPARSE_POINT."""
    return resident(REPARSE_POINT, struct.pack("<IHH", tag, len(data), 0) + data)


def link_data(substitute: str, shown: str, flags: int | None) -> bytes:
    """The data of a symbolic link (with ``flags``) or a mount point (without)."""
    first, second = substitute.encode("utf-16-le"), shown.encode("utf-16-le")
    head = struct.pack("<4H", 0, len(first), len(first) + 2, len(second))
    head += b"" if flags is None else struct.pack("<I", flags)
    return head + first + b"\0\0" + second + b"\0\0"
