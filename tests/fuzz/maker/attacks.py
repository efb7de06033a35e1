"""Volumes that are sound enough to be read, and made to cost the reader as much as can be.

Each is larger than what is mutated by the thousand: the cost of what they do grows with the table.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from tests.fuzz.dice import Dice
from tests.fuzz.maker import parts
from tests.fuzz.maker.clusters import Shape
from tests.fuzz.maker.parts import Run, reference
from tests.fuzz.maker.volume import ROOT, VolumeMaker

MIB = 1 << 20
MAX_LIST_BYTES = 256 * 1024
VOLUME_BYTES = 16 << 30


def _maker(records: int, extra_bytes: int = 8 * MIB, volume_bytes: int = 0) -> VolumeMaker:
    """A volume of a table of that many records, and of zeros up to ``volume_bytes``."""
    records += -records % 8
    stored = records * 1024 + extra_bytes
    if not volume_bytes:
        return VolumeMaker(Shape(size_bytes=stored, records=records))
    return VolumeMaker(Shape(size_bytes=volume_bytes, records=records, stored_bytes=stored))


def _listed(to: VolumeMaker, name: str, lines: bytes, *, number: int) -> None:
    """A file that is nothing but times, name and a mapped attribute list."""
    own = parts.list_entry(parts.STANDARD_INFORMATION, 0, reference(number), 0)
    own += parts.list_entry(parts.FILE_NAME, 0, reference(number), 2)
    to.file(ROOT, name, [to.clusters.mapped(parts.ATTRIBUTE_LIST, own + lines)], number=number)


def scattered_list() -> bytes:
    """One file of 8000 extension records that its list names in random order."""
    dice = Dice("scattered list")
    to = _maker(16_100)
    base = to.number()
    numbers = [base + 1 + 2 * index for index in range(8000)]
    lines = b""
    for vcn in range(8000):
        holder = numbers.pop(dice.below(len(numbers)))
        part = parts.mapped(
            parts.DATA, [(None, 1)], 8000 * 4096 if vcn == 0 else 0, first_vcn=vcn, flags=0x8000
        )
        to.record(holder, [part], base=reference(base))
        lines += parts.list_entry(parts.DATA, vcn, reference(holder), 0)
    _listed(to, "scattered", lines, number=base)
    return to.finish()


def far_extensions() -> bytes:
    """Thousands of files, each with one extension record far away from it."""
    dice = Dice("far extensions")
    count = 7000
    to = _maker(2 * count + 100, 32 * MIB)
    bases = [to.number() for _ in range(count)]
    free = [bases[-1] + 1 + index for index in range(count)]
    for base in bases:
        holder = free.pop(dice.below(len(free)))
        to.record(holder, [parts.resident(parts.DATA, b"far")], base=reference(base))
        lines = parts.list_entry(parts.STANDARD_INFORMATION, 0, reference(base), 0)
        lines += parts.list_entry(parts.FILE_NAME, 0, reference(base), 2)
        lines += parts.list_entry(parts.DATA, 0, reference(holder), 0)
        to.file(ROOT, f"{base}", [parts.resident(parts.ATTRIBUTE_LIST, lines)], number=base)
    return to.finish()


def endless_runs() -> bytes:
    """One file of 8000 extension records full of runs: a million, which is as many as are believed."""
    return _full_of_runs(streams=1, runs_a_record=124)


def too_many_runs() -> bytes:
    """As ``endless_runs``, with twice as many."""
    return _full_of_runs(streams=1, runs_a_record=260)


def endless_runs_of_streams() -> bytes:
    """Twice as many again, shared out to 40 streams of one file, each of which could be believed."""
    return _full_of_runs(streams=40, runs_a_record=260)


def endless_streams() -> bytes:
    """One file of thousands of streams, each one attribute full of runs."""
    return _full_of_runs(streams=6000, runs_a_record=260)


def _full_of_runs(streams: int, runs_a_record: int) -> bytes:
    to = _maker(8100, volume_bytes=VOLUME_BYTES)
    size = to.shape.cluster_size
    base, clusters = to.number(), runs_a_record
    there: list[Run] = [(1_000_000 + 3 * (run % 20), 1) for run in range(runs_a_record // 2)]
    runs = [each for run in there for each in (run, (None, 1))]
    per_stream = (8000 if streams == 1 else 6000) // streams
    lines = b""
    for stream in range(streams):
        name = f"{stream:04}" if streams > 1 else ""
        whole = per_stream * clusters * size
        head = parts.mapped(parts.DATA, runs, whole, flags=0x8000, name=name, allocated=whole)
        for part in range(per_stream):
            holder, vcn = to.number(), part * clusters
            to.record(holder, [_from_vcn(head, vcn, clusters)], base=reference(base))
            lines += parts.list_entry(parts.DATA, vcn, reference(holder), 0, name)
    _listed(to, "runs", lines, number=base)
    return to.finish()


def _from_vcn(head: bytes, vcn: int, clusters: int) -> bytes:
    """The same attribute as its part from a cluster on."""
    if not vcn:
        return head
    return head[:16] + struct.pack("<Qq", vcn, vcn + clusters - 1) + head[32:40] + bytes(24) + head[64:]


def one_list_for_all() -> bytes:
    """Thousands of files whose lists are the same clusters: 256 KiB of lines of no known type."""
    to = _maker(6100, 32 * MIB)
    line = parts.list_entry(0x40, 0, reference(99), 0)
    lines = (line * (MAX_LIST_BYTES // len(line)))[:MAX_LIST_BYTES]
    runs = to.clusters.store(lines)
    for index in range(6000):
        shared = to.clusters.mapped_runs(parts.ATTRIBUTE_LIST, runs, len(lines))
        to.file(ROOT, f"{index}", [shared])
    return to.finish()


def endless_names() -> bytes:
    """One file with tens of thousands of names, all in the deepest of many directories."""
    to = _maker(8000)
    where = ROOT
    for level in range(900):
        where = to.directory(where, f"{level}")
    base = to.number()
    lines = b""
    for _ in range(6000):
        holder = to.number()
        names = [parts.file_name(reference(where), f"{holder} {name}") for name in range(7)]
        to.record(holder, names, base=reference(base))
        lines += b"".join(parts.list_entry(parts.FILE_NAME, 0, reference(holder), name) for name in range(7))
    lines = lines[: MAX_LIST_BYTES - 128]
    _listed(to, "names", lines[: len(lines) // 32 * 32], number=base)
    return to.finish()


def names_of_pieces() -> bytes:
    """One file of 700 names and 200,000 pieces, and all of it waits for a directory that comes late."""
    records, clusters = 1000, 200
    to = _maker(records + 200, volume_bytes=VOLUME_BYTES)
    base, where = to.number(), to.number()
    runs: list[Run] = [(1_000_000, 1), (None, 1)] * (clusters // 2)
    whole = records * clusters * to.shape.cluster_size
    head = parts.mapped(parts.DATA, runs, whole, flags=0x8000, allocated=whole)
    lines = b""
    for vcn in range(0, records * clusters, clusters):
        holder = to.number()
        to.record(holder, [_from_vcn(head, vcn, clusters)], base=reference(base))
        lines += parts.list_entry(parts.DATA, vcn, reference(holder), 0)
    for _ in range(100):
        holder = to.number()
        names = [parts.file_name(reference(where), f"{holder} {name}") for name in range(7)]
        to.record(holder, names, base=reference(base))
        lines += b"".join(parts.list_entry(parts.FILE_NAME, 0, reference(holder), name) for name in range(7))
    _listed(to, "pieces", lines, number=base)
    own = parts.list_entry(parts.STANDARD_INFORMATION, 0, reference(where), 0)
    own += parts.list_entry(parts.FILE_NAME, 0, reference(where), 2)
    late = to.clusters.mapped(parts.ATTRIBUTE_LIST, own)
    to.record(where, [parts.information(0), parts.file_name(reference(ROOT), "late"), late], flags=3)
    return to.finish()


def size_of(data: bytes) -> int:
    """How large the drive is: as large as the volume says, and at least what was made of it."""
    sectors = int.from_bytes(data[40:48], "little")
    return max(len(data), (sectors + 1) * 512)


ATTACKS: dict[str, Callable[[], bytes]] = {
    "attack-scattered-list": scattered_list,
    "attack-far-extensions": far_extensions,
    "attack-endless-runs": endless_runs,
    "attack-too-many-runs": too_many_runs,
    "attack-endless-runs-of-streams": endless_runs_of_streams,
    "attack-endless-streams": endless_streams,
    "attack-one-list-for-all": one_list_for_all,
    "attack-endless-names": endless_names,
    "attack-names-of-pieces": names_of_pieces,
}
