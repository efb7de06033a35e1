"""Files of several records that lie far from each other: one pass over the table is enough for them."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator

import pytest

from agent.errors import NtfsDamaged
from agent.volume.block import BytesSource
from agent.volume.ntfs import DamagedRecord, Entry, NtfsVolume
from agent.volume.ntfs import table as table_module
from agent.volume.ntfs.facts import gather
from agent.volume.ntfs.geometry import read_geometry
from agent.volume.ntfs.record import IN_USE as RECORD_IN_USE
from agent.volume.ntfs.scan import make_entry, scan
from agent.volume.ntfs.table import CHUNK_BYTES, MasterFileTable
from fixtures.ntfs_made import MadeVolume
from fixtures.ntfs_records import (
    DATA,
    DIRECTORY,
    IN_USE,
    INFORMATION,
    LIST,
    NAME,
    ROOT,
    attribute_list,
    file_name,
    information,
    mapped,
    record,
    reference,
    resident,
)

_RECORDS = 3 * CHUNK_BYTES // 1024
_CHUNK = CHUNK_BYTES // 1024
_CLUSTER_BYTES = 4096
_SECRET = b"content that must not leave the drive"


class _Recorded(BytesSource):
    """Notes what is read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.ranges: list[tuple[int, int]] = []

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self.ranges.append((offset, len(buffer)))
        super().read_into(offset, buffer)


