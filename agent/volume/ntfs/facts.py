"""What the attributes of one file say of it: names, times, links, streams.

Source: libyal, NTFS, sections "The standard information attribute", "The file name attribute" and
"The reparse point attribute"; tags from [MS-FSCC] section 2.1.2.1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from agent.errors import NtfsDamaged
from agent.volume.entry import StreamKind, StreamRef
from agent.volume.ntfs.extents import MAX_RUNS, map_extents
from agent.volume.ntfs.record import (
    COMPRESSED,
    DIRECTORY,
    ENCRYPTED,
    SPARSE,
    Attribute,
    AttributeType,
    Record,
    decode_name,
)
from agent.volume.ntfs.reparse import MAX_REPARSE_BYTES, WOF, why_unreadable
from agent.volume.ntfs.table import MasterFileTable
from agent.volume.ntfs.wof import PACKED_STREAM, content_of

DOS_NAMESPACE = 2
# Plain numbers: comparing with members of an enum is a fifth of the time of a scan.
_DATA = int(AttributeType.DATA)
_FILE_NAME = int(AttributeType.FILE_NAME)
_STANDARD_INFORMATION = int(AttributeType.STANDARD_INFORMATION)
_NAME_PLACE = 66
_INFORMATION = struct.Struct("<QQQQI")
"""Created, modified, record changed, accessed; DOS flags."""
_NAME_HEAD = struct.Struct("<Q56xBB")
"""Parent, then the name's length in characters and its namespace."""
_MAX_UNIT_SHIFT = 8


class FileName(NamedTuple):
    """One $FILE_NAME: the directory it stands in, its namespace, the name."""

    parent: int
    namespace: int
    name: str


@dataclass(slots=True)
class FileFacts:
    """The attributes of one file, sorted by what they are for."""

    information: tuple[int, int, int, int, int] | None = None
    names: list[FileName] = field(default_factory=list)
    data: dict[str, list[Attribute]] = field(default_factory=dict)
    reparse: list[Attribute] = field(default_factory=list)
    has_efs: bool = False

    def proper_names(self) -> list[FileName]:
        """Without the 8.3 aliases, unless there is nothing else."""
        if len(self.names) == 1:
            return self.names
        return [name for name in self.names if name.namespace != DOS_NAMESPACE] or self.names


def gather(attributes: Sequence[Attribute], number: int) -> FileFacts:
    """Raises NtfsDamaged when a name or the times do not fit their attribute."""
    facts = FileFacts()
    for each in attributes:
        kind = each[0]
        if kind == _DATA:
            facts.data.setdefault(each.name, []).append(each)
        elif kind == _FILE_NAME:
            facts.names.append(parse_file_name(each.buffer, each.start, each.end, number))
        elif kind == _STANDARD_INFORMATION and not each.mapped:
            if each.size < _INFORMATION.size:
                raise NtfsDamaged(f"MFT record {number}: $STANDARD_INFORMATION has {each.size} bytes")
            facts.information = _INFORMATION.unpack_from(each.buffer, each.start)
        elif kind == AttributeType.REPARSE_POINT:
            facts.reparse.append(each)
        elif kind == AttributeType.LOGGED_UTILITY_STREAM and each.name == "$EFS":
            facts.has_efs = True
    return facts


def parse_file_name(buffer: bytes | bytearray, start: int, end: int, number: int) -> FileName:
    """The $FILE_NAME in ``buffer[start:end]``, of an attribute or of an index entry. Raises NtfsDamaged."""
    if end - start < _NAME_PLACE:
        raise NtfsDamaged(f"MFT record {number}: a name does not fit its {end - start} bytes")
    parent, length, namespace = _NAME_HEAD.unpack_from(buffer, start)
    name_start = start + _NAME_PLACE
    name_end = name_start + 2 * length
    if not length or name_end > end:
        raise NtfsDamaged(
            f"MFT record {number}: a name of {length} characters in an attribute of {end - start} bytes"
        )
    return FileName(parent, namespace, decode_name(buffer[name_start:name_end]))


