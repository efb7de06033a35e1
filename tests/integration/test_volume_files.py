"""``ingest-agent volume list``, ``hash`` and ``decrypt``: what they print is what is on the drive."""

from __future__ import annotations

import configparser
import json
import lzma
import os
import pty
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fixtures import make_disk
from fixtures.disk import MadeDisk, Table
from tests.kit import images
from tests.kit.volume_command import (
    BITLOCKER,
    CHECKOUT,
    COMMAND,
    GONE_RUN,
    SHARED,
    WAIT_S,
    bad_run,
    demo_drive,
    hashed,
    needs_bitlocker,
    sha256,
    volume,
)

NTFS = sorted(SHARED.glob("ntfs/*.raw.xz"))
START = 2_097_152
"""Where the volume begins on a disk with a GPT."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("volumes")


@pytest.fixture(scope="module")
def demo(folder: Path) -> MadeDisk:
    return demo_drive(folder)


def told(name: str) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(BITLOCKER, encoding="utf-8")
    return parser[name]


def test_hash_of_an_encrypted_disk_gives_what_was_put_on_it(demo: MadeDisk) -> None:
    before = sha256(demo.path.read_bytes())
    done = volume("hash", demo.path, "--key-file", demo.recovery_key_file)
    assert done.code == 0
    assert hashed(done) == images.hashes("demo")
    assert "reading: GPT partition 2" in done.said
    assert sha256(demo.path.read_bytes()) == before


@pytest.mark.parametrize("name", ["nasty", "sector4k"])
def test_hash_of_a_bare_volume_gives_what_was_put_on_it(tmp_path: Path, name: str) -> None:
    done = volume("hash", images.unpack(name, tmp_path))
    expected = images.hashes(name)
    if name == "sector4k":
        assert done.code == 0
        assert hashed(done) == expected
        return
    facts = json.loads((images.IMAGES / "nasty.json").read_text("utf-8"))
    for path, fact in facts["wof"].items():
        expected[path] = (fact["sha256"], fact["size"])
    assert hashed(done) == expected
    unread = {line["path"]: line["flags"] for line in done.lines if "sha256" not in line}
    assert unread == {
        "reparse/junction": ["directory", "link"],
        "reparse/symlink.txt": ["link"],
        "reparse/cloud.docx": ["unsupported"],
        "reparse/dedup.vhd": ["unsupported"],
        "encrypted/efs.docx": ["unsupported"],
    }
    assert done.code == 4
    assert "3 of 585 files and streams could not be read (3 of an unsupported kind)" in done.error


@pytest.mark.skipif(not NTFS, reason="no NTFS disks of Windows beside the checkout")
@pytest.mark.parametrize("packed", NTFS, ids=lambda path: path.name)
def test_hash_of_a_disk_that_windows_made_gives_the_published_list(tmp_path: Path, packed: Path) -> None:
    disk = tmp_path / "disk.raw"
    with lzma.open(packed) as file, disk.open("wb") as out:
        while data := file.read(1 << 24):
            if data.count(0) == len(data):
                out.truncate(out.seek(len(data), os.SEEK_CUR))
            else:
                out.write(data)
    listing = packed.with_name(packed.name.replace(".raw.xz", ".files.sha256")).read_text("utf-8")
    expected = {path: digest for digest, path in (line.split("  ", 1) for line in listing.splitlines())}
    done = volume("hash", disk)
    assert done.code == 0
    assert {path: digest for path, (digest, _) in hashed(done).items()} == expected


def test_list_has_the_same_lines_as_hash_but_for_the_hashes(tmp_path: Path) -> None:
    image = images.unpack("nasty", tmp_path)
    listed = {_key(line): line for line in volume("list", image).lines}
    digests = {_key(line): line for line in volume("hash", image).lines}
    assert listed == {
        key: {name: value for name, value in line.items() if name != "sha256"}
        for key, line in digests.items()
    }


def _key(line: dict[str, Any]) -> tuple[int, str]:
    return line["record"], line["path"]


def test_a_line_tells_every_name_the_stream_the_place_and_the_kind(tmp_path: Path) -> None:
    done = volume("list", images.unpack("nasty", tmp_path))
    lines = {line["path"]: line for line in done.lines}
    names = images.IMAGES / "nasty.json"
    facts = json.loads(names.read_text("utf-8"))
    (links,) = facts["hard_links"]
    assert {lines[path]["record"] for path in links} == {lines[links[0]]["record"]}
    assert [lines[path]["links"] for path in links] == [3, 3, 3]
    assert lines["streams/two.txt:Zone.Identifier"]["stream"] == "Zone.Identifier"
    assert lines["streams/two.txt:Zone.Identifier"]["flags"] == ["stream"]
    assert lines["streams/folder:of the folder"]["flags"] == ["directory", "stream"]
    assert lines["reparse/junction"]["flags"] == ["directory", "link"]
    assert lines["reparse/junction"]["target"] == "C:\\names"
    assert "size" not in lines["reparse/junction"]
    assert lines["reparse/symlink.txt"]["target"] == "names\\Readme.txt"
    assert lines["sparse/all hole.bin"]["kind"] == "sparse"
    assert all(place is None for place, _ in lines["sparse/all hole.bin"]["extents"])
    assert lines["compressed/text.txt"]["kind"] == "compressed"
    assert lines["compressed/resident.txt"]["kind"] == "resident"
    assert lines["encrypted/efs.docx"]["flags"] == ["unsupported"]
    assert "EFS" in lines["encrypted/efs.docx"]["error"]
    assert lines["fragmented/one.bin"]["modified"].endswith("Z")
    extents = lines["fragmented/one.bin"]["extents"]
    assert sum(length for _, length in extents) >= lines["fragmented/one.bin"]["size"]
    assert len(extents) > 100
    assert done.code == 0


def test_names_that_no_text_can_hold_come_back_from_the_line(tmp_path: Path) -> None:
    done = volume("list", images.unpack("nasty", tmp_path))
    assert done.out.isascii()
    paths = {line["path"] for line in done.lines}
    broken = [path for path in images.hashes("nasty") if any("\ud800" <= ch <= "\udfff" for ch in path)]
    assert broken
    assert paths.issuperset(broken)


def test_the_extents_of_a_line_are_where_the_bytes_are(plain: Path) -> None:
    data = plain.read_bytes()
    checked = 0
    for line in volume("hash", plain).lines:
        if line["kind"] == "plain":
            content = b"".join(data[offset : offset + length] for offset, length in line["extents"])
            assert sha256(content[: line["size"]]) == line["sha256"], line["path"]
            checked += 1
    assert checked > 100


def test_ntfs_own_files_are_left_out_unless_asked_for(plain: Path) -> None:
    without = {line["path"] for line in volume("list", plain).lines}
    lines = {line["path"]: line for line in volume("list", plain, "--metafiles").lines}
    own = set(lines) - without
    assert without < set(lines)
    assert {"$MFT", "$MFTMirr", "$LogFile", "$Bitmap", "$UpCase"} <= own
    assert all(lines[path]["flags"][0] == "metafile" for path in own)
    done = volume("hash", plain, "--metafiles")
    data = plain.read_bytes()
    found = {line["path"]: line["sha256"] for line in done.lines if "sha256" in line}
    ((offset, _),) = lines["$UpCase"]["extents"]
    assert found["$UpCase"] == sha256(data[offset : offset + 131072])


def test_files_come_in_the_order_in_which_they_lie(plain: Path) -> None:
    places = [line["extents"][0][0] for line in volume("hash", plain).lines if line["kind"] == "plain"]
    assert len(places) > 100
    # A file ends after its last byte, so one of several windows lets small ones behind it pass.
    out_of_place = sum(after < before for before, after in pairwise(places))
    assert out_of_place < len(places) / 20


def test_a_damaged_record_is_a_line_of_its_own_and_the_rest_is_listed(tmp_path: Path, plain: Path) -> None:
    lines = {line["path"]: line for line in volume("list", plain, "--metafiles").lines}
    record = lines["readme-first.txt"]["record"]
    ((table, _), *_) = lines["$MFT"]["extents"]
    data = bytearray(plain.read_bytes())
    data[table + record * 1024 + 510] ^= 0xFF
    image = tmp_path / "torn.img"
    image.write_bytes(data)
    for verb in ("list", "hash"):
        done = volume(verb, image)
        (damaged,) = [line for line in done.lines if "damaged" in line["flags"]]
        assert damaged["record"] == record
        assert damaged["path"].startswith(f"$Damaged/{record}")
        assert f"MFT record {record}" in damaged["error"]
        assert done.code == 4
        assert "1 of " in done.error
        assert "1 damaged" in done.error
        others = {line["path"] for line in done.lines} - {damaged["path"]}
        assert others == set(images.hashes("demo")) - {"readme-first.txt"}


def _places(lines: Iterable[dict[str, Any]], path: str) -> list[tuple[int, int]]:
    (line,) = [line for line in lines if line["path"] == path]
    return [(offset, length) for offset, length in line["extents"]]


def test_hash_loses_only_the_files_on_bad_sectors_and_says_which_sectors(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "disk.img", cipher=None)
    lines = volume("list", disk.path).lines
    ledger = "session-1/documents/ledger.csv"
    ((large, _),) = _places(lines, ledger)
    small = next(line for line in lines if line["kind"] == "plain" and 4096 < line["size"] < 50_000)
    ((place, _),) = small["extents"]
    bad = [(START + large + at, length) for at, length in ((599_552, 1024), (1_200_128, 512))]
    bad.append((START + place, 512))
    done = volume("hash", disk.path, run=bad_run(*bad))
    lost = {line["path"]: line for line in done.lines if "error" in line}
    assert set(lost) == {ledger, small["path"]}
    assert lost[ledger]["unreadable"] == [list(each) for each in bad[:2]]
    assert lost[ledger]["lost"] == [[599_552, 1024], [1_200_128, 512]]
    assert lost[small["path"]]["unreadable"] == [list(bad[2])]
    assert lost[small["path"]]["lost"] == [[0, 512]]
    assert f"bytes {bad[2][0]}..{bad[2][0] + 512} of the device" in lost[small["path"]]["error"]
    assert done.code == 4
    assert "2 of " in done.error
    assert "2 unreadable" in done.error
    expected = {path: value for path, value in images.hashes("demo").items() if path not in lost}
    assert hashed(done) == expected


def test_what_ddrescue_did_not_rescue_is_not_taken_for_zeros(tmp_path: Path, demo: MadeDisk) -> None:
    key = ("--key-file", demo.recovery_key_file)
    lines = volume("list", demo.path, *key).lines
    ledger = "session-1/documents/ledger.csv"
    ((large, _),) = _places(lines, ledger)
    hole = START + large + 8192
    image, mapfile = tmp_path / "rescued.img", tmp_path / "rescued.map"
    data = demo.path.read_bytes()
    image.write_bytes(data[:hole] + bytes(4096) + data[hole + 4096 :])
    mapfile.write_text(
        f"# Mapfile. Created by GNU ddrescue version 1.27\n0x0 + 1\n0x0 0x{hole:X} +\n"
        f"0x{hole:X} 0x1000 -\n0x{hole + 4096:X} 0x{len(data) - hole - 4096:X} +\n"
    )
    done = volume("hash", image, *key, "--mapfile", mapfile)
    (lost,) = [line for line in done.lines if "error" in line]
    assert (lost["path"], lost["unreadable"], lost["lost"]) == (ledger, [[hole, 4096]], [[8192, 4096]])
    assert hashed(done) == {k: v for k, v in images.hashes("demo").items() if k != ledger}
    # Without it, the hole is believed.
    assert volume("hash", image, *key).code == 0
    done = volume("decrypt", image, *key, "--mapfile", mapfile)
    assert (done.code, len(done.out)) == (4, large + 8192)
    mapfile.write_text("0x0 + 1\n0x0 0x10 ?\n0x20 0x10 +\n")
    done = volume("hash", image, *key, "--mapfile", mapfile)
    assert done.code == 2
    assert "line 3 of the mapfile" in done.error


def test_decrypt_writes_all_before_the_first_bad_sector_and_nothing_after(
    tmp_path: Path, demo: MadeDisk
) -> None:
    key = ("--key-file", demo.recovery_key_file)
    whole = volume("decrypt", demo.path, *key)
    assert whole.code == 0
    at = 9_437_184 + 3 * 512
    done = volume("decrypt", demo.path, *key, run=bad_run((START + at, 512), (START + at + 8192, 512)))
    assert done.code == 4
    assert done.out == whole.out[:at]
    assert f"bytes {START + at}..{START + at + 512} of the device cannot be read" in done.error
    assert f"the first {at} bytes" in done.error


def test_a_drive_that_is_pulled_is_one_event(plain: Path) -> None:
    reads = 40
    done = volume("hash", plain, run=GONE_RUN.format(reads=reads))
    assert done.code == 5
    assert "[station: DeviceUnavailable]" in done.error
    assert "stopped answering" in done.error


@needs_bitlocker
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("bitlk-aes-xts-128", "PW"),
        ("bitlk-aes-xts-256", "RP"),
        ("bitlk-aes-xts-128-4k", "PW"),
        ("bitlk-aes-cbc-elephant-128", "RP"),
        ("bitlk-togo-aes-cbc-128", "PW"),
        ("bitlk-aes-xts-128-two-recovery", "RP2"),
        ("bitlk-aes-xts-128-unicode", "PW"),
        ("bitlk-aes-xts-128-startup-key-win11", "SK_VMK_GUID"),
        ("bitlk-aes-xts-128-crc", "PW"),
        ("bitlk-aes-xts-128-clearkey-only", ""),
    ],
)
def test_decrypt_writes_what_windows_would_show(real: Path, name: str, key: str) -> None:
    facts = told(name)
    arguments: Sequence[object] = ("--key-file", "-") if key else ()
    text = facts[key] if key else ""
    if key == "SK_VMK_GUID":
        arguments, text = ("--key-file", real / f"{text.upper()}.BEK"), ""
    done = volume("decrypt", real / f"{name}.img", *arguments, stdin=text.encode())
    assert done.code == 0
    assert sha256(done.out) == facts["SHA256SUM"]


def test_decrypt_of_a_plain_volume_is_the_volume(tmp_path: Path, plain: Path) -> None:
    disk = make_disk(tmp_path / "disk.img", cipher=None, table=Table.MBR)
    done = volume("decrypt", disk.path)
    assert done.code == 0
    assert done.out == plain.read_bytes()
    assert "not encrypted" in done.said


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("losetup"), reason="no loop devices for this user")
def test_a_block_device_is_read_as_its_image_is(demo: MadeDisk) -> None:
    attach = ("losetup", "--read-only", "--find", "--show", str(demo.path))
    made = subprocess.run(attach, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no loop device: {made.stderr.strip()}")
    device = made.stdout.strip()
    try:
        key = ("--key-file", demo.recovery_key_file)
        assert json.loads(volume("info", device, "--json").out)["source"]["device"] is True
        assert hashed(volume("hash", device, *key)) == images.hashes("demo")
        assert volume("decrypt", device, *key).out == volume("decrypt", demo.path, *key).out
    finally:
        subprocess.run(("losetup", "--detach", device), check=True)


def test_decrypt_refuses_a_terminal(plain: Path) -> None:
    ours, terminal = pty.openpty()
    try:
        done = subprocess.run(
            [*COMMAND, "decrypt", str(plain)],
            stdout=terminal,
            stderr=subprocess.PIPE,
            check=False,
            timeout=WAIT_S,
            cwd=CHECKOUT,
        )
    finally:
        os.close(terminal)
        os.close(ours)
    assert done.returncode == 2
    assert b"standard output is a terminal" in done.stderr


MEMORY_RUN = """
import resource, sys
import agent.cli.volume_source as source
from fixtures.synthetic_mft import SyntheticVolume
source.drive_source = lambda *_: SyntheticVolume({count})
from agent.cli.main import main
try:
    main()
finally:
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def test_memory_does_not_grow_with_the_files(plain: Path) -> None:
    peaks = []
    for count in (60_000, 160_000):
        done = volume("hash", plain, run=MEMORY_RUN.format(count=count))
        assert done.code == 0
        assert done.out.count(b"sha256") == count - -(-count // 200)
        peaks.append(int(done.said.split("peak ")[1]))
    assert peaks[1] - peaks[0] < 16 * 1024
