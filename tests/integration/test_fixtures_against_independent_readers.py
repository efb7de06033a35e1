"""What the maker of images writes, read by programs that know nothing of it: libbde, dislocker, libfsntfs."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from fixtures import (
    Cipher,
    ClearKey,
    MadeVolume,
    Password,
    Protector,
    RecoveryPassword,
    StartupKey,
    base_image,
    demo_disk,
    demo_facts,
    make_disk,
    make_volume,
)
from fixtures.disk import Table

pybde = pytest.importorskip("pybde", reason="libbde-python is not installed")
pyfsntfs = pytest.importorskip("pyfsntfs", reason="libfsntfs-python is not installed")

BASES = {512: "nasty", 4096: "sector4k"}
PASSWORD = "a plain password"
DISLOCKER = shutil.which("dislocker-file")
needs_dislocker = pytest.mark.skipif(DISLOCKER is None, reason="dislocker-file is not on PATH")
every_cipher = pytest.mark.parametrize("cipher", Cipher)
every_sector_size = pytest.mark.parametrize("sector_size", BASES)
_PIECE = 1 << 20


@lru_cache(maxsize=4)
def base(sector_size: int) -> bytes:
    return base_image(BASES[sector_size]).volume


def made(
    sector_size: int, protectors: Sequence[Protector], cipher: Cipher = Cipher.AES_XTS_128, **options: bool
) -> MadeVolume:
    return make_volume(base(sector_size), cipher=cipher, protectors=protectors, seed=11, **options)


def decrypted(image: bytes, **keys: str) -> bytes | None:
    """By libbde: the whole volume, or None when the keys do not open it. Reads are sector-aligned."""
    volume = pybde.volume()
    for name, value in keys.items():
        getattr(volume, {"bek": "read_startup_key"}.get(name, f"set_{name}"))(value)
    volume.open_file_object(io.BytesIO(image))
    if volume.is_locked():
        return None
    return b"".join(volume.read_buffer_at_offset(_PIECE, at) for at in range(0, volume.get_size(), _PIECE))


@every_sector_size
@every_cipher
def test_libbde_decrypts_every_cipher_to_the_base_image(cipher: Cipher, sector_size: int) -> None:
    volume = made(sector_size, [Password(PASSWORD)], cipher)
    assert decrypted(volume.image, password=PASSWORD) == base(sector_size)


@every_sector_size
def test_volume_stays_locked_without_the_right_key(sector_size: int) -> None:
    volume = made(sector_size, [Password(PASSWORD)])
    assert decrypted(volume.image) is None
    assert decrypted(volume.image, password="another password") is None


def test_recovery_password_opens() -> None:
    volume = made(4096, [RecoveryPassword()])
    (digits,) = volume.recovery_passwords
    assert decrypted(volume.image, recovery_password=digits) == base(4096)


def test_clear_key_opens_without_any_key() -> None:
    assert decrypted(made(4096, [ClearKey()]).image) == base(4096)


@pytest.mark.parametrize("windows_11", [False, True])
def test_startup_key_opens(tmp_path: Path, windows_11: bool) -> None:
    volume = made(4096, [StartupKey(windows_11=windows_11)])
    assert volume.bek is not None
    assert len(volume.bek) == (180 if windows_11 else 156)
    bek = tmp_path / volume.beks[0][0]
    bek.write_bytes(volume.bek)
    assert decrypted(volume.image, bek=str(bek)) == base(4096)


def test_each_of_several_protectors_opens(tmp_path: Path) -> None:
    volume = made(4096, [Password(PASSWORD), RecoveryPassword(), StartupKey()])
    assert volume.bek is not None
    bek = tmp_path / "key.BEK"
    bek.write_bytes(volume.bek)
    keys = ({"password": PASSWORD}, {"recovery_password": volume.recovery_passwords[0]}, {"bek": str(bek)})
    for key in keys:
        assert decrypted(volume.image, **key) == base(4096)


def test_two_recovery_passwords_differ_and_the_first_opens() -> None:
    # libbde tries only the first protector of a kind.
    volume = made(4096, [RecoveryPassword(), RecoveryPassword()])
    first, second = volume.recovery_passwords
    assert first != second
    assert decrypted(volume.image, recovery_password=first) == base(4096)


@pytest.mark.parametrize(
    "password",
    ["pässwörd£€", "e\u0301 decomposed", "パスワード鍵", "🔑🚢 astral", " \"quotes' and blanks ", "x" * 256],
)
def test_password_of_any_text_opens(password: str) -> None:
    volume = made(4096, [Password(password)])
    assert decrypted(volume.image, password=password) == base(4096)


def test_composed_and_decomposed_passwords_are_two() -> None:
    volume = made(4096, [Password("e\u0301")])
    assert decrypted(volume.image, password="é") is None


def test_used_space_only_volume_has_all_files() -> None:
    volume = made(512, [ClearKey()], used_space_only=True)
    plain = decrypted(volume.image)
    assert plain is not None
    assert plain != base(512)
    assert _files(plain, hostile=True) == _files(base(512), hostile=True)


@needs_dislocker
@every_sector_size
@every_cipher
def test_dislocker_decrypts_every_cipher_to_the_base_image(
    tmp_path: Path, cipher: Cipher, sector_size: int
) -> None:
    volume = made(sector_size, [RecoveryPassword()], cipher)
    (digits,) = volume.recovery_passwords
    assert _dislocked(tmp_path, volume.image, f"--recovery-password={digits}") == base(sector_size)


@needs_dislocker
def test_dislocker_opens_by_each_other_protector(tmp_path: Path) -> None:
    volume = made(4096, [Password(PASSWORD), StartupKey()])
    bek = tmp_path / "key.BEK"
    bek.write_bytes(volume.bek or b"")
    assert _dislocked(tmp_path, volume.image, f"--user-password={PASSWORD}") == base(4096)
    assert _dislocked(tmp_path, volume.image, f"--bekfile={bek}") == base(4096)
    assert _dislocked(tmp_path, made(4096, [ClearKey()]).image, "--clearkey") == base(4096)


@pytest.mark.parametrize("name", ["demo", "nasty", "sector4k"])
def test_libfsntfs_finds_every_listed_file_and_stream(name: str) -> None:
    image = base_image(name)
    listed = {(f.names, f.stream): (f.size, f.sha256) for f in image.files}
    found = _files(image.volume, hostile=name == "nasty")
    assert {key: found.get(key) for key in listed} == listed
    # Nothing else is there but what nasty.json names: reparse points, the EFS file.
    apart = {*image.facts.get("reparse", ()), *image.facts.get("encrypted", ())}
    assert {"/".join(names) for names, _ in found.keys() - listed.keys()} <= apart


def test_wof_file_reads_as_what_was_put_in() -> None:
    image = base_image("nasty")
    found = _files(image.volume, hostile=True)
    ((path, wof),) = image.facts["wof"].items()
    assert found[tuple(path.split("/")), ""] == (wof["size"], wof["sha256"])


def test_deleted_files_of_the_nasty_image_are_gone() -> None:
    image = base_image("nasty")
    here = {"/".join(names) for names, _ in _files(image.volume, hostile=True)}
    assert "deleted/stays.txt" in here
    assert not here & set(image.facts["deleted"])


def test_demo_disk_holds_what_its_facts_say(tmp_path: Path) -> None:
    disk = demo_disk(tmp_path / "disk.img")
    assert disk.recovery_key_file is not None
    digits = disk.recovery_key_file.read_text("ascii").strip()
    image = disk.path.read_bytes()[2 << 20 :][: 28 << 20]
    plain = decrypted(image, recovery_password=digits)
    assert plain == base_image("demo").volume
    facts = demo_facts()
    text = _read(plain, facts["manifest_file"])
    assert hashlib.md5(text).hexdigest().upper() == facts["manifest_md5"]
    assert f"<DriveId>{facts['serial']}</DriveId>".encode() in text
    found = {"\\" + "\\".join(names) for names, _ in _files(plain)}
    listed = {blob["file"] for blob in facts["blobs"]}
    assert listed - found == {facts["missing"]["file"]}
    assert set(facts["unlisted"]) <= found - listed
    assert len(found) == facts["counts"]["files_on_volume"]


@pytest.mark.parametrize(
    ("tool", "table"), [("sgdisk", Table.GPT), ("sfdisk", Table.GPT), ("sfdisk", Table.MBR)]
)
def test_partition_tools_find_no_fault(tmp_path: Path, tool: str, table: Table) -> None:
    program = shutil.which(tool)
    if program is None:
        pytest.skip(f"{tool} is not on PATH; the unit tests recompute every CRC")
    disk = make_disk(tmp_path / "disk.img", base="demo", protectors=[ClearKey()], table=table)
    option = "--verify" if tool == "sfdisk" else "-v"
    done = subprocess.run([program, option, str(disk.path)], check=True, text=True, capture_output=True)
    said = (done.stdout + done.stderr).lower()
    assert "no errors detected" in said or "no problems found" in said, said


def _dislocked(folder: Path, image: bytes, key: str) -> bytes:
    assert DISLOCKER is not None
    locked, opened = folder / "locked.img", folder / "opened.img"
    locked.write_bytes(image)
    opened.unlink(missing_ok=True)
    subprocess.run(
        [DISLOCKER, "-r", "-V", str(locked), key, "--", str(opened)], check=True, capture_output=True
    )
    plain = opened.read_bytes()
    opened.unlink()
    return plain


Found = dict[tuple[tuple[str, ...], str], tuple[int, str]]


def _files(volume: bytes, *, hostile: bool = False) -> Found:
    """By libfsntfs: size and SHA-256 of each file and stream, NTFS's own files left out."""
    ntfs = pyfsntfs.volume()
    ntfs.open_file_object(io.BytesIO(volume))
    found: Found = {}
    for names, entry in _walk(ntfs.get_root_directory(), ()):
        if entry.has_default_data_stream():
            found[names, ""] = (entry.size, _sha256(entry))
        for stream in range(entry.number_of_alternate_data_streams):
            data = entry.get_alternate_data_stream(stream)
            found[names, data.name] = (data.size, _sha256(data))
    assert hostile or all(name.isprintable() for names, _ in found for name in names)
    return found


def _walk(entry: Any, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for number in range(entry.number_of_sub_file_entries):
        child = entry.get_sub_file_entry(number)
        # libfsntfs makes strings with surrogates that compare unequal to themselves spelled by Python.
        name = "".join(chr(ord(ch)) for ch in child.name)
        if not names and name.startswith("$"):
            continue
        yield (*names, name), child
        yield from _walk(child, (*names, name))


def _sha256(stream: Any) -> str:
    digest = hashlib.sha256()
    stream.seek(0)
    while piece := stream.read(_PIECE):
        digest.update(piece)
    return digest.hexdigest()


def _read(volume: bytes, path: str) -> bytes:
    ntfs = pyfsntfs.volume()
    ntfs.open_file_object(io.BytesIO(volume))
    entry = ntfs.get_file_entry_by_path(path)
    return bytes(entry.read(entry.size))
