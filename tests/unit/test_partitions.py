"""Partition tables made in memory: which volume is chosen, and what is said about it."""

from __future__ import annotations

import random
import struct
import zlib
from uuid import UUID

import pytest

from agent.errors import BitLockerVolumeNotFound, DiskOperationFailed, IngestError
from agent.volume.block import BytesSource, read
from agent.volume.partitions import PartitionRole, PartitionTable, find_volumes, first_data_volume
from tests.unit.bitlocker_cases import Case

DATA = UUID("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7")
EFI = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
MSR = UUID("e3c9e316-0b5c-4db8-817d-f92df00215ae")
RECOVERY = UUID("de94bba4-06d1-4d40-a16a-bfd50179d6ac")
LDM = UUID("af9b60a0-1431-4f62-bc68-3311714a69ad")

Row = tuple[UUID, int, int]
MbrRow = tuple[int, int, int]
NTFS_BOOT = b"\xeb\x52\x90NTFS    ".ljust(510, b"\0") + b"\x55\xaa"
WINDOWS_DISK: list[Row] = [
    (EFI, 64, 99),
    (MSR, 100, 131),
    (DATA, 200, 299),
    (DATA, 300, 399),
    (RECOVERY, 400, 499),
]


def mbr(rows: list[MbrRow]) -> bytes:
    table = b"".join(struct.pack("<B3sB3sII", 0, b"", kind, b"", first, count) for kind, first, count in rows)
    return bytes(446) + table.ljust(64, b"\0") + b"\x55\xaa"


PROTECTIVE = mbr([(0xEE, 1, 0xFFFFFFFF)])


def gpt_header(sector: int, own: int, entries_at: int, table: bytes, entry_bytes: int = 128) -> bytes:
    fields = (
        own,
        0,
        34,
        900,
        bytes(16),
        entries_at,
        len(table) // entry_bytes,
        entry_bytes,
        zlib.crc32(table),
    )
    head = struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, *fields)
    return (head[:16] + struct.pack("<I", zlib.crc32(head)) + head[20:]).ljust(sector, b"\0")


def gpt_disk(rows: list[Row], sector: int = 512, sectors: int = 1000) -> bytearray:
    """Each sector of a partition begins with its number, so that a wrong offset shows."""
    disk = bytearray(sectors * sector)
    for number in range(64, sectors - 64):
        struct.pack_into("<Q", disk, number * sector, number)
    table = b"".join(
        struct.pack(
            "<16s16sQQQ72s", kind.bytes_le, UUID(int=n).bytes_le, first, last, 0, f"P{n}".encode("utf-16-le")
        )
        for n, (kind, first, last) in enumerate(rows, 1)
    ).ljust(16384, b"\0")
    disk[:512] = PROTECTIVE
    disk[sector : 2 * sector] = gpt_header(sector, 1, 2, table)
    disk[2 * sector : 2 * sector + len(table)] = table
    backup = sectors - 1 - 16384 // sector
    disk[backup * sector : backup * sector + len(table)] = table
    disk[-sector:] = gpt_header(sector, sectors - 1, backup, table)
    return disk


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("device_sector", [512, 4096])
def test_the_first_data_partition_of_a_gpt_is_chosen_and_the_skipped_ones_are_named(
    sector: int, device_sector: int
) -> None:
    source = BytesSource(bytes(gpt_disk(WINDOWS_DISK, sector)), device_sector)
    chosen = first_data_volume(source)
    assert chosen.source.size_bytes == 100 * sector
    assert struct.unpack("<Q", read(chosen.source, 0, 8)) == (200,)
    assert (chosen.partition.number, chosen.partition.name) == (3, "P3")
    assert "GPT partition 3" in chosen.why
    assert "skipped before it: 1 (EFI system), 2 (Microsoft reserved)" in chosen.why
    assert "1 later data volume is not ingested" in chosen.why


def test_first_means_first_on_the_disk_not_first_in_the_table() -> None:
    chosen = first_data_volume(BytesSource(bytes(gpt_disk([(DATA, 300, 399), (DATA, 100, 199)]))))
    assert (chosen.partition.number, chosen.source.start) == (2, 51200)


@pytest.mark.parametrize(
    "at", [512, 512 + 20, 512 + 72, 1024 + 40], ids=["signature", "reserved", "lba", "entry"]
)
def test_a_damaged_first_gpt_is_replaced_by_the_backup_and_that_is_said(at: int) -> None:
    disk = gpt_disk(WINDOWS_DISK)
    disk[at] ^= 0x20
    chosen = first_data_volume(BytesSource(bytes(disk)))
    assert chosen.source.start == 200 * 512
    assert "the first GPT header at byte 512" in chosen.why


