"""Directory indexes: one name looked up in one directory's B-tree.

Source: libyal, NTFS, section "The index". A node's entries are ordered by the name in the volume's
upper case, code unit by code unit; an entry may lead to a node of smaller names.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from agent.errors import NtfsDamaged
from agent.volume.block import BlockSource
from agent.volume.ntfs.extents import ExtentMap, map_extents
from agent.volume.ntfs.facts import FileName, parse_file_name
from agent.volume.ntfs.fixups import INDEX_SIGNATURE, WHY, Verdict, apply_fixups
from agent.volume.ntfs.geometry import INDEX_SIZES, Geometry
from agent.volume.ntfs.record import Attribute, AttributeType

UPCASE_BYTES = 131072
MAX_INDEX_DEPTH = 32
_INDEX_NAME = "$I30"
_HAS_CHILD = 1
_IS_LAST = 2
_ENTRY = struct.Struct("<QHHH")
"""Reference, length, key length, flags; the key begins at 16, the child's VCN is the last 8 bytes."""
_KEY_PLACE = 16
_ROOT_HEADER = 16
_BLOCK_HEADER = 24


class UpperCase:
    """The volume's own table of upper-case letters."""

    def __init__(self, table: bytes) -> None:
        """``table`` is the content of $UpCase. Raises NtfsDamaged unless it has 65536 code units."""
        if len(table) != UPCASE_BYTES:
            raise NtfsDamaged(f"$UpCase has {len(table)} bytes, not {UPCASE_BYTES}")
        self._table = np.frombuffer(table, dtype="<u2")

    def key(self, name: str) -> bytes:
        """Compares as NTFS orders names."""
        units = np.frombuffer(name.encode("utf-16-le", "surrogatepass"), dtype="<u2")
        key: bytes = self._table[units].astype(">u2").tobytes()
        return key


@dataclass(frozen=True, slots=True)
class Found:
    """An index entry: the file's reference and the name under which it stands there."""

    reference: int
    name: str


class DirectoryIndex:
    """The index of one directory."""

    def __init__(
        self, number: int, attributes: list[Attribute], source: BlockSource, geometry: Geometry
    ) -> None:
        """``attributes`` are all of the directory's. Raises NtfsDamaged when it has no sound index."""
        roots = [each for each in attributes if _is_index(each, AttributeType.INDEX_ROOT)]
        if len(roots) != 1 or roots[0].mapped or roots[0].size < _ROOT_HEADER + 16:
            raise NtfsDamaged(f"MFT record {number}: the directory has no sound index root")
        self._number = number
        self._source = source
        self._root = roots[0].value
        self._block_size = int.from_bytes(self._root[8:12], "little")
        if self._block_size not in INDEX_SIZES:
            raise NtfsDamaged(f"MFT record {number}: index blocks of {self._block_size} bytes")
        # Blocks smaller than a cluster are counted in sectors of 512 bytes.
        self._vcn_bytes = geometry.cluster_size if geometry.cluster_size <= self._block_size else 512
        parts = [each for each in attributes if _is_index(each, AttributeType.INDEX_ALLOCATION)]
        self._blocks = ExtentMap(map_extents(parts, geometry)) if parts else None

    def look_up(self, name: str, upper: UpperCase) -> Found | None:
        """The entry of that very name, else one that differs in case only.

        Raises NtfsDamaged when the tree contradicts itself or is too deep, UnreadableSectors.
        """
        wanted = upper.key(name), name.encode("utf-16-be", "surrogatepass")
        node: bytes | bytearray = self._root
        start = _ROOT_HEADER
        similar: Found | None = None
        for _ in range(MAX_INDEX_DEPTH):
            child, found = self._step(node, start, wanted, upper)
            if found is not None:
                if found.name == name:
                    return found
                similar = similar or found
            if child is None:
                return similar
            node, start = self._block(child), _BLOCK_HEADER
        raise NtfsDamaged(f"MFT record {self._number}: the index is deeper than {MAX_INDEX_DEPTH} nodes")

    def _step(
        self, node: bytes | bytearray, start: int, wanted: tuple[bytes, bytes], upper: UpperCase
    ) -> tuple[int | None, Found | None]:
        """The child to go on in, if there is one, and an entry of the wanted upper case, if met."""
        first, used = struct.unpack_from("<II", node, start)
        at, end = start + first, start + used
        similar: Found | None = None
        if end > len(node) or first < 16:
            raise NtfsDamaged(f"MFT record {self._number}: an index node has entries at {at}..{end}")
        while at + _KEY_PLACE <= end:
            reference, length, key_length, flags = _ENTRY.unpack_from(node, at)
            if length < _KEY_PLACE or length % 8 or at + length > end:
                raise NtfsDamaged(f"MFT record {self._number}: an index entry has {length} bytes")
            child = self._child(node, at, length, flags)
            if flags & _IS_LAST:
                return child, similar
            if _KEY_PLACE + key_length > length:
                raise NtfsDamaged(f"MFT record {self._number}: an index key of {key_length} bytes")
            key = self._key(node, at + _KEY_PLACE, key_length)
            upper_case = upper.key(key.name)
            if upper_case == wanted[0]:
                found = Found(reference, key.name)
                exact = key.name.encode("utf-16-be", "surrogatepass")
                if exact == wanted[1]:
                    return None, found
                similar = similar or found
                if wanted[1] < exact:
                    return child, similar
            elif wanted[0] < upper_case:
                return child, similar
            at += length
        raise NtfsDamaged(f"MFT record {self._number}: an index node does not end")

    def _key(self, node: bytes | bytearray, start: int, length: int) -> FileName:
        return parse_file_name(node, start, start + length, self._number)

    def _child(self, node: bytes | bytearray, at: int, length: int, flags: int) -> int | None:
        if not flags & _HAS_CHILD:
            return None
        if length < _KEY_PLACE + 8:
            raise NtfsDamaged(f"MFT record {self._number}: an index entry of {length} bytes has a child")
        return int.from_bytes(node[at + length - 8 : at + length], "little")

    def _block(self, vcn: int) -> bytearray:
        block = bytearray(self._block_size)
        if self._blocks is None:
            raise NtfsDamaged(f"MFT record {self._number}: the index leads to block {vcn} and has none")
        self._blocks.read_into(self._source, vcn * self._vcn_bytes, memoryview(block))
        verdict = Verdict(apply_fixups(block, self._block_size, INDEX_SIGNATURE)[0])
        if verdict is not Verdict.SOUND:
            raise NtfsDamaged(f"MFT record {self._number}: index block {vcn} is damaged: {WHY[verdict]}")
        if int.from_bytes(block[16:24], "little") != vcn:
            raise NtfsDamaged(f"MFT record {self._number}: index block {vcn} says that it is another one")
        return block


def _is_index(attribute: Attribute, kind: AttributeType) -> bool:
    return attribute.type == kind and attribute.name == _INDEX_NAME
