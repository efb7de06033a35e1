"""One file of every shape that NTFS knows."""

from __future__ import annotations

import struct

from fixtures.seeded import Seeded
from tests.fuzz.maker import parts
from tests.fuzz.maker.clusters import Shape
from tests.fuzz.maker.packers import pack_lznt1, pack_wof
from tests.fuzz.maker.parts import Run, reference
from tests.fuzz.maker.volume import EXTEND, ROOT, VolumeMaker

_SYMLINK, _MOUNT_POINT, _LX = 0xA000000C, 0xA0000003, 0xA000001D
_WOF, _CLOUD, _DEDUP = 0x80000017, 0x9000101A, 0x80000013
_WOF_FORMATS = {4096: 0, 32768: 1, 8192: 2, 16384: 3}
_SPARSE, _COMPRESSED, _ENCRYPTED = 0x8000, 0x0001, 0x4000
_UNIT_CLUSTERS = 16


def make_volume(shape: Shape) -> tuple[bytes, dict[str, bytes]]:
    """A volume, and what each readable stream of it holds."""
    to = VolumeMaker(shape)
    seeded = Seeded("volume for the fuzzer")
    for fill in (_plain, _streams, _runs, _packed, _names, _reparse, _lists, _trees, _special):
        fill(to, seeded)
    return to.finish(), to.files