def test_a_gpt_whose_protective_mbr_was_wiped_is_still_read() -> None:
    disk = gpt_disk(WINDOWS_DISK)
    disk[:512] = bytes(512)
    assert first_data_volume(BytesSource(bytes(disk))).source.start == 200 * 512


def test_a_gpt_damaged_in_both_places_is_no_disk_without_partitions() -> None:
    disk = gpt_disk(WINDOWS_DISK)
    disk[520] ^= 1
    disk[-500] ^= 1
    with pytest.raises(BitLockerVolumeNotFound, match=r"GPT of the disk is damaged: .*byte 512.*byte 511488"):
        first_data_volume(BytesSource(bytes(disk)))


@pytest.mark.parametrize(("count", "entry_bytes"), [(0xFFFFFFFF, 128), (128, 0), (128, 1 << 31), (128, 100)])
def test_a_gpt_header_that_asks_for_gigabytes_is_refused_by_its_numbers(count: int, entry_bytes: int) -> None:
    disk = gpt_disk(WINDOWS_DISK)
    for at in (512, len(disk) - 512):
        head = bytearray(disk[at : at + 92])
        struct.pack_into("<III", head, 80, count, entry_bytes, 0)
        head[16:20] = bytes(4)
        struct.pack_into("<I", head, 16, zlib.crc32(head))
        disk[at : at + 92] = head
    with pytest.raises(BitLockerVolumeNotFound, match=f"it lists {count} entries of {entry_bytes} bytes"):
        first_data_volume(BytesSource(bytes(disk)))


def test_a_truncated_image_is_refused_with_both_numbers() -> None:
    disk = gpt_disk(WINDOWS_DISK)[: 250 * 512]
    with pytest.raises(DiskOperationFailed, match=r"partition 3 ends at byte 153600, .* ends after 128000"):
        first_data_volume(BytesSource(bytes(disk)))


@pytest.mark.parametrize("rows", [[], [(EFI, 64, 99), (LDM, 100, 200)]])
def test_a_disk_without_a_data_partition_says_what_it_has(rows: list[Row]) -> None:
    with pytest.raises(BitLockerVolumeNotFound, match="no data partition") as caught:
        first_data_volume(BytesSource(bytes(gpt_disk(rows))))
    assert ("partition 2 is dynamic disk" in caught.value.detail) == bool(rows)


def mbr_disk(rows: list[MbrRow], unit: int = 512, sectors: int = 400) -> bytearray:
    disk = bytearray(sectors * unit)
    disk[:512] = mbr(rows)
    return disk


def test_the_first_data_partition_of_an_mbr_is_chosen() -> None:
    disk = mbr_disk([(0x27, 10, 20), (0x83, 40, 10), (0x07, 128, 100)])
    disk[128 * 512 : 128 * 512 + 512] = NTFS_BOOT
    chosen = first_data_volume(BytesSource(bytes(disk)))
    assert (chosen.source.start, chosen.source.size_bytes) == (65536, 51200)
    assert "skipped before it: 1 (recovery), 2 (of another system)" in chosen.why


def test_an_mbr_of_a_4096_byte_disk_is_understood_in_an_image_of_512() -> None:
    disk = mbr_disk([(0x07, 20, 100)], unit=4096)
    disk[20 * 4096 : 20 * 4096 + 512] = NTFS_BOOT
    chosen = first_data_volume(BytesSource(bytes(disk), 512))
    assert (chosen.source.start, chosen.source.size_bytes) == (81920, 409600)