def build_streams(
    record: Record, facts: FileFacts, table: MasterFileTable, reparse_tag: int | None
) -> tuple[StreamRef, ...]:
    """The unnamed stream first. One whose runlist is damaged says so in ``unsupported``."""
    data = facts.data
    if not data:
        return ()
    why = None
    if not record.flags & DIRECTORY:
        information = facts.information
        if facts.has_efs or (information and information[4] & ENCRYPTED):
            why = _EFS
    if reparse_tag == WOF and why is None and not record.flags & DIRECTORY:
        return _wof_streams(record, facts, table)
    if len(data) == 1:
        ((name, instances),) = data.items()
        return (_build_stream(record, name, instances, table, why, reparse_tag),)
    return tuple(_build_each(record, facts, table, why, reparse_tag))


def _build_each(
    record: Record, facts: FileFacts, table: MasterFileTable, why: str | None, reparse_tag: int | None
) -> Iterator[StreamRef]:
    """By name. The pieces of all streams together are bounded: a file may have thousands of streams."""
    left = MAX_RUNS
    for name in sorted(facts.data):
        stream = _build_stream(record, name, facts.data[name], table, why, reparse_tag, left)
        left -= len(stream.extents)
        yield stream


def _wof_streams(record: Record, facts: FileFacts, table: MasterFileTable) -> tuple[StreamRef, ...]:
    """What the content is packed in is no stream of its own, as Windows shows it, unless it is damaged."""
    streams = {each.name: each for each in _build_each(record, facts, table, None, None)}
    if "" in streams:
        reparse = table.value(facts.reparse, MAX_REPARSE_BYTES)
        streams[""] = content_of(streams[""], streams.get(PACKED_STREAM), reparse)
        if streams[""].kind is StreamKind.WOF:
            del streams[PACKED_STREAM]
    return tuple(streams.values())


_EFS = "encrypted (EFS): the key is not on the drive"


def _build_stream(
    record: Record,
    name: str,
    instances: list[Attribute],
    table: MasterFileTable,
    why: str | None,
    reparse_tag: int | None,
    max_runs: int | None = None,
) -> StreamRef:
    number, sequence = record.number, record.sequence
    head = instances[0]
    if len(instances) > 1:
        head = min(instances, key=lambda each: each.first_vcn)
    flags = head.flags
    if flags & ENCRYPTED:
        why = _EFS
    if reparse_tag is not None and not name and why is None:
        why = why_unreadable(reparse_tag, record.flags & DIRECTORY != 0)
    size = head.size
    if not head.mapped:
        if len(instances) > 1:
            why = f"damaged: {len(instances)} attributes claim to be the stream"
        place = table.offset(number)
        return StreamRef(number, sequence, name, StreamKind.RESIDENT, size, size, 0, (), why, place)
    kind, unit = StreamKind.PLAIN, 0
    valid = min(head.valid_size, size)
    try:
        if flags & COMPRESSED:
            kind, unit = StreamKind.COMPRESSED, _unit_bytes(head, table.geometry.cluster_size)
        elif flags & SPARSE:
            kind = StreamKind.SPARSE
        extents = map_extents(instances, table.geometry, max_runs)
        if (extents[0][1] if len(extents) == 1 else sum(length for _, length in extents)) < size:
            raise NtfsDamaged(f"the runlist maps less than the {size} bytes of the stream")
    except NtfsDamaged as damage:
        place = table.offset(number)
        why = f"damaged: {damage.detail}"
        return StreamRef(number, sequence, name, StreamKind.PLAIN, size, valid, 0, (), why, place)
    return StreamRef(
        number, sequence, name, kind, size, valid, unit, extents, why, _first(extents, table, number)
    )


def _first(extents: tuple[tuple[int | None, int], ...], table: MasterFileTable, number: int) -> int:
    for offset, _ in extents:
        if offset is not None:
            return offset
    return table.offset(number)


def _unit_bytes(head: Attribute, cluster_size: int) -> int:
    if head.flags & COMPRESSED != 1:
        raise NtfsDamaged(f"compression format {head.flags & COMPRESSED} is unknown")
    if not 0 < head.unit_shift <= _MAX_UNIT_SHIFT:
        raise NtfsDamaged(f"a compression unit of 2^{head.unit_shift} clusters is not possible")
    return cluster_size << head.unit_shift