def _text(label: str, length: int) -> bytes:
    """Compressible, without any byte that x86 would call."""
    line = f"{label}: the quick brown fox, aaaaaaaaaaaa, and zzzzzzzzzzzzzzzzzzzzzzz. ".encode()
    return (line * (length // len(line) + 1))[:length]


def _plain(to: VolumeMaker, seeded: Seeded) -> None:
    where = to.directory(ROOT, "sizes")
    to.file(where, "empty", [parts.resident(parts.DATA, b"")], content={"": b""})
    small = seeded.take("small", 500)
    to.file(where, "small", [parts.resident(parts.DATA, small)], content={"": small})
    for length in (4096, 10_001):
        data = seeded.take(f"plain {length}", length)
        to.file(where, f"plain {length}", [to.clusters.mapped(parts.DATA, data)], content={"": data})


def _streams(to: VolumeMaker, seeded: Seeded) -> None:
    big = seeded.take("big stream", 6000)
    to.file(
        ROOT,
        "streams.txt",
        [
            parts.resident(parts.DATA, b"main"),
            to.clusters.mapped(parts.DATA, big, name="big"),
            parts.resident(parts.DATA, b"", "empty"),
            parts.resident(parts.DATA, b"[ZoneTransfer]\r\n", "Zone.Identifier"),
        ],
        content={"": b"main", "big": big, "empty": b"", "Zone.Identifier": b"[ZoneTransfer]\r\n"},
    )


def _runs(to: VolumeMaker, seeded: Seeded) -> None:
    clusters, size = to.clusters, to.shape.cluster_size
    where = to.directory(ROOT, "runs")
    data = seeded.take("fragments", 9 * size - 100)
    to.file(where, "fragments", [clusters.mapped(parts.DATA, data, pieces=9)], content={"": data})
    islands = [seeded.take(f"island {number}", size) for number in range(2)]
    runs: list[Run] = [
        (None, 2),
        clusters.store(islands[0])[0],
        (None, 3),
        clusters.store(islands[1])[0],
        (None, 1),
    ]
    sparse = bytes(2 * size) + islands[0] + bytes(3 * size) + islands[1] + bytes(size)
    attribute = clusters.mapped_runs(parts.DATA, runs, len(sparse) - 5, flags=_SPARSE)
    to.file(where, "sparse", [attribute], content={"": sparse[:-5]}, dos_flags=0x220)
    hole = clusters.mapped_runs(parts.DATA, [(None, 4)], 3 * size + 1, flags=_SPARSE)
    to.file(where, "hole", [hole], content={"": bytes(3 * size + 1)}, dos_flags=0x220)
    half = seeded.take("half valid", 3 * size)
    valid = size + 77
    attribute = clusters.mapped(parts.DATA, half, valid=valid)
    to.file(where, "half valid", [attribute], content={"": half[:valid].ljust(3 * size, b"\0")})


def _packed(to: VolumeMaker, seeded: Seeded) -> None:
    size = to.shape.cluster_size
    if size > 4096:
        return
    unit = _UNIT_CLUSTERS * size
    noise = seeded.take("stored unit", unit)
    data = _text("packed", unit // 4).ljust(unit, b"\0") + noise + bytes(unit) + _text("tail", unit // 4)
    runs: list[Run] = []
    for at in range(0, len(data), unit):
        part = data[at : at + unit]
        packed = part if part is noise or part == noise else pack_lznt1(part)
        stored = to.clusters.store(packed) if any(part) else []
        runs += stored
        left = _UNIT_CLUSTERS - sum(length for _, length in stored)
        runs += [(None, left)] if left else []
    attribute = parts.mapped(parts.DATA, runs, len(data), cluster_size=size, flags=_COMPRESSED, unit_shift=4)
    to.file(ROOT, "packed.txt", [attribute], content={"": data}, dos_flags=0x820)


def _names(to: VolumeMaker, seeded: Seeded) -> None:
    where = to.directory(ROOT, "names")
    other = to.directory(where, "other place")
    linked = [parts.resident(parts.DATA, b"linked")]
    names = [(where, "second name", 1), (other, "third name", 0)]
    to.file(where, "first name", linked, other_names=names, content={"": b"linked"})
    alias = [(where, "LONGNA~1.TXT", 2)]
    to.file(where, "long name.txt", [parts.resident(parts.DATA, b"1")], other_names=alias, content={"": b"1"})
    for name in ("lone \ud83d", "case", "Case", "n" * 100, "line\nbreak", "é", "É", "a\\b", ".."):
        to.file(where, name, [parts.resident(parts.DATA, name[:1].encode("utf-8", "replace"))])


def _reparse(to: VolumeMaker, seeded: Seeded) -> None:
    where = to.directory(ROOT, "reparse")
    empty = parts.resident(parts.DATA, b"")
    symlink = parts.link_data("\\??\\C:\\sizes", "C:\\sizes", 0)
    to.file(where, "symlink", [empty, parts.reparse(_SYMLINK, symlink)], dos_flags=0x420)
    junction = parts.link_data("\\??\\C:\\names", "C:\\names", None)
    to.file(where, "junction", [parts.reparse(_MOUNT_POINT, junction)], dos_flags=0x10000400)
    to.file(where, "lx", [empty, parts.reparse(_LX, b"\2\0\0\0../sizes")], dos_flags=0x420)
    for name, tag in (("cloud", _CLOUD), ("dedup", _DEDUP)):
        hole = to.clusters.mapped_runs(parts.DATA, [(None, 2)], 5000, flags=_SPARSE)
        data = parts.reparse(tag, seeded.take(name, 60))
        to.file(where, name, [hole, data], dos_flags=0x620)
    _wof(to, where)


def _wof(to: VolumeMaker, where: int) -> None:
    """Each format once, the smallest with its packed stream resident."""
    size = to.shape.cluster_size
    for chunk, code in _WOF_FORMATS.items():
        data = _text(f"wof {chunk}", (2 * chunk if chunk == 4096 else chunk) + 500)
        packed = pack_wof(data, chunk)
        hole = to.clusters.mapped_runs(
            parts.DATA, [(None, to.clusters.needed(len(data)))], len(data), flags=_SPARSE
        )
        held = to.clusters.mapped(
            parts.DATA, packed, name="WofCompressedData", pieces=2 if size < 8192 else 1
        )
        tag = parts.reparse(_WOF, struct.pack("<4I", 1, 2, 1, code))
        to.file(where, f"wof {chunk}", [hole, held, tag], dos_flags=0x620, content={"": data})
    data = b"z" * 4000
    hole = to.clusters.mapped_runs(parts.DATA, [(None, to.clusters.needed(4000))], 4000, flags=_SPARSE)
    held = parts.resident(parts.DATA, pack_wof(data[:300], 4096), "WofCompressedData")
    tag = parts.reparse(_WOF, struct.pack("<4I", 1, 2, 1, 0))
    to.file(where, "wof damaged", [hole, held, tag], dos_flags=0x620)


def _lists(to: VolumeMaker, seeded: Seeded) -> None:
    """Files whose attributes lie in several records, with a list that is resident, and one that is not."""
    where = to.directory(ROOT, "lists")
    size = to.shape.cluster_size
    for name, is_mapped in (("resident list", False), ("mapped list", True)):
        data = seeded.take(name, 9 * size)
        runs = to.clusters.store(data, pieces=9)
        base = to.number()
        holders = [to.number() for _ in range(3)]
        lines = parts.list_entry(parts.STANDARD_INFORMATION, 0, reference(base), 0)
        lines += parts.list_entry(parts.FILE_NAME, 0, reference(base), 2)
        for index, holder in enumerate(holders):
            own = runs[index * 3 : index * 3 + 3]
            whole = len(data) if index == 0 else 0
            part = parts.mapped(
                parts.DATA, own, whole, cluster_size=size, first_vcn=index * 3, allocated=whole
            )
            to.record(holder, [part], base=reference(base))
            lines += parts.list_entry(parts.DATA, index * 3, reference(holder), 0)
        stream = to.number()
        to.record(stream, [parts.resident(parts.DATA, b"of its own", "stream")], base=reference(base))
        lines += parts.list_entry(parts.DATA, 0, reference(stream), 0, "stream")
        listing = (
            to.clusters.mapped(parts.ATTRIBUTE_LIST, lines)
            if is_mapped
            else parts.resident(parts.ATTRIBUTE_LIST, lines)
        )
        to.file(where, name, [listing], number=base, content={"": data, "stream": b"of its own"})


def _trees(to: VolumeMaker, seeded: Seeded) -> None:
    where = to.directory(ROOT, "many")
    for number in range(60):
        data = b"%d" % number
        to.file(where, f"file {number:02}.txt", [parts.resident(parts.DATA, data)], content={"": data})
    where = ROOT
    for level in range(to.shape.depth):
        where = to.directory(where, f"level {level}")
    to.file(where, "bottom", [parts.resident(parts.DATA, b"deep")], content={"": b"deep"})
    to.directory(ROOT, "nothing in it")


def _special(to: VolumeMaker, seeded: Seeded) -> None:
    secret = to.clusters.mapped(parts.DATA, seeded.take("secret", 5000))
    efs = parts.resident(parts.LOGGED, bytes(100), "$EFS")
    to.file(
        ROOT, "encrypted", [secret[:12] + struct.pack("<H", _ENCRYPTED) + secret[14:], efs], dos_flags=0x4020
    )
    to.file(ROOT, "hiberfil.sys", [to.clusters.mapped(parts.DATA, b"wake".ljust(4096, b"\0"))], dos_flags=6)
    to.file(EXTEND, "$Reparse", [parts.resident(parts.DATA, b"")], dos_flags=6)
    gone = to.number()
    name = parts.file_name(reference(ROOT), "deleted")
    to.record(gone, [parts.information(), name, parts.resident(parts.DATA, b"gone")], flags=0)
