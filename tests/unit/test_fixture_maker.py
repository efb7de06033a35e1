"""The maker of disk images: determinism, what it refuses, what lies where on the disk."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from fixtures import (
    BaseImage,
    Cipher,
    ClearKey,
    MadeVolume,
    Password,
    RecoveryPassword,
    StartupKey,
    base_image,
    demo_disk,
    demo_facts,
    listing,
    make_disk,
    make_volume,
    wrap_gpt,
    wrap_mbr,
)
from fixtures.__main__ import main
from fixtures.demo_manifest import manifest
from fixtures.demo_tree import Item, demo_tree
from fixtures.images import names
from fixtures.ntfs_space import NtfsSpace
from fixtures.recipe import SEED

DIGITS = "000011-000022-000033-720885-111111-222222-333333-444444"


@pytest.fixture(scope="module")
def small() -> BaseImage:
    return base_image("sector4k")


@pytest.fixture(scope="module")
def volume(small: BaseImage) -> MadeVolume:
    return make_volume(small.volume, cipher=Cipher.AES_XTS_128, protectors=[ClearKey()], seed=5)


class TestVolume:
    @pytest.mark.parametrize("cipher", Cipher)
    def test_same_seed_gives_the_same_bytes(self, small: BaseImage, cipher: Cipher) -> None:
        first, second = (
            make_volume(small.volume, cipher=cipher, protectors=[ClearKey(), StartupKey()], seed=9)
            for _ in "ab"
        )
        assert first.image == second.image
        assert first.beks == second.beks

    def test_another_seed_gives_another_key(self, small: BaseImage, volume: MadeVolume) -> None:
        other = make_volume(small.volume, cipher=Cipher.AES_XTS_128, protectors=[ClearKey()], seed=6)
        assert other.fvek != volume.fvek
        assert other.image[-4096:] != volume.image[-4096:]

    def test_nothing_of_the_files_is_left_in_the_clear(self, small: BaseImage, volume: MadeVolume) -> None:
        assert b"NTFS    " not in volume.image
        assert b"FILE0" not in volume.image
        assert b"FILE0" in small.volume
        name = "file 01".encode("utf-16-le")
        assert name in small.volume
        assert name not in volume.image

    def test_size_of_the_volume_is_kept(self, small: BaseImage, volume: MadeVolume) -> None:
        assert len(volume.image) == len(small.volume)

    def test_boot_sector_leads_to_three_equal_metadata_blocks(self, volume: MadeVolume) -> None:
        assert volume.image[:11] == b"\xeb\x58\x90-FVE-FS-"
        assert volume.image[510:512] == b"\x55\xaa"
        offsets = struct.unpack_from("<3Q", volume.image, 176)
        blocks = {volume.image[at : at + 0x10000] for at in offsets}
        (block,) = blocks
        assert len(set(offsets)) == 3
        assert struct.unpack_from("<3Q", block, 32) == offsets

    def test_crc_and_mac_of_the_metadata_hold(self, volume: MadeVolume) -> None:
        block = volume.image[volume.layout.block_offsets[1] :][:0x10000]
        size = struct.unpack_from("<H", block, 8)[0] * 16
        crc, datum_size = struct.unpack_from("<IH", block, size + 4)
        assert crc == zlib.crc32(block[:size])
        mac = _unwrapped(block[size + 8 : size + 8 + datum_size], _vmk_by_clear_key(block))
        assert mac == hashlib.sha256(block[:size]).digest()

    def test_no_nonce_is_used_twice(self, small: BaseImage) -> None:
        made = make_volume(
            small.volume,
            cipher=Cipher.AES_CBC_128,
            protectors=[ClearKey(), StartupKey(), StartupKey(windows_11=True)],
            seed=1,
        )
        block = made.image[made.layout.block_offsets[0] :][:0x1000]
        time = struct.pack("<Q", 133_513_851_060_000_000)
        counters = [
            struct.unpack_from("<I", block, found.end())[0]
            for found in re.finditer(b"\x05\x00\x01\x00" + re.escape(time), block, re.DOTALL)
        ]
        assert len(counters) >= 7
        assert sorted(set(counters)) == sorted(counters)
        assert struct.unpack_from("<I", block, 96)[0] == max(counters) + 1

    def test_metadata_lies_where_ntfs_is_free_and_blank(self, small: BaseImage, volume: MadeVolume) -> None:
        space = NtfsSpace(small.volume)
        taken: list[tuple[int, int]] = []
        for start, length in volume.layout.reserved():
            assert not any(small.volume[start : start + length])
            clusters = range(start // space.cluster_size, (start + length - 1) // space.cluster_size + 1)
            assert all(space.is_free(cluster) for cluster in clusters)
            assert all(start >= end or start + length <= begin for begin, end in taken)
            taken.append((start, start + length))

    def test_used_space_only_leaves_free_clusters_alone(self, small: BaseImage) -> None:
        made = make_volume(
            small.volume, cipher=Cipher.AES_XTS_256, protectors=[ClearKey()], seed=2, used_space_only=True
        )
        space = NtfsSpace(small.volume)
        reserved = made.layout.reserved()
        checked = {True: 0, False: 0}
        for cluster in range(space.cluster_count):
            at = cluster * space.cluster_size
            end = at + space.cluster_size
            if at < 8192 or any(start < end and at < start + length for start, length in reserved):
                continue
            free = space.is_free(cluster)
            assert (made.image[at:end] == small.volume[at:end]) is free
            checked[free] += 1
        assert min(checked.values()) > 100

    def test_keys_do_not_show_in_a_repr(self, small: BaseImage) -> None:
        made = make_volume(
            small.volume,
            cipher=Cipher.AES_XTS_128,
            protectors=[RecoveryPassword(DIGITS), StartupKey()],
            seed=3,
        )
        assert made.recovery_passwords == (DIGITS,)
        shown = repr(made) + repr(RecoveryPassword(DIGITS)) + repr(Password("open sesame"))
        assert "000011" not in shown
        assert "sesame" not in shown
        assert repr(made.fvek) not in shown
        assert repr(made.bek) not in shown

    @pytest.mark.parametrize(
        ("digits", "complaint"),
        [
            (DIGITS.replace("000022", "000023"), "group 2"),
            (DIGITS.replace("444444", "720896"), "group 8"),
            (DIGITS[:-7], "eight groups"),
            (DIGITS.replace("-", ""), "eight groups"),
        ],
    )
    def test_bad_recovery_password_is_refused(self, small: BaseImage, digits: str, complaint: str) -> None:
        with pytest.raises(ValueError, match=complaint):
            make_volume(
                small.volume, cipher=Cipher.AES_XTS_128, protectors=[RecoveryPassword(digits)], seed=1
            )

    def test_what_is_not_ntfs_is_refused(self) -> None:
        with pytest.raises(ValueError, match="NTFS boot sector"):
            make_volume(bytes(1 << 20), cipher=Cipher.AES_XTS_128, protectors=[ClearKey()], seed=1)

    def test_base_without_free_room_is_refused(self, small: BaseImage) -> None:
        space, full = NtfsSpace(small.volume), bytearray(small.volume)
        for cluster in filter(space.is_free, range(space.cluster_count)):
            full[cluster * space.cluster_size] = 1
        with pytest.raises(ValueError, match="no 73728 free blank bytes"):
            make_volume(bytes(full), cipher=Cipher.AES_XTS_128, protectors=[ClearKey()], seed=1)

    def test_recovery_passwords_from_the_seed_are_well_formed(self, small: BaseImage) -> None:
        made = make_volume(small.volume, cipher=Cipher.AES_XTS_128, protectors=[RecoveryPassword()], seed=77)
        (digits,) = made.recovery_passwords
        groups = [int(group) for group in digits.split("-")]
        assert len(groups) == 8
        assert all(group % 11 == 0 and group < 720_896 for group in groups)
        assert len(set(groups)) > 1


class TestPartitionTables:
    @pytest.mark.parametrize("sector_size", [512, 4096])
    def test_both_gpt_headers_check_out_and_point_at_each_other(self, sector_size: int) -> None:
        disk = wrap_gpt(b"\xa5" * (3 << 20), seed=1, sector_size=sector_size)
        last = len(disk) // sector_size - 1
        primary, backup = _gpt_header(disk, sector_size, 1), _gpt_header(disk, sector_size, last)
        assert (primary["own"], primary["other"]) == (1, last)
        assert (backup["own"], backup["other"]) == (last, 1)
        assert primary["disk"] == backup["disk"]
        assert primary["entries"] == backup["entries"]
        assert primary["first_usable"] * sector_size <= 1 << 20
        assert primary["last_usable"] < backup["table_at"]

    @pytest.mark.parametrize("sector_size", [512, 4096])
    def test_volume_is_the_second_partition_and_byte_for_byte_there(self, sector_size: int) -> None:
        volume = bytes(range(256)) * 4096 * 3 + b"\x17" * 4096
        disk = wrap_gpt(volume, seed=1, sector_size=sector_size)
        reserved, data = list(_partitions(_gpt_header(disk, sector_size, 1)["entries"]))
        assert reserved[0] == UUID("e3c9e316-0b5c-4db8-817d-f92df00215ae")
        assert data[0] == UUID("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7")
        first, end = data[1] * sector_size, (data[2] + 1) * sector_size
        assert first % (1 << 20) == 0
        assert reserved[2] < data[1]
        assert disk[first:end] == volume

    def test_protective_mbr_covers_the_disk(self) -> None:
        disk = wrap_gpt(bytes(1 << 20), seed=1)
        assert disk[510:512] == b"\x55\xaa"
        kind, first, count = disk[450], *struct.unpack_from("<II", disk, 454)
        assert (kind, first, count) == (0xEE, 1, len(disk) // 512 - 1)
        assert not any(disk[462:510])

    @pytest.mark.parametrize("sector_size", [512, 4096])
    def test_mbr_disk_has_one_ntfs_partition(self, sector_size: int) -> None:
        volume = b"\x33" * (1 << 20) + b"\x44" * 4096
        disk = wrap_mbr(volume, seed=1, sector_size=sector_size)
        kind, first, count = disk[450], *struct.unpack_from("<II", disk, 454)
        assert kind == 7
        assert disk[first * sector_size : (first + count) * sector_size] == volume

    def test_half_a_sector_is_refused(self) -> None:
        for wrap in (wrap_gpt, wrap_mbr):
            with pytest.raises(ValueError, match="sectors of 4096"):
                wrap(bytes(512 * 9), seed=1, sector_size=4096)


class TestCommand:
    def test_disk_and_key_files_are_written_and_no_key_is_printed(self, tmp_path: Path) -> None:
        password = tmp_path / "password"
        password.write_text("correct horse\n", encoding="utf-8")
        out, key = tmp_path / "disk.img", tmp_path / "keys" / "recovery.txt"
        done = CliRunner().invoke(
            main,
            [
                *("disk", str(out), "--base", "sector4k", "--cipher", "aes-cbc-256", "--recovery"),
                *("--startup-key", "--password-file", str(password), "--key-out", str(key), "--seed", "4"),
            ],
        )
        assert done.exit_code == 0, done.output
        (bek,) = tmp_path.glob("*.BEK")
        for path in (key, bek):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        digits = key.read_text("ascii").strip()
        assert re.fullmatch(r"(\d{6}-){7}\d{6}", digits)
        for secret in (digits, digits[:6], "correct horse", bek.read_bytes().hex()):
            assert secret not in done.output
        assert out.read_bytes()[510:512] == b"\x55\xaa"

    def test_same_arguments_give_the_same_disk(self, tmp_path: Path) -> None:
        disks = [
            make_disk(tmp_path / name, base="sector4k", protectors=[ClearKey(), StartupKey()], seed=3)
            for name in ("a/disk", "b/disk")
        ]
        first, second = disks
        assert first.path.read_bytes() == second.path.read_bytes()
        assert [p.read_bytes() for p in first.bek_files] == [p.read_bytes() for p in second.bek_files]

    def test_plain_disk_has_no_key(self, tmp_path: Path) -> None:
        out = tmp_path / "disk.img"
        done = CliRunner().invoke(main, ["disk", str(out), "--base", "sector4k", "--cipher", "none"])
        assert done.exit_code == 0, done.output
        assert [path.name for path in tmp_path.iterdir()] == ["disk.img"]
        assert out.read_bytes()[2 << 20 :].startswith(base_image("sector4k").volume)

    def test_demo_disk_is_serial_demo_0001_in_a_gpt(self, tmp_path: Path) -> None:
        made = demo_disk(tmp_path / "disk.img")
        assert made.serial == demo_facts()["serial"] == "DEMO-0001"
        assert made.recovery_key_file is not None
        disk = made.path.read_bytes()
        assert _gpt_header(disk, 512, 1)["own"] == 1
        assert disk[(2 << 20) + 3 : (2 << 20) + 11] == b"-FVE-FS-"

    def test_encryption_without_protector_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="needs a protector"):
            make_disk(tmp_path / "disk.img", base="sector4k", protectors=[])
        assert not list(tmp_path.iterdir())

    def test_unknown_base_is_refused_with_the_known_ones(self) -> None:
        with pytest.raises(ValueError, match="demo, nasty, sector4k, wof"):
            base_image("missing")

    @pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
    def test_unusable_password_file_is_refused(self, tmp_path: Path, content: bytes) -> None:
        password = tmp_path / "password"
        password.write_bytes(content)
        out = str(tmp_path / "disk.img")
        done = CliRunner().invoke(main, ["disk", out, "--password-file", str(password)])
        assert done.exit_code == 2
        assert not (tmp_path / "disk.img").exists()


class TestBaseImages:
    def test_committed_images_are_small(self) -> None:
        folder = Path(__file__).parents[2] / "fixtures" / "images"
        sizes = {path.name: path.stat().st_size for path in folder.glob("*.xz")}
        assert (
            set(sizes)
            == {f"{name}.img.xz" for name in names()}
            == {
                "demo.img.xz",
                "nasty.img.xz",
                "sector4k.img.xz",
                "wof.img.xz",
            }
        )
        assert max(sizes.values()) < 900_000

    def test_demo_facts_and_listing_are_those_of_the_tree(self) -> None:
        tree, image = demo_tree(SEED), base_image("demo")
        text = manifest(tree)
        files = tree.files() | {"DriveManifest.xml": text}
        assert {f.path: (f.size, f.sha256) for f in image.files} == {
            path: (len(data), hashlib.sha256(data).hexdigest()) for path, data in files.items()
        }
        assert demo_facts()["manifest_md5"] == hashlib.md5(text).hexdigest().upper()

    def test_exactly_three_troubles_are_planted(self) -> None:
        facts, tree = demo_facts(), demo_tree(SEED)
        outcomes = [blob["outcome"] for blob in facts["blobs"]]
        assert {kind: outcomes.count(kind) for kind in ("missing", "corrupt", "skipped")} == {
            "missing": 1,
            "corrupt": 1,
            "skipped": 1,
        }
        assert outcomes.count("created") == facts["counts"]["created"] == len(outcomes) - 3
        differing = [item for item in tree.items if not item.missing and _listed_part(item) != item.listed]
        assert [item.blob for item in differing] == [facts["corrupt"]["blob"]]
        (corrupt,) = differing
        wrong = [i for i, (a, b) in enumerate(zip(corrupt.listed, corrupt.on_drive, strict=True)) if a != b]
        assert len(wrong) == 1
        assert 0 <= wrong[0] - facts["corrupt"]["offset"] < facts["corrupt"]["length"]

    def test_preexisting_blob_is_one_that_must_not_be_overwritten(self) -> None:
        facts = demo_facts()
        (blob,) = (blob for blob in facts["blobs"] if blob["blob"] == facts["preexisting"]["blob"])
        assert (blob["disposition"], blob["outcome"]) == ("no-overwrite", "skipped")
        assert blob["sha256"] == hashlib.sha256(facts["preexisting"]["content"].encode()).hexdigest()

    def test_all_dispositions_and_both_blob_types_occur(self) -> None:
        blobs = demo_facts()["blobs"]
        assert {blob["disposition"] for blob in blobs} == {"overwrite", "no-overwrite", "rename"}
        assert {blob["type"] for blob in blobs} == {"BlockBlob", "PageBlob"}
        (page,) = (blob for blob in blobs if blob["type"] == "PageBlob")
        assert sum(length for _, length in page["page_ranges"]) < page["size"]
        assert all(at % 512 == length % 512 == 0 for at, length in page["page_ranges"])

    def test_demo_manifest_follows_the_schema(self) -> None:
        schema_file = Path(__file__).parents[1] / "data/xsd/drive-manifest.xsd"
        etree.XMLSchema(etree.parse(schema_file)).assertValid(etree.fromstring(manifest(demo_tree(SEED))))

    def test_account_key_in_the_manifest_says_that_it_is_none(self) -> None:
        key = demo_facts()["placeholder_account_key"]
        text = manifest(demo_tree(SEED)).decode()
        assert f"<StorageAccountKey>{key}</StorageAccountKey>" in text
        assert b"PLACEHOLDER, NOT A KEY" in base64.b64decode(key, validate=True)

    def test_nasty_image_has_every_shape(self) -> None:
        facts = base_image("nasty").facts
        assert facts["refused_names"] == []
        for shape in ("compressed", "sparse", "hard_links", "deleted", "encrypted", "fragmented"):
            assert facts[shape], shape
        assert {0x80000017, 0x9000101A, 0xA000000C, 0xA0000003} <= set(facts["reparse"].values())
        json.dumps(facts)


class TestListing:
    @given(
        st.dictionaries(
            st.tuples(
                st.lists(
                    st.text(st.characters(exclude_characters="/"), min_size=1), min_size=1, max_size=4
                ).map(tuple),
                st.text(max_size=8),
            ),
            st.binary(max_size=20),
            max_size=6,
        )
    )
    def test_any_names_come_back(self, files: dict[listing.Key, bytes]) -> None:
        text = listing.write(files)
        assert len(text.splitlines()) == len(files)
        text.encode("utf-8")
        back = {(f.names, f.stream): (f.size, f.sha256) for f in listing.read(text)}
        assert back == {key: (len(data), hashlib.sha256(data).hexdigest()) for key, data in files.items()}


def _listed_part(item: Item) -> bytes:
    """What a reader of the manifest's ranges gets, with zeros outside page ranges."""
    on_drive = item.on_drive
    if item.page_ranges is None:
        return on_drive
    covered = bytearray(len(on_drive))
    for at, length in item.page_ranges:
        covered[at : at + length] = on_drive[at : at + length]
    return bytes(covered)