class _Far(MadeVolume):
    """Its files have a name and content in extension records; ``lists`` are the mapped attribute lists."""

    def __init__(self, table_clusters: int = _RECORDS // 4, total_clusters: int = 3400) -> None:
        super().__init__(total_clusters=total_clusters, mft=((4, table_clusters),))
        self.lists: list[tuple[int, int]] = []
        self.next_list = table_clusters + 20
        self.paths: dict[int, tuple[str, ...]] = {}

    def far(
        self,
        number: int,
        extension: int,
        name: str,
        parent: int = ROOT,
        *,
        is_directory: bool = False,
        is_mapped: bool = False,
    ) -> None:
        own, other = reference(number), reference(extension)
        lines = attribute_list([(INFORMATION, 0, own, 0), (NAME, 0, other, 0), (DATA, 0, other, 3)])
        if is_directory:
            lines = attribute_list([(INFORMATION, 0, own, 0), (NAME, 0, other, 0)])
        listed = resident(LIST, lines)
        if is_mapped:
            listed = mapped(LIST, [(self.next_list, 1)], len(lines))
            self.clusters[self.next_list] = lines
            self.lists.append((self.next_list * _CLUSTER_BYTES, len(lines)))
            self.next_list += 1
        flags = IN_USE | (DIRECTORY if is_directory else 0)
        self.add(number, listed, resident(0x50, _SECRET), flags=flags)
        parts = [file_name(parent, name)]
        if not is_directory:
            parts.append(resident(DATA, _SECRET, attribute_id=3))
        self.records[extension] = record(extension, parts, base=own)
        self._note(number, name, parent)

    def plain(self, number: int, name: str, parent: int = ROOT) -> None:
        self.add(number, file_name(parent, name), resident(DATA, _SECRET))
        self._note(number, name, parent)

    def _note(self, number: int, name: str, parent: int) -> None:
        """What lies in a directory is made after it."""
        self.paths[number] = (*self.paths.get(parent & (1 << 48) - 1, ()), name)


def _volume() -> _Far:
    """In a table of three chunks: pairs of every order and distance, resident and mapped lists, directories
    whose names lie far away, and what is in these."""
    volume = _Far()
    chance = random.Random("far")
    free = list(range(24, _RECORDS))
    chance.shuffle(free)
    folders = [(free.pop(), free.pop()) for _ in range(40)]
    parent = ROOT
    for at, (number, extension) in enumerate(folders):
        volume.far(number, extension, f"folder {at}", parent, is_directory=True, is_mapped=at % 8 == 0)
        parent = reference(number) if at % 5 else ROOT
    for at in range(1200):
        above = reference(folders[at % 40][0]) if at % 3 else ROOT
        volume.far(free.pop(), free.pop(), f"far {at}", above, is_mapped=at % 10 == 0)
    for at in range(300):
        volume.plain(free.pop(), f"plain {at}", reference(folders[at % 40][0]))
    return volume


def _found(source: BytesSource, *, careful_only: bool = False) -> list[Entry | DamagedRecord]:
    return list(scan(MasterFileTable(source, read_geometry(source)), careful_only=careful_only))


def _one_by_one(source: BytesSource, found: list[Entry | DamagedRecord]) -> Iterator[tuple[object, object]]:
    """What the pass says of each base record, and what is there when its records are read for themselves."""
    table = MasterFileTable(source, read_geometry(source))
    for each in found:
        number = each.record if isinstance(each, Entry) else each.number
        if isinstance(each, DamagedRecord) and "continues another one" in each.why:
            continue
        try:
            base = table.load(number)
            if not base.flags & RECORD_IN_USE or base.base:
                continue
            facts = gather(table.attributes(base), number)
            places = [(each.path, each.is_system)] if isinstance(each, Entry) else [((), False)]
            alone: object = make_entry(table, base, facts, places)[0]
            if not facts.names:
                alone = f"MFT record {number}: it is in use and has no name"
        except NtfsDamaged as damage:
            alone = damage.detail
        yield each if isinstance(each, Entry) else each.why, alone


def test_a_table_full_of_attribute_lists_is_read_once_and_each_list_outside_of_it_once() -> None:
    made = _volume()
    source = _Recorded(made.build())
    volume = NtfsVolume.open(source)
    source.ranges.clear()
    found = list(volume.scan(io.BytesIO()))
    start = 4 * _CLUSTER_BYTES
    assert source.ranges[:3] == [(start + at * CHUNK_BYTES, CHUNK_BYTES) for at in range(3)]
    assert len(made.lists) == 125
    assert sorted(source.ranges[3:]) == sorted(made.lists)
    entries = [each for each in found if isinstance(each, Entry)]
    assert len(entries) == len(found)
    assert len(made.paths) == 40 + 1200 + 300
    paths = {each.record: each.path for each in entries if each.record >= 24}
    assert paths == made.paths


def test_what_one_pass_gives_is_what_reading_each_file_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    source = BytesSource(_volume().build())
    found = _found(source)
    pairs = list(_one_by_one(source, found))
    assert len(pairs) > 1500
    assert all(one == other for one, other in pairs)
    assert sorted(map(repr, found)) == sorted(map(repr, _found(source, careful_only=True)))
    monkeypatch.setattr(table_module, "CHUNK_BYTES", 16 * CHUNK_BYTES)
    assert sorted(map(repr, found)) == sorted(map(repr, _found(source)))


def test_what_waits_in_the_scratch_file_has_no_content() -> None:
    source = BytesSource(_volume().build())
    scratch = io.BytesIO()
    list(NtfsVolume.open(source).scan(scratch))
    held = scratch.getvalue()
    assert "far 1199".encode("utf-16-le") in held
    assert _SECRET not in held
    assert _SECRET[16:] not in held


def test_what_continues_a_record_that_is_gone_is_told_wherever_that_one_was() -> None:
    volume = _Far()
    sound, reused, free, torn = 30, 40, 50, 60
    far = 2 * _CHUNK + 100
    for at in (0, far):
        volume.plain(at + sound, f"sound {at}")
        volume.plain(at + reused, f"reused {at}")
        volume.records[at + free] = record(at + free, [information()], flags=0)
        volume.records[at + torn] = record(at + torn, [information()])[:-2] + b"??"
    wanted = []
    for at, other in ((1000, far), (_CHUNK + 1000, far), (_CHUNK + 1100, 0), (2 * _CHUNK + 1000, 0)):
        bases = [sound, reused, free, torn]
        for step, base in enumerate(bases):
            sequence = 9 if base == reused else 1
            part = [resident(DATA, b"rest")]
            where = reference(other + base, sequence)
            volume.records[at + step] = record(at + step, part, base=where)
        wanted += [
            (at + 1, f"record {other + reused} has sequence 1, and 9 is pointed at"),
            (at + 2, f"record {other + free} is pointed at, and holds no file"),
            (at + 3, f"record {other + torn} is damaged: its update sequence does not match (torn write)"),
        ]
    found = NtfsVolume.open(BytesSource(volume.build())).scan()
    lost = [(each.number, each.why) for each in found if isinstance(each, DamagedRecord)]
    prefix = "MFT record {} continues another one: MFT {}"
    told = {(number, why) for number, why in lost if "continues" in why}
    assert told == {(number, prefix.format(number, why)) for number, why in wanted}


def test_lists_that_take_more_than_the_table_could_need_are_not_all_read() -> None:
    volume = _Far(table_clusters=16, total_clusters=1200)
    lines = attribute_list([(0x40, 0, reference(30), 0)] * 8000)
    clusters = -(-len(lines) // _CLUSTER_BYTES)
    for at in range(16):
        start = 40 + at * clusters
        volume.clusters[start] = lines
        volume.add(24 + at, mapped(LIST, [(start, clusters)], len(lines)), file_name(ROOT, f"{at}"))
    source = _Recorded(volume.build())
    opened = NtfsVolume.open(source)
    source.ranges.clear()
    damaged = [each for each in opened.scan() if isinstance(each, DamagedRecord)]
    assert [each.names for each in damaged] == [(str(at),) for at in range(16)]
    assert sum("lists more attributes" in each.why for each in damaged) == 4
    assert sum("attribute lists of the volume" in each.why for each in damaged) == 12
    assert len(source.ranges) == 1 + 4


@pytest.mark.parametrize("seed", range(12))
def test_chunks_of_any_size_and_records_for_themselves_give_the_same_of_a_hostile_table(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = BytesSource(_hostile(random.Random(seed)).build())
    whole = _found(source)
    kinds = {type(each) for each in whole}
    assert kinds == {Entry, DamagedRecord}
    pairs = list(_one_by_one(source, whole))
    assert len(pairs) > 40
    assert all(one == other for one, other in pairs)
    for records in (8, 16, 56):
        monkeypatch.setattr(table_module, "CHUNK_BYTES", records * 1024)
        for careful_only in (False, True):
            pieces = _found(source, careful_only=careful_only)
            assert sorted(map(repr, whole)) == sorted(map(repr, pieces))


def _hostile(chance: random.Random) -> _Far:
    """Files and directories of two records that lie in each other, of which many are broken."""
    volume = _Far(table_clusters=60, total_clusters=200)
    free = list(range(24, 240))
    chance.shuffle(free)
    bases = [free.pop() for _ in range(80)]
    for at, number in enumerate(bases):
        parent = chance.choice([ROOT, reference(chance.choice(bases)), reference(chance.randrange(400))])
        is_directory, is_mapped = chance.randrange(2) == 1, chance.randrange(4) == 0
        if chance.randrange(4):
            volume.far(number, free.pop(), f"{at}", parent, is_directory=is_directory, is_mapped=is_mapped)
        else:
            flags = IN_USE | (DIRECTORY if is_directory else 0)
            volume.add(number, file_name(parent, f"{at}"), flags=flags)
    for number in chance.sample(sorted(set(volume.records) - {0, 3, 5}), 30):
        stored = bytearray(volume.records[number])
        at, value = chance.choice(
            [(0, 0x42), (16, 9), (20, 3), (22, 0), (24, 80), (32, 77), (510, 0xEE), (60, 9)]
        )
        stored[at] = value
        volume.records[number] = bytes(stored)
    for _ in range(30):
        number = chance.choice(sorted(volume.records))
        stored = bytearray(volume.records[number])
        at = chance.randrange(56, 300)
        if number > 23:
            stored[at] = chance.choice((0, 1, 0xFF, stored[at] ^ 8, chance.randrange(256)))
            volume.records[number] = bytes(stored)
    return volume
