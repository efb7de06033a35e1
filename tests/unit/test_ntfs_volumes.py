"""Whole small volumes, made record by record, of the shapes that no tool here makes."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from agent.errors import NtfsDamaged, UnreadableSectors
from agent.volume.block import BytesSource
from agent.volume.ntfs import ORPHAN, DamagedRecord, Entry, NtfsVolume, StreamKind
from agent.volume.ntfs import extents as extents_module
from agent.volume.ntfs import finder as finder_module
from agent.volume.ntfs import repeats as repeats_module
from agent.volume.ntfs import table as table_module
from agent.volume.ntfs.geometry import read_geometry
from agent.volume.ntfs.index import DirectoryIndex
from agent.volume.ntfs.scan import scan
from agent.volume.ntfs.table import MasterFileTable
from fixtures.ntfs_made import MadeVolume
from fixtures.ntfs_records import (
    BOTH,
    COMPRESSED,
    DATA,
    DIRECTORY,
    DOS,
    IN_USE,
    LIST,
    POSIX,
    ROOT,
    SPARSE,
    WINDOWS,
    attribute_list,
    file_name,
    information,
    mapped,
    name_value,
    record,
    reference,
    resident,
)

_BODY = b"what is in the file"


def _scan(volume: MadeVolume | bytes) -> tuple[dict[tuple[str, ...], Entry], list[DamagedRecord]]:
    source = BytesSource(volume if isinstance(volume, bytes) else volume.build())
    found = list(NtfsVolume.open(source).scan())
    table = MasterFileTable(source, read_geometry(source))
    assert sorted(map(repr, found)) == sorted(map(repr, scan(table, careful_only=True)))
    entries = {each.path: each for each in found if isinstance(each, Entry)}
    assert len(entries) == sum(isinstance(each, Entry) for each in found)
    return entries, [each for each in found if isinstance(each, DamagedRecord)]


def _users(entries: dict[tuple[str, ...], Entry]) -> dict[tuple[str, ...], Entry]:
    return {path: each for path, each in entries.items() if path and not each.is_system}


def _file(volume: MadeVolume, number: int, name: str, parent: int = ROOT) -> None:
    volume.add(number, file_name(parent, name), resident(DATA, _BODY))


def _folder(volume: MadeVolume, number: int, name: str, parent: int = ROOT) -> None:
    volume.add(number, file_name(parent, name), flags=IN_USE | DIRECTORY)


def _content(volume: MadeVolume, entry: Entry) -> bytes:
    (ref,) = entry.streams
    buffer = bytearray(ref.size)
    NtfsVolume.open(BytesSource(volume.build())).read_into(ref, 0, memoryview(buffer))
    return bytes(buffer)


@pytest.mark.parametrize("record_bytes", [1024, 2048, 4096])
@pytest.mark.parametrize(
    ("cluster_bytes", "total_clusters", "sector_bytes"),
    [(512, 2048, 512), (4096, 256, 4096), (65536, 32, 512), (2 << 20, 8, 512)],
)
def test_sizes_of_records_clusters_and_sectors_go_together_in_any_way(
    record_bytes: int, cluster_bytes: int, total_clusters: int, sector_bytes: int
) -> None:
    table = (total_clusters // 2, max(1, 48 * 4096 // cluster_bytes))
    volume = MadeVolume(
        cluster_bytes, record_bytes, sector_bytes, total_clusters, mft=(table,), mirror_cluster=1
    )
    if cluster_bytes < 4096:
        volume.mirror_cluster = 64
    _folder(volume, 30, "folder")
    _file(volume, 31, "small.txt", reference(30))
    last = total_clusters - 2  # NTFS leaves the last sector to the backup of the boot sector.
    volume.clusters[last] = b"X" * cluster_bytes
    volume.add(
        40, file_name(reference(30), "large.bin"), mapped(DATA, [(last - 1, 2)], 2 * cluster_bytes - 7)
    )
    entries, damaged = _scan(volume)
    assert not damaged
    assert set(_users(entries)) == {("folder",), ("folder", "small.txt"), ("folder", "large.bin")}
    small, large = entries["folder", "small.txt"], entries["folder", "large.bin"]
    assert _content(volume, small) == _BODY
    assert small.streams[0].first_offset == volume.offset(31)
    assert large.streams[0].extents == (((last - 1) * cluster_bytes, 2 * cluster_bytes),)
    assert _content(volume, large) == bytes(cluster_bytes) + b"X" * (cluster_bytes - 7)


@pytest.mark.parametrize("is_listed", [False, True], ids=["in record 0", "in an extension record"])
@pytest.mark.parametrize(
    ("cluster_bytes", "pieces"),
    [(4096, ((40, 4), (20, 1), (60, 3))), (512, ((200, 33), (100, 1), (300, 2), (500, 60)))],
    ids=["whole records", "records in two pieces"],
)
def test_a_table_in_pieces_is_read_as_one(
    cluster_bytes: int, pieces: tuple[tuple[int, int], ...], is_listed: bool
) -> None:
    volume = MadeVolume(cluster_bytes, 1024, 512, 600, mft=pieces, mirror_cluster=80, is_listed=is_listed)
    numbers = range(24, volume.record_count)
    for number in numbers:
        _file(volume, number, f"file {number}")
    entries, damaged = _scan(volume)
    assert not damaged
    assert len(numbers) > 7
    assert {path: each.record for path, each in _users(entries).items()} == {
        (f"file {number}",): number for number in numbers
    }
    for each in _users(entries).values():
        assert each.streams[0].first_offset == volume.offset(each.record)
        assert _content(volume, each) == _BODY


def test_a_table_whose_extension_record_is_gone_is_refused() -> None:
    volume = MadeVolume(mft=((40, 4), (20, 1)), is_listed=True)
    volume.records[15] = record(
        15, [mapped(DATA, [(20, 1)], 0, first_vcn=4, attribute_id=8)], base=reference(0)
    )
    volume.mirror_cluster = 90
    with pytest.raises(NtfsDamaged, match="listed attribute 0x80 is not there"):
        NtfsVolume.open(BytesSource(volume.build()))


@pytest.mark.parametrize("broken", [0, 3])
def test_the_first_records_are_taken_from_the_mirror_when_they_are_damaged(broken: int) -> None:
    volume = MadeVolume(dirty=True)
    _file(volume, 30, "a.txt")
    data = bytearray(volume.build())
    data[volume.offset(broken) : volume.offset(broken) + 4] = b"BAAD"
    opened = NtfsVolume.open(BytesSource(bytes(data)))
    assert opened.is_dirty
    assert ("a.txt",) in {each.path for each in opened.scan() if isinstance(each, Entry)}


def test_a_table_and_a_mirror_that_are_both_damaged_are_refused() -> None:
    volume = MadeVolume()
    data = bytearray(volume.build())
    for start in (volume.offset(0), volume.mirror_cluster * volume.cluster_bytes):
        data[start + 510] ^= 1
    with pytest.raises(NtfsDamaged, match="MFT record 0 is damaged: its update sequence does not match"):
        NtfsVolume.open(BytesSource(bytes(data)))


def test_deleted_records_are_neither_entries_nor_damage() -> None:
    volume = MadeVolume()
    _file(volume, 30, "here.txt")
    volume.add(31, file_name(ROOT, "gone.txt"), resident(DATA, _BODY), flags=0)
    volume.add(32, file_name(ROOT, "gone"), flags=DIRECTORY)
    _file(volume, 33, "below.txt", reference(32))
    entries, damaged = _scan(volume)
    assert set(_users(entries)) == {("here.txt",), (ORPHAN, "33", "below.txt")}
    assert not damaged


def test_a_record_used_again_does_not_adopt_the_files_of_the_one_before() -> None:
    volume = MadeVolume()
    volume.add(30, file_name(ROOT, "new folder"), flags=IN_USE | DIRECTORY, sequence=4)
    _file(volume, 31, "old.txt", reference(30, 3))
    _file(volume, 32, "new.txt", reference(30, 4))
    _file(volume, 33, "any.txt", reference(30, 0))
    entries, _ = _scan(volume)
    assert {path for path, each in _users(entries).items() if not each.is_directory} == {
        (ORPHAN, "31", "old.txt"),
        ("new folder", "new.txt"),
        ("new folder", "any.txt"),
    }


def test_names_with_lone_surrogates_are_kept_as_they_are() -> None:
    names = ["\ud83d high", "low \udca9", "\U0001f4a9 both", "plain", "\udca9\ud83d swapped"]
    volume = MadeVolume()
    _folder(volume, 29, "\udfff folder")
    for number, name in enumerate(names, 30):
        _file(volume, number, name, reference(29))
    entries, damaged = _scan(volume)
    assert not damaged
    assert {path[1:] for path in _users(entries)} == {(), *((name,) for name in names)}
    assert {path[0] for path in _users(entries)} == {"\udfff folder"}


def test_an_alias_is_left_out_and_a_name_that_is_only_an_alias_is_not() -> None:
    volume = MadeVolume()
    volume.add(30, file_name(ROOT, "LONGNA~1.TXT", DOS), file_name(ROOT, "long name.txt", WINDOWS))
    volume.add(31, file_name(ROOT, "ALONE.TXT", DOS))
    volume.add(32, file_name(ROOT, "posix", POSIX), file_name(ROOT, "SHORT.TXT", BOTH), links=2)
    volume.add(33, file_name(ROOT, "TWO~1", DOS), file_name(ROOT, "TWO~2", DOS))
    entries, _ = _scan(volume)
    assert sorted((each.record, path) for path, each in _users(entries).items()) == [
        (30, ("long name.txt",)),
        (31, ("ALONE.TXT",)),
        (32, ("SHORT.TXT",)),
        (32, ("posix",)),
        (33, ("TWO~1",)),
        (33, ("TWO~2",)),
    ]


def test_names_that_differ_in_case_only_are_different_files() -> None:
    volume = MadeVolume(total_clusters=256, upcase_cluster=100)
    names = ["README", "ReadMe", "readme"]
    for number, name in enumerate(names, 30):
        _file(volume, number, name)
    volume.index = [(reference(30 + at), name_value(ROOT, name, POSIX)) for at, name in enumerate(names)]
    entries, _ = _scan(volume)
    assert {path: each.record for path, each in _users(entries).items()} == {
        ("README",): 30,
        ("ReadMe",): 31,
        ("readme",): 32,
    }
    opened = NtfsVolume.open(BytesSource(volume.build()))
    for number, name in enumerate(names, 30):
        found = opened.find(name)
        assert found is not None
        assert found.record == number


def test_a_directory_is_opened_once_for_all_that_is_looked_up_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = MadeVolume(total_clusters=256, upcase_cluster=100)
    names = [f"file {at}" for at in range(5)]
    for number, name in enumerate(names, 30):
        _file(volume, number, name)
    volume.index = [(reference(30 + at), name_value(ROOT, name)) for at, name in enumerate(names)]
    opened = NtfsVolume.open(BytesSource(volume.build()))
    made: list[DirectoryIndex] = []

    def counted(*arguments: Any) -> DirectoryIndex:
        made.append(DirectoryIndex(*arguments))
        return made[-1]

    monkeypatch.setattr(finder_module, "DirectoryIndex", counted)
    found = [opened.find(name) for name in (*names, "FILE 3", "file 9", "file 1\\below")]
    assert [each and each.record for each in found] == [30, 31, 32, 33, 34, 33, None, None]
    # The last path leads through the root once more.
    assert len(made) == 2


def test_what_ntfs_keeps_for_itself_is_told_below_extend_too() -> None:
    volume = MadeVolume()
    volume.add(11, file_name(ROOT, "$Extend"), flags=IN_USE | DIRECTORY)
    _file(volume, 25, "$ObjId", reference(11))
    _folder(volume, 26, "$RmMetadata", reference(11))
    _file(volume, 27, "$Repair", reference(26))
    _file(volume, 28, "$Extend.txt")
    volume.records[12] = record(12, [information(), resident(DATA, b"")])
    entries, damaged = _scan(volume)
    assert not damaged
    system = {path for path, each in entries.items() if each.is_system}
    extend = ("$Extend",)
    assert system == {
        ("$MFT",),
        ("$Volume",),
        extend,
        (*extend, "$ObjId"),
        (*extend, "$RmMetadata"),
        (*extend, "$RmMetadata", "$Repair"),
    }
    assert set(_users(entries)) == {("$Extend.txt",)}


def test_each_name_waits_for_its_own_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "CHUNK_BYTES", 16 * 1024)
    volume = MadeVolume()
    _folder(volume, 25, "early")
    volume.add(26, file_name(reference(25), "one"), file_name(reference(60), "two"), resident(DATA, _BODY))
    volume.add(27, file_name(reference(60), "stream"), resident(DATA, _BODY, "named"))
    _folder(volume, 28, "inner", reference(60))
    _file(volume, 29, "below", reference(28))
    _folder(volume, 60, "late", reference(61))
    _folder(volume, 61, "later")
    entries, damaged = _scan(volume)
    assert not damaged
    given = [(path, each.record) for path, each in _users(entries).items()]
    assert given[:4] == [
        (("early",), 25),
        (("early", "one"), 26),
        (("later", "late"), 60),
        (("later",), 61),
    ]
    assert sorted(given[4:], key=lambda each: each[1]) == [
        (("later", "late", "two"), 26),
        (("later", "late", "stream"), 27),
        (("later", "late", "inner"), 28),
        (("later", "late", "inner", "below"), 29),
    ]


def test_attributes_are_not_looked_for_in_the_head_of_a_record() -> None:
    volume = MadeVolume()
    _file(volume, 30, "head.txt")
    data = bytearray(volume.records[30])
    first = int.from_bytes(data[20:22], "little")
    data[8:16] = struct.pack("<II", 0x40, first - 8)  # The log's number, as if it were an attribute.
    data[20:22] = (8).to_bytes(2, "little")
    volume.records[30] = bytes(data)
    _, damaged = _scan(volume)
    assert [each.why for each in damaged] == [
        f"MFT record 30: its first attribute is at 8 of {int.from_bytes(data[24:28], 'little')} bytes"
    ]


def test_streams_are_told_with_their_kind_and_only_what_is_valid_of_them() -> None:
    volume = MadeVolume()
    volume.add(30, file_name(ROOT, "valid"), mapped(DATA, [(60, 2)], 8000, valid=100))
    volume.add(31, file_name(ROOT, "two runs"), mapped(DATA, [(60, 2), (50, 1)], 12000))
    volume.add(32, file_name(ROOT, "touching"), mapped(DATA, [(60, 2), (62, 1)], 12000))
    volume.add(33, file_name(ROOT, "hole"), mapped(DATA, [(60, 1), (None, 2)], 12000, flags=SPARSE))
    packed = mapped(DATA, [(60, 1), (None, 15)], 65536, flags=COMPRESSED, unit=4)
    volume.add(34, file_name(ROOT, "packed"), packed)
    volume.add(35, file_name(ROOT, "empty"), mapped(DATA, [], 0))
    volume.add(36, file_name(ROOT, "no data"))
    volume.add(37, file_name(ROOT, "named"), resident(DATA, b"a"), resident(DATA, b"bc", "stream"))
    volume.add(38, file_name(ROOT, "late"), mapped(DATA, [(60, 1)], 4096, first_vcn=1))
    entries, _ = _scan(volume)
    told = {
        path[0]: [(ref.name, ref.kind, ref.valid_size, ref.extents) for ref in each.streams]
        for path, each in _users(entries).items()
    }
    assert told == {
        "valid": [("", StreamKind.PLAIN, 100, ((60 * 4096, 8192),))],
        "two runs": [("", StreamKind.PLAIN, 12000, ((60 * 4096, 8192), (50 * 4096, 4096)))],
        "touching": [("", StreamKind.PLAIN, 12000, ((60 * 4096, 12288),))],
        "hole": [("", StreamKind.SPARSE, 12000, ((60 * 4096, 4096), (None, 8192)))],
        "packed": [("", StreamKind.COMPRESSED, 65536, ((60 * 4096, 4096), (None, 61440)))],
        "empty": [("", StreamKind.PLAIN, 0, ())],
        "no data": [],
        "named": [("", StreamKind.RESIDENT, 1, ()), ("stream", StreamKind.RESIDENT, 2, ())],
        "late": [("", StreamKind.PLAIN, 4096, ())],
    }
    (late,) = entries["late",].streams
    assert late.unsupported == "damaged: a runlist begins at cluster 1, not at 0"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (mapped(DATA, [(127, 2)], 8000), "clusters 127..129 of a volume of 127"),
        (mapped(DATA, [(60, 1)], 4097), "maps less than the 4097 bytes"),
        (mapped(DATA, [(60, 300)], 4096), "clusters 60..360"),
    ],
)
def test_a_stream_that_its_runlist_cannot_hold_says_so_and_keeps_its_file(data: bytes, said: str) -> None:
    volume = MadeVolume()
    volume.add(30, file_name(ROOT, "a"), data)
    entries, damaged = _scan(volume)
    assert not damaged
    (ref,) = entries["a",].streams
    assert ref.unsupported is not None
    assert said in ref.unsupported


def test_a_record_without_times_or_name_is_damage_that_names_it() -> None:
    volume = MadeVolume()
    volume.records[30] = record(30, [file_name(ROOT, "timeless")])
    volume.add(31, resident(DATA, _BODY))
    volume.records[32] = b"BAAD" + bytes(1020)
    _file(volume, 33, "sound")
    entries, damaged = _scan(volume)
    assert set(_users(entries)) == {("sound",)}
    assert [(each.number, each.names) for each in damaged] == [(32, ()), (30, ("timeless",)), (31, ())]


def _listed(volume: MadeVolume, number: int, extension: int) -> None:
    own, other = reference(number), reference(extension)
    entries = [(0x10, 0, own, 0), (0x30, 0, own, 0), (DATA, 0, other, 3)]
    volume.add(number, resident(LIST, attribute_list(entries)), file_name(ROOT, f"listed {number}"))
    data = [resident(DATA, _BODY, attribute_id=3)]
    volume.records[extension] = record(extension, data, base=own)


def test_a_file_of_several_records_is_whole_and_one_that_lost_its_base_is_told() -> None:
    volume = MadeVolume()
    _listed(volume, 30, 31)
    _listed(volume, 40, 39)
    volume.records[41] = record(41, [resident(DATA, b"rest")], base=reference(42))
    volume.records[43] = record(43, [resident(DATA, b"rest")], base=reference(30, 9))
    entries, damaged = _scan(volume)
    assert _content(volume, entries["listed 30",]) == _BODY
    assert _content(volume, entries["listed 40",]) == _BODY
    assert {each.number for each in damaged} == {41, 43}
    assert all("continues another one" in each.why for each in damaged)


def test_a_list_that_leads_into_anothers_record_is_damage() -> None:
    volume = MadeVolume()
    _listed(volume, 30, 31)
    stolen = [(0x10, 0, reference(32), 0), (0x30, 0, reference(32), 0), (DATA, 0, reference(31), 3)]
    volume.add(32, resident(LIST, attribute_list(stolen)), file_name(ROOT, "thief"))
    entries, damaged = _scan(volume)
    assert set(_users(entries)) == {("listed 30",)}
    assert [each.names for each in damaged] == [("thief",)]
    assert "record 31 does not belong to record 32" in damaged[0].why


def test_a_list_of_more_lines_than_its_records_can_hold_is_damage() -> None:
    volume = MadeVolume()
    own = reference(30)
    long = attribute_list([(0x10, 0, own, 0), (0x30, 0, own, 0), *[(DATA, 0, own, 3)] * 5000])
    volume.clusters[60] = long
    size = len(long)
    volume.add(
        30, mapped(LIST, [(60, 40)], size), file_name(ROOT, "long"), resident(DATA, _BODY, attribute_id=3)
    )
    entries, damaged = _scan(volume)
    assert not _users(entries)
    assert [each.why for each in damaged] == ["MFT record 30 lists more attributes than its records can hold"]


def test_a_file_in_more_pieces_than_memory_should_hold_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extents_module, "MAX_RUNS", 3)
    volume = MadeVolume()
    own, pieces = reference(30), [[(60, 1), (62, 1)], [(70, 1), (72, 1)]]
    listed = [(0x10, 0, own, 0), (0x30, 0, own, 0), (DATA, 0, reference(31), 3), (DATA, 2, reference(32), 3)]
    volume.add(30, resident(LIST, attribute_list(listed)), file_name(ROOT, "pieces"))
    for number, first_vcn, runs in ((31, 0, pieces[0]), (32, 2, pieces[1])):
        part = mapped(DATA, runs, 16384 if not first_vcn else 0, first_vcn=first_vcn, attribute_id=3)
        volume.records[number] = record(number, [part], base=own)
    entries, _ = _scan(volume)
    (ref,) = entries["pieces",].streams
    assert ref.unsupported == "damaged: the runlists hold more than 3 runs"
    assert ref.size == 16384


def test_a_file_of_more_names_and_pieces_than_can_be_told_is_damage_and_its_neighbours_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repeats_module, "PIECES_A_NAME", 3)
    monkeypatch.setattr(repeats_module, "MAX_PIECES", 10)
    volume = MadeVolume()
    runs = [(60 + 2 * at, 1) for at in range(7)]

    def add(number: int, names: int, pieces: int) -> None:
        data = mapped(DATA, runs[:pieces], 4096 * pieces) if pieces else resident(DATA, _BODY)
        volume.add(number, *(file_name(ROOT, f"{number} {name}") for name in range(names)), data)

    for number, names, pieces in ((30, 1, 7), (31, 3, 4), (32, 3, 6), (33, 3, 0), (34, 3, 6)):
        add(number, names, pieces)
    entries, damaged = _scan(volume)
    (damage,) = damaged
    assert damage.why == ("MFT record 32: 1 streams in 6 pieces under 3 names are more than can be told")
    assert damage.names == ("32 0", "32 1", "32 2")
    # What a file with few pieces does not use of its names' share is left for others.
    assert sorted({each.record for each in _users(entries).values()}) == [30, 31, 33, 34]


def test_a_table_with_a_hole_is_refused() -> None:
    volume = MadeVolume()
    volume.records[0] = record(0, [information(), mapped(DATA, [(4, 2), (None, 2)], 16384)])
    with pytest.raises(NtfsDamaged, match="a hole where none can be"):
        NtfsVolume.open(BytesSource(volume.build()))


class _Failing(BytesSource):
    """Cannot read some bytes, and counts what it is asked for."""

    def __init__(self, data: bytes, bad: range = range(0)) -> None:
        super().__init__(data)
        self.bad, self.reads = bad, 0

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self.reads += 1
        if offset < self.bad.stop and self.bad.start < offset + len(buffer):
            raise UnreadableSectors(self.bad.start, len(self.bad))
        super().read_into(offset, buffer)


def test_records_on_bad_sectors_are_told_and_their_neighbours_kept() -> None:
    volume = MadeVolume()
    for number in range(24, 60):
        _file(volume, number, f"file {number}")
    start = volume.offset(40)
    opened = NtfsVolume.open(_Failing(volume.build(), range(start, start + 512)))
    found = list(opened.scan())
    assert [each.number for each in found if isinstance(each, DamagedRecord)] == [40]
    assert {each.record for each in found if isinstance(each, Entry)} >= {39, 41}


def _sleeping(head: bytes, size: int = 8192) -> MadeVolume:
    volume = MadeVolume(total_clusters=256, upcase_cluster=100)
    volume.index = [(reference(30), name_value(ROOT, "hiberfil.sys"))]
    volume.clusters[60] = head
    volume.add(30, file_name(ROOT, "hiberfil.sys"), mapped(DATA, [(60, 2)], size))
    return volume


@pytest.mark.parametrize(
    ("head", "size", "sleeps"),
    [
        (b"hibr", 8192, True),
        (b"HIBR", 8192, True),
        (b"RSTR", 8192, True),
        (b"wake", 8192, False),
        (b"WAKE", 8192, False),
        (b"\0\0\0\0", 8192, False),
        (b"\0\0\0\0", 1000, True),
    ],
)
def test_a_windows_that_sleeps_on_the_volume_is_told(head: bytes, size: int, sleeps: bool) -> None:
    opened = NtfsVolume.open(BytesSource(_sleeping(head, size).build()))
    assert opened.is_hibernated is sleeps
    assert not opened.is_dirty


def test_a_volume_without_a_hibernation_file_or_with_one_that_cannot_be_read_does_not_sleep() -> None:
    assert not NtfsVolume.open(
        BytesSource(MadeVolume(total_clusters=256, upcase_cluster=100).build())
    ).is_hibernated
    assert not NtfsVolume.open(BytesSource(MadeVolume(index=[(reference(30), b"")]).build())).is_hibernated
    source = _Failing(_sleeping(b"hibr").build(), range(60 * 4096, 61 * 4096))
    assert not NtfsVolume.open(source).is_hibernated


def test_the_dirty_flag_is_told() -> None:
    for dirty in (False, True):
        assert NtfsVolume.open(BytesSource(MadeVolume(dirty=dirty).build())).is_dirty is dirty