def _entries(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    while at + 8 <= len(data):
        size, role, kind, _ = struct.unpack_from("<4H", data, at)
        if size < 8:
            return
        yield role, kind, data[at : at + size]
        at += size


def _vmk_by_clear_key(block: bytes) -> bytes:
    metadata_size = struct.unpack_from("<I", block, 64)[0]
    (vmk,) = (entry for role, _, entry in _entries(block[112 : 64 + metadata_size]) if role == 2)
    nested = {kind: entry for _, kind, entry in _entries(vmk[36:])}
    return _unwrapped(nested[5], nested[1][12:])


def _unwrapped(datum: bytes, key: bytes) -> bytes:
    """The key in an AES-CCM datum; InvalidTag when it is not that key's."""
    nonce, tag, sealed = datum[8:20], datum[20:36], datum[36:]
    return AESCCM(key, tag_length=16).decrypt(nonce, sealed + tag, None)[12:]


def _gpt_header(disk: bytes, sector_size: int, sector: int) -> dict[str, Any]:
    """A header and its table, both CRCs recomputed."""
    raw = bytearray(disk[sector * sector_size :][:92])
    signature, revision, size, crc, _, own, other, first, last, guid, table_at, count, each, table_crc = (
        struct.unpack("<8sIIII4Q16sQIII", raw)
    )
    assert (signature, revision, size) == (b"EFI PART", 0x10000, 92)
    raw[16:20] = bytes(4)
    assert crc == zlib.crc32(raw)
    entries = disk[table_at * sector_size :][: count * each]
    assert table_crc == zlib.crc32(entries)
    return {
        "own": own,
        "other": other,
        "first_usable": first,
        "last_usable": last,
        "disk": guid,
        "table_at": table_at,
        "entries": entries,
    }


def _partitions(entries: bytes) -> Iterator[tuple[UUID, int, int]]:
    for at in range(0, len(entries), 128):
        kind, _, first, last = struct.unpack_from("<16s16sQQ", entries, at)
        if any(kind):
            yield UUID(bytes_le=kind), first, last