def test_logical_drives_are_found_through_their_chain() -> None:
    disk = mbr_disk([(0x83, 1, 40), (0x0F, 50, 300)])
    disk[50 * 512 : 51 * 512] = mbr([(0x83, 2, 10), (0x05, 100, 60)])
    disk[150 * 512 : 151 * 512] = mbr([(0x07, 3, 50)])
    layout = find_volumes(BytesSource(bytes(disk)))
    assert layout.table is PartitionTable.MBR
    assert [(part.number, part.start // 512, part.role) for part in layout.partitions] == [
        (1, 1, PartitionRole.OTHER),
        (5, 52, PartitionRole.OTHER),
        (6, 153, PartitionRole.DATA),
    ]


def test_a_chain_of_logical_drives_that_bites_its_tail_ends_with_a_remark() -> None:
    disk = mbr_disk([(0x0F, 50, 300)])
    disk[50 * 512 : 51 * 512] = mbr([(0x07, 2, 10), (0x05, 100, 60)])
    disk[150 * 512 : 151 * 512] = mbr([(0x07, 3, 50), (0x05, 0, 60)])
    layout = find_volumes(BytesSource(bytes(disk)))
    assert [part.start // 512 for part in layout.partitions] == [52, 153]
    assert "loops" in layout.remarks[0]


@pytest.mark.parametrize(("link", "remark"), [(5000, "breaks at sector 5050"), (20, "no signature")])
def test_a_broken_chain_keeps_the_drives_before_the_break(link: int, remark: str) -> None:
    disk = mbr_disk([(0x0F, 50, 300)])
    disk[50 * 512 : 51 * 512] = mbr([(0x07, 2, 10), (0x05, link, 60)])
    chosen = first_data_volume(BytesSource(bytes(disk)))
    assert chosen.source.start == 52 * 512
    assert remark in chosen.why


def test_a_protective_mbr_without_any_gpt_is_damage() -> None:
    with pytest.raises(BitLockerVolumeNotFound, match="GPT of the disk is damaged"):
        find_volumes(BytesSource(bytes(mbr_disk([(0xEE, 1, 399)]))))


def test_a_stale_gpt_does_not_hide_a_later_mbr() -> None:
    disk = gpt_disk(WINDOWS_DISK)
    disk[:512] = mbr([(0x07, 500, 100)])
    assert first_data_volume(BytesSource(bytes(disk))).source.start == 500 * 512


@pytest.mark.parametrize("boot", [bytes(Case().build()), NTFS_BOOT + bytes(4096)], ids=["BitLocker", "NTFS"])
def test_a_disk_that_is_one_bare_volume_is_taken_whole(boot: bytes) -> None:
    chosen = first_data_volume(BytesSource(boot))
    assert (chosen.source.start, chosen.source.size_bytes) == (0, len(boot))
    assert "without a partition table" in chosen.why


@pytest.mark.parametrize("oem", [b"NTFS    ", b"-FVE-FS-"])
def test_a_disk_with_a_gpt_is_no_bare_volume_whatever_its_first_sector_was_before(oem: bytes) -> None:
    disk = gpt_disk(WINDOWS_DISK)
    disk[:446] = NTFS_BOOT[:446]
    disk[3:11] = oem
    chosen = first_data_volume(BytesSource(bytes(disk)))
    assert chosen.source.start == 200 * 512
    assert find_volumes(BytesSource(bytes(disk))).table is PartitionTable.GPT


def test_a_bare_volume_may_hold_any_boot_code() -> None:
    disk = bytearray(NTFS_BOOT.ljust(100 * 512, b"\0"))
    disk[446 + 4] = 0xEE
    assert find_volumes(BytesSource(bytes(disk))).table is PartitionTable.NONE
    assert first_data_volume(BytesSource(bytes(disk))).source.size_bytes == len(disk)


@pytest.mark.parametrize(
    "data",
    [b"", bytes(100), bytes(100_000), b"\xeb\x58\x90MSDOS5.0" + bytes(range(256)) * 2, mbr([])],
    ids=["nothing", "tiny", "blank", "noise", "empty table"],
)
def test_what_holds_no_volume_is_said_to_hold_none(data: bytes) -> None:
    with pytest.raises(BitLockerVolumeNotFound):
        first_data_volume(BytesSource(data))


def test_a_fat_boot_sector_is_not_taken_for_a_partition_table() -> None:
    boot = bytearray(random.Random(5).randbytes(512))
    boot[446] = 0x41
    boot[510:] = b"\x55\xaa"
    with pytest.raises(BitLockerVolumeNotFound, match="no partition table"):
        first_data_volume(BytesSource(bytes(boot) + bytes(10_000)))


def test_damaged_tables_raise_only_errors_of_the_tree() -> None:
    rng = random.Random(11)
    plain = gpt_disk(WINDOWS_DISK)
    logical = mbr_disk([(0x07, 300, 50), (0x0F, 50, 200)])
    logical[50 * 512 : 51 * 512] = mbr([(0x07, 2, 10), (0x05, 100, 60)])
    logical[150 * 512 : 151 * 512] = mbr([(0x07, 3, 50)])
    chosen = 0
    for round_number in range(600):
        disk = bytearray(plain if round_number % 2 else logical)
        for _ in range(rng.randint(1, 8)):
            base = rng.choice((0, 446, 512, 1024, 50 * 512 + 446, 150 * 512 + 446, len(disk) - 512))
            disk[base + rng.randrange(64)] = rng.randrange(256)
        try:
            volume = first_data_volume(BytesSource(bytes(disk)))
        except IngestError:
            continue
        assert volume.source.start + volume.source.size_bytes <= len(disk)
        chosen += 1
    assert chosen > 100
