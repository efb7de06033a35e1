"""``ingest-agent volume`` as a technician uses it: what it says of drives, keys and trouble."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fixtures import make_disk
from fixtures.disk import MadeDisk, Table
from tests.kit import images
from tests.kit.volume_command import (
    CHECKOUT,
    COMMAND,
    HEAD,
    PASSWORD,
    SLOW_RUN,
    WAIT_S,
    demo_drive,
    hashed,
    needs_bitlocker,
    volume,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("volumes")


@pytest.fixture(scope="module")
def demo(folder: Path) -> MadeDisk:
    return demo_drive(folder)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (Table.GPT, "GPT partition 2 (29360128 bytes from byte 2097152) is the first data volume"),
        (Table.MBR, "MBR partition 1 (29360128 bytes from byte 1048576) is the first data volume"),
        (Table.NONE, "the whole device is one volume of 29360128 bytes without a partition table"),
    ],
)
def test_info_tells_which_volume_of_the_disk_is_taken_and_why(
    tmp_path: Path, table: Table, said: str
) -> None:
    disk = make_disk(tmp_path / "disk.img", table=table, cipher=None)
    done = volume("info", disk.path)
    assert done.code == 0
    assert said in done.text
    assert "the volume is not encrypted" in done.text
    assert "NTFS 3.1" in done.text


def test_info_without_a_key_names_the_protectors_and_what_would_open_them(demo: MadeDisk) -> None:
    done = volume("info", demo.path)
    assert (done.code, done.said) == (0, "")
    assert "Give a password or a recovery password or a startup key with --key-file" in done.text
    told = json.loads(volume("info", demo.path, "--json").out)
    assert told["bitlocker"]["opensWith"] == ["password", "recovery password", "startup key"]
    assert told["bitlocker"]["state"] == "encrypted"
    assert told["bitlocker"]["cipher"] == "AES-XTS-128"
    assert told["bitlocker"]["copyUsed"] == 1
    assert [copy["problem"] for copy in told["bitlocker"]["copies"]] == [None, None, None]
    assert told["ended"] == {"step": "BitLocker unlock", "error": None, "detail": "no key is given"}
    assert told["ntfs"] is None
    assert demo.volume is not None
    kinds = [(protector["kind"], protector["id"]) for protector in told["bitlocker"]["protectors"]]
    assert len(set(kinds)) == 3
    assert all(identifier in done.text for _, identifier in kinds)


def test_info_with_a_key_describes_the_filesystem(demo: MadeDisk) -> None:
    done = volume("info", demo.path, "--key-file", demo.recovery_key_file, "--json")
    told = json.loads(done.out)
    assert done.code == 0
    assert told["ended"] is None
    assert told["bitlocker"]["openedBy"] == "recovery password"
    ntfs = told["ntfs"]
    assert (ntfs["version"], ntfs["label"], ntfs["serial"]) == ("3.1", "INGEST", "33872CC277E24639")
    assert (ntfs["clusterBytes"], ntfs["recordBytes"], ntfs["sectorBytes"]) == (4096, 1024, 512)
    assert ntfs["records"] > 300
    assert ntfs["dirty"] is False
    assert ntfs["bootSectorProblem"] is None
    shown = volume("info", demo.path, "--key-file", demo.recovery_key_file, "--verbose").text
    assert 'label "INGEST", serial 33872CC277E24639' in shown
    assert f"MFT records   {ntfs['records']}" in shown
    assert told["confinement"].split(", ")[0] in shown


def test_info_with_a_wrong_key_still_tells_what_it_found(demo: MadeDisk) -> None:
    done = volume("info", demo.path, "--key-file", "-", stdin=b"not the password")
    assert done.code == 4
    assert "AES-XTS-128" in done.text
    assert "at the BitLocker unlock" in done.text
    assert "[drive: BitLockerKeyInvalid]" in done.error
    assert "not the password" not in done.text + done.said


def test_info_uses_the_backup_of_a_damaged_boot_sector_and_says_so(tmp_path: Path, plain: Path) -> None:
    data = bytearray(plain.read_bytes())
    data[13] = 3  # Three sectors a cluster.
    image = tmp_path / "boot.img"
    image.write_bytes(data)
    done = volume("info", image)
    assert done.code == 0
    assert "its backup is used: the boot sector gives 0x3 sectors" in done.text


def test_info_shows_what_cannot_steer_the_terminal(tmp_path: Path, plain: Path) -> None:
    data = bytearray(plain.read_bytes())
    label = "INGEST".encode("utf-16-le")
    evil = "\x1b[2J\ud800x".encode("utf-16-le", "surrogatepass")
    assert data.count(label) >= 1
    assert len(evil) == len(label)
    image = tmp_path / "label.img"
    image.write_bytes(data.replace(label, evil))
    done = volume("info", image)
    assert done.code == 0
    assert b"\x1b" not in done.out
    assert r'label "\x1b[2J\ud800x"' in done.text
    assert json.loads(volume("info", image, "--json").out)["ntfs"]["label"] == "\x1b[2J\ud800x"


def test_a_dirty_volume_is_said_to_be_dirty(tmp_path: Path, plain: Path) -> None:
    data = bytearray(plain.read_bytes())
    at = _volume_flags(data)
    data[at] |= 1
    image = tmp_path / "dirty.img"
    image.write_bytes(data)
    assert "dirty: Windows did not finish with it" in volume("info", image).text
    assert json.loads(volume("info", image, "--json").out)["ntfs"]["dirty"] is True
    assert hashed(volume("hash", image)) == images.hashes("demo")


def _volume_flags(data: bytearray) -> int:
    """Where the flags of $VOLUME_INFORMATION stand: MFT record 3, attribute 0x70."""
    record = int.from_bytes(data[48:56], "little") * data[13] * 512 + 3 * 1024
    at = record + int.from_bytes(data[record + 20 : record + 22], "little")
    while data[at] != 0x70:
        at += int.from_bytes(data[at + 4 : at + 8], "little")
    return at + int.from_bytes(data[at + 20 : at + 22], "little") + 10


def _zeros(data: bytes) -> bytes:
    return bytes(2_000_000)


def _cut(data: bytes) -> bytes:
    return data[:10_000_000]


def _both_tables_damaged(data: bytes) -> bytes:
    return data[:520] + b"\xff" + data[521:-500] + bytes(500)


def _first_sector_wiped(data: bytes) -> bytes:
    return data[:2_097_152] + bytes(512) + data[2_097_664:]


@pytest.mark.parametrize(
    ("change", "step", "error"),
    [
        (_zeros, "choice of the volume", "BitLockerVolumeNotFound"),
        (lambda _: b"short", "choice of the volume", "BitLockerVolumeNotFound"),
        (_cut, "choice of the volume", "DiskOperationFailed"),
        (_both_tables_damaged, "partition table", "BitLockerVolumeNotFound"),
        (_first_sector_wiped, "filesystem", "BitLockerFailed"),
    ],
    ids=["zeros", "tiny", "truncated", "GPT damaged", "first sector wiped"],
)
def test_info_goes_as_far_as_it_can_and_says_where_it_ended(
    tmp_path: Path, demo: MadeDisk, change: Any, step: str, error: str
) -> None:
    image = tmp_path / "broken.img"
    image.write_bytes(change(demo.path.read_bytes()))
    done = volume("info", image, "--json")
    told = json.loads(done.out)
    assert done.code == 4
    assert (told["ended"]["step"], told["ended"]["error"]) == (step, error)
    assert told["ended"]["detail"].rstrip(".") in json.loads(done.said)["error"]["message"]
    assert f"at the {step}" in volume("info", image).text
    assert f"[drive: {error}]" in volume("list", image).error


def test_a_volume_of_another_filesystem_is_named(tmp_path: Path) -> None:
    image = tmp_path / "exfat.img"
    partition = (
        b"\x80" + bytes(3) + b"\x07" + bytes(3) + (8).to_bytes(4, "little") + (92).to_bytes(4, "little")
    )
    boot = bytes(446) + partition + bytes(48) + b"\x55\xaa"
    image.write_bytes(boot + bytes(7 * 512) + b"\xeb\x76\x90EXFAT   " + bytes(100 * 512 - 11))
    done = volume("info", image)
    assert done.code == 4
    assert "the volume holds exFAT, not NTFS [drive: VolumeNotNtfs]" in done.error
    assert "at the filesystem" in done.text


@needs_bitlocker
def test_info_says_what_is_wrong_with_each_metadata_copy(real: Path) -> None:
    done = volume("info", real / "bitlk-aes-xts-128-crc.img")
    assert done.code == 0
    assert "copy 3 of 3 is used" in done.text
    assert done.text.count("is not sound: its check sum is") == 2


@needs_bitlocker
@pytest.mark.parametrize("name", ["bitlk-aes-xts-128-eow", "bitlk-partially-encrypted-aes-cbc-128"])
def test_a_volume_under_conversion_is_described_and_refused(real: Path, name: str) -> None:
    done = volume("info", real / f"{name}.img")
    assert done.code == 4
    assert "encryption not finished" in done.text
    assert "[drive: BitLockerFailed]" in done.error


@needs_bitlocker
def test_a_suspended_volume_opens_by_itself_and_info_says_so(real: Path) -> None:
    done = volume("info", real / "bitlk-aes-xts-128-clearkey-only.img")
    assert done.code == 0
    assert "opened by     clear key: protection is suspended" in done.text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (PASSWORD, "utf-8"),
        (PASSWORD + "\n", "utf-8"),
        (PASSWORD + "\r\n", "utf-8-sig"),
        (PASSWORD, "utf-16"),
        (PASSWORD + "\r\n", "utf-16"),
    ],
    ids=["UTF-8", "newline", "UTF-8 with BOM", "UTF-16", "UTF-16 of Notepad"],
)
def test_a_password_may_come_from_any_editor(
    tmp_path: Path, demo: MadeDisk, text: str, encoding: str
) -> None:
    key = tmp_path / "key.txt"
    key.write_bytes(text.encode(encoding))
    done = volume("info", demo.path, "--key-file", key, "--json")
    assert done.code == 0
    assert json.loads(done.out)["bitlocker"]["openedBy"] == "password"


def test_the_kind_of_a_key_is_found_by_what_it_is(demo: MadeDisk) -> None:
    (bek,) = demo.bek_files
    assert demo.recovery_key_file is not None
    digits = demo.recovery_key_file.read_bytes().replace(b"-", b" ")
    for stdin, kind in ((bek.read_bytes(), "startup key"), (digits, "recovery password")):
        done = volume("info", demo.path, "--key-file", "-", "--json", stdin=stdin)
        assert json.loads(done.out)["bitlocker"]["openedBy"] == kind


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (b"111111-222222-333334-444444-555555-666666-111111-222222", "group 3 of the recovery password"),
        (b"", "the key is empty"),
        (b"\n", "the key is empty"),
        (b"\x80\x81\x82", "neither a BEK file nor UTF-8 text"),
        (b"\xff\xfe\x00\xd8", "begins as UTF-16 text and is none"),
        (b"x" * 5000, "more than 4096 bytes"),
    ],
    ids=["bad group", "empty", "only a newline", "no text", "bad UTF-16", "too large"],
)
def test_a_key_that_is_none_is_refused_before_the_drive_is_read(
    demo: MadeDisk, key: bytes, said: str
) -> None:
    done = volume("list", demo.path, "--key-file", "-", stdin=key)
    assert (done.code, done.out) == (2, b"")
    assert said in done.error
    assert "[policy: MalformedInput]" in done.error


def test_a_key_file_that_is_not_there_is_named(demo: MadeDisk, tmp_path: Path) -> None:
    for path, said in ((tmp_path / "none.txt", "No such file"), (tmp_path, "Is a directory")):
        done = volume("decrypt", demo.path, "--key-file", path)
        assert done.code == 2
        assert str(path) in done.error
        assert said in done.error


def test_without_its_key_an_encrypted_volume_is_not_read(demo: MadeDisk) -> None:
    for verb in ("list", "hash", "decrypt"):
        done = volume(verb, demo.path)
        assert (done.code, done.out) == (4, b"")
        kinds = "a password or a recovery password or a startup key"
        assert f"no key is given; {kinds} opens it (--key-file)" in done.error


def test_no_secret_is_ever_printed(demo: MadeDisk, tmp_path: Path) -> None:
    assert demo.recovery_key_file is not None
    (bek,) = demo.bek_files
    digits = demo.recovery_key_file.read_text("ascii").strip()
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("000011-" * 7 + "000022")
    printed = b""
    for key in (demo.recovery_key_file, bek, wrong):
        for arguments in (("info", demo.path, "--json"), ("info", demo.path, "-v"), ("list", demo.path)):
            done = volume(*arguments, "--key-file", key)
            printed += done.out + done.said.encode()
    material = bek.read_bytes()[-32:]
    for secret in (digits, digits[:13], "000011-000011", material.hex(), PASSWORD):
        assert secret.encode() not in printed
    assert material not in printed


def test_a_source_that_is_none_is_the_stations_trouble(tmp_path: Path) -> None:
    empty = tmp_path / "empty.img"
    empty.touch()
    for source, said in (
        (tmp_path / "none.img", "No such file or directory"),
        (tmp_path, "neither a block device nor an image file"),
        (empty, "is empty"),
    ):
        for verb in ("info", "list", "hash", "decrypt"):
            done = volume(verb, source)
            assert (done.code, done.out) == (5, b"")
            assert str(source) in done.error
            assert said in done.error


def test_a_source_that_may_not_be_read_is_the_stations_trouble(tmp_path: Path) -> None:
    image = tmp_path / "mine.img"
    image.write_bytes(bytes(4096))
    image.chmod(0)
    done = volume("info", image, run=_WITHOUT_POWERS)
    assert done.code == 5
    assert "Permission denied" in done.error
    for option in ("--key-file", "--mapfile"):
        done = volume("info", __file__, option, image, run=_WITHOUT_POWERS)
        assert done.code == 2
        assert f"{image} cannot be read: Permission denied" in done.error


_WITHOUT_POWERS = """
from agent.cli.main import main
from agent.transfer.sandbox.limits import drop_capabilities
drop_capabilities()  # Root reads everything; also whoever runs this by root's number has none then.
main()
"""


def test_a_reader_that_hangs_up_is_no_error(plain: Path) -> None:
    for verb in ("list", "hash", "decrypt"):
        done = subprocess.run(
            ["bash", "-c", HEAD, "bash", *COMMAND, verb, str(plain)],
            capture_output=True,
            check=False,
            timeout=WAIT_S,
            cwd=CHECKOUT,
        )
        assert done.returncode == 0, done.stderr
        assert len(done.stdout) == 100
        assert b"error" not in done.stderr


def test_a_full_disk_under_the_output_is_the_stations_trouble(plain: Path) -> None:
    for verb in ("info", "list", "hash", "decrypt"):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [*COMMAND, verb, str(plain)],
                stdout=full,
                stderr=subprocess.PIPE,
                check=False,
                timeout=WAIT_S,
                cwd=CHECKOUT,
            )
        assert done.returncode == 5, done.stderr
        assert b"No space left on device [station]" in done.stderr


@pytest.mark.parametrize("verb", ["hash", "decrypt"])
def test_ctrl_c_ends_it_in_one_line(demo: MadeDisk, verb: str) -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", SLOW_RUN),
            *("volume", verb, demo.path, "--key-file", demo.recovery_key_file),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=CHECKOUT,
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith(b"reading: ")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 130
    assert said.decode().strip() == "interrupted"


def test_a_command_parses_only_when_it_is_confined(plain: Path) -> None:
    told = json.loads(volume("info", plain, "--json").out)
    assert "no new privileges" in told["confinement"]
    opened = volume("info", plain, run=_OPENS_A_FILE)
    assert "the sandbox held" in opened.said


_OPENS_A_FILE = """
import sys
import agent.cli.volume as commands
survey = commands.survey
def hijacked(bench):
    try:
        open("/etc/passwd")
    except PermissionError:
        print("the sandbox held", file=sys.stderr)
    return survey(bench)
commands.survey = hijacked
from agent.cli.main import main; main()
"""
