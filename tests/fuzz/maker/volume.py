"""A volume with the files that NTFS keeps for itself; ``files`` fills it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache

from tests.fuzz.maker import parts
from tests.fuzz.maker.clusters import Clusters, Shape
from tests.fuzz.maker.directories import index_attributes
from tests.fuzz.maker.parts import Run, reference

ROOT, EXTEND, FIRST_USER = 5, 11, 24
_SYSTEM = (
    "$MFT",
    "$MFTMirr",
    "$LogFile",
    "$Volume",
    "$AttrDef",
    ".",
    "$Bitmap",
    "$Boot",
    "$BadClus",
    "$Secure",
    "$UpCase",
    "$Extend",
)
_IS_DIRECTORY = 0x10000000


class VolumeMaker:
    """Takes files and directories, then writes the volume."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.clusters = Clusters(shape)
        self.files: dict[str, bytes] = {}
        """Path with forward slashes (a stream as ``file:stream``) to what a reader must find."""
        self._records: dict[int, bytes] = {}
        self._next_record = FIRST_USER
        self._next_directory = shape.first_directory
        self._parents = {ROOT: ROOT, EXTEND: ROOT}
        self._names = {ROOT: ".", EXTEND: "$Extend"}
        self._entries: dict[int, list[tuple[str, int, bytes]]] = {ROOT: [], EXTEND: []}
        for number, name in enumerate(_SYSTEM):
            self._enter(ROOT, name, number, 3, is_directory=number in self._parents)

    def number(self) -> int:
        """A new record number."""
        self._next_record += 1
        return self._next_record - 1

    def directory(self, parent: int, name: str) -> int:
        """A new directory; its record is written at the end, when its entries are known."""
        number = self._next_directory or self.number()
        self._next_directory += bool(self._next_directory)
        self._parents[number], self._names[number], self._entries[number] = parent, name, []
        self._enter(parent, name, number, 1, is_directory=True)
        return number

    def file(
        self,
        parent: int,
        name: str,
        attributes: Sequence[bytes],
        *,
        content: dict[str, bytes] | None = None,
        dos_flags: int = 0x20,
        other_names: Sequence[tuple[int, str, int]] = (),
        number: int | None = None,
    ) -> int:
        """A file; ``attributes`` are all but its times and names.

        ``content`` is what a reader must find, by stream; ``other_names`` are (parent, name, namespace).
        """
        number = self.number() if number is None else number
        names = [(parent, name, 1), *other_names]
        named = [parts.file_name(reference(up), text, space) for up, text, space in names]
        self.record(number, [parts.information(dos_flags), *named, *attributes], links=len(names))
        for up, text, space in names:
            self._enter(up, text, number, space)
            for stream, data in (content or {}).items():
                if space != 2:
                    self.files[f"{self.path(up)}{text}" + (f":{stream}" if stream else "")] = data
        return number

    def path(self, directory: int) -> str:
        """With a slash at its end; empty for the root."""
        if directory == ROOT:
            return ""
        return f"{self.path(self._parents[directory])}{self._names[directory]}/"

    def record(
        self, number: int, attributes: Sequence[bytes], *, flags: int = 1, links: int = 1, base: int = 0
    ) -> None:
        """A record of any kind; its attributes are put in the order of their types."""
        ordered = sorted(attributes, key=lambda each: struct.unpack_from("<I", each)[0])
        self._records[number] = parts.file_record(
            number, ordered, size=self.shape.record_size, flags=flags, links=links, base=base
        )

    def _enter(self, parent: int, name: str, number: int, namespace: int, is_directory: bool = False) -> None:
        key = parts.name_value(reference(parent), name, namespace, is_directory=is_directory)
        self._entries[parent].append((name, number, key))

    def finish(self) -> bytes:
        """The volume's bytes."""
        self._put_system_files()
        for directory in self._entries:
            self._put_directory(directory)
        self._put_table()
        return bytes(self.clusters.image)

    def _put_system_files(self) -> None:
        clusters, whole = self.clusters, self.clusters.count
        bad = clusters.mapped_runs(
            parts.DATA, [(None, whole)], whole * self.shape.cluster_size, "$Bad", flags=0x8000
        )
        version = parts.resident(parts.VOLUME_INFORMATION, struct.pack("<QBBH", 0, 3, 1, 0))
        label = parts.resident(parts.VOLUME_NAME, "FUZZ".encode("utf-16-le"))
        boot = clusters.mapped_runs(parts.DATA, [(0, clusters.needed(8192))], 8192)
        self._system(2, clusters.mapped(parts.DATA, b"RSTR".ljust(4096, b"\xff")))
        self._system(3, label, version, parts.resident(parts.DATA, b""))
        self._system(4, clusters.mapped(parts.DATA, bytes(2560)))
        self._system(7, boot)
        self._system(8, parts.resident(parts.DATA, b""), bad)
        self._system(9, clusters.mapped(parts.DATA, bytes(4096), name="$SDS"))
        self._system(10, clusters.mapped(parts.DATA, upper_case()))

    def _system(self, number: int, *attributes: bytes) -> None:
        name = parts.file_name(reference(ROOT), _SYSTEM[number], 3)
        self.record(number, [parts.information(6), name, *attributes])

    def _put_directory(self, number: int) -> None:
        entries = sorted(self._entries[number], key=lambda each: _collation(each[0]))
        name = parts.file_name(reference(self._parents[number]), self._names[number], 3, is_directory=True)
        index = index_attributes([(reference(child), key) for _, child, key in entries], self.clusters)
        self.record(number, [parts.information(_IS_DIRECTORY), name, *index], flags=3)

    def _put_table(self) -> None:
        clusters, size = self.clusters, self.shape.record_size
        mirror = clusters.allocate(clusters.needed(4 * size))
        bits = clusters.allocate(1)
        map_bytes = -(-clusters.count // 8)
        space = clusters.allocate(clusters.needed(map_bytes))
        runs = _table_runs(clusters, self.shape.records * size)
        self._system(1, clusters.mapped_runs(parts.DATA, [(mirror, clusters.needed(4 * size))], 4 * size))
        self._system(6, clusters.mapped_runs(parts.DATA, [(space, clusters.needed(map_bytes))], map_bytes))
        self._put_own_records(runs, clusters.mapped_runs(parts.BITMAP, [(bits, 1)], self.shape.records // 8))
        unused = [parts.file_record(number, [], size=size, flags=0) for number in range(self.shape.records)]
        table = b"".join(self._records.get(number, unused[number]) for number in range(self.shape.records))
        clusters.write_runs(runs, table)
        clusters.write(mirror, table[: 4 * size])
        clusters.write(
            bits,
            _bits([number for number, record in self._records.items() if record[22] & 1], self.shape.records),
        )
        clusters.write(space, _bits(range(clusters.next), clusters.count))
        self._put_boot_sector(runs, mirror)

    def _put_own_records(self, runs: list[Run], bitmap: bytes) -> None:
        """Record 0, and where the table is scattered the two further ones that its list names."""
        size = self.shape.records * self.shape.record_size
        own = [parts.information(6), parts.file_name(reference(ROOT), "$MFT", 3), bitmap]
        if not self.shape.is_scattered:
            self.record(0, [*own, self.clusters.mapped_runs(parts.DATA, runs, size)])
            return
        room = sum(length for _, length in runs) * self.shape.cluster_size
        cuts = (0, 1, len(runs) // 2, len(runs))
        holders = (0, 15, 16)
        data, lines, vcn = [], b"", 0
        for number, low, high in zip(holders, cuts, cuts[1:], strict=False):
            data.append(
                parts.mapped(
                    parts.DATA,
                    runs[low:high],
                    size if number == 0 else 0,
                    first_vcn=vcn,
                    cluster_size=self.shape.cluster_size,
                    allocated=room if number == 0 else 0,
                )
            )
            # In record 0 the attributes are: times, list, name, data, bitmap.
            lines += parts.list_entry(parts.DATA, vcn, reference(number), 3 if number == 0 else 0)
            vcn += sum(length for _, length in runs[low:high])
        for number, part in zip(holders[1:], data[1:], strict=True):
            self.record(number, [part], base=reference(0))
        early = b"".join(
            parts.list_entry(kind, 0, reference(0), place)
            for kind, place in ((parts.STANDARD_INFORMATION, 0), (parts.FILE_NAME, 2))
        )
        listed = early + lines + parts.list_entry(parts.BITMAP, 0, reference(0), 4)
        self.record(0, [*own, parts.resident(parts.ATTRIBUTE_LIST, listed), data[0]])

    def _put_boot_sector(self, runs: list[Run], mirror: int) -> None:
        shape, image, first = self.shape, self.clusters.image, runs[0][0]
        assert first is not None
        boot = parts.boot_sector(
            sector_size=shape.sector_size,
            cluster_size=shape.cluster_size,
            sectors=self.clusters.sectors,
            mft=first,
            mirror=mirror,
            record_size=shape.record_size,
            index_size=shape.index_size,
        )
        backup = shape.size_bytes - shape.sector_size
        for at in (0, backup) if backup < len(image) else (0,):
            image[at : at + 512] = boot


def _table_runs(clusters: Clusters, size: int) -> list[Run]:
    """One run, or one for the records that NTFS keeps and eight for the rest."""
    count = clusters.needed(size)
    if not clusters.shape.is_scattered:
        return [(clusters.allocate(count), count)]
    first = clusters.needed(FIRST_USER * clusters.shape.record_size)
    share = (count - first) // 8
    lengths = [first, *[share] * 7, count - first - 7 * share]
    placed = [(clusters.allocate(length), length) for length in lengths]
    return [placed[0], *placed[:0:-1]]


def _bits(numbers: Sequence[int], count: int) -> bytes:
    out = bytearray(-(-count // 8))
    for number in numbers:
        out[number // 8] |= 1 << number % 8
    return bytes(out)


def _collation(name: str) -> bytes:
    return "".join(map(_upper, name)).encode("utf-16-be", "surrogatepass")


def _upper(letter: str) -> str:
    code = ord(letter)
    return chr(code - 32) if 0x61 <= code <= 0x7A or (0xE0 <= code <= 0xFE and code != 0xF7) else letter


@lru_cache(maxsize=1)
def upper_case() -> bytes:
    """$UpCase for Latin 1: the same whatever version of Unicode this Python knows."""
    return struct.pack("<65536H", *(ord(_upper(chr(code))) for code in range(65536)))
