"""Volumes made by Windows, with the SHA-256 of each as Windows would show it (see shared/images)."""

from __future__ import annotations

import configparser
import hashlib
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.errors import BitLockerFailed, BitLockerKeyInvalid, BitLockerProtectorNotFound
from agent.model.keys import ClearKey, Credential, Password, RecoveryPassword, StartupKey
from agent.model.secrets import Secret
from agent.volume.bitlocker import read_metadata, unlock
from agent.volume.block import FdSource, read

IMAGES = Path(__file__).parents[2] / "../shared/images"
CONF = IMAGES / "bitlk-images.conf"
pytestmark = pytest.mark.skipif(not CONF.is_file(), reason="no real BitLocker volumes beside the checkout")

WINDOW_BYTES = 1024 * 1024
START_BYTES = 4 * 1024 * 1024


def conf() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    if CONF.is_file():
        parser.read(CONF, encoding="utf-8")
    return parser


VOLUMES = conf()
READABLE = [name for name in VOLUMES.sections() if VOLUMES[name].get("SHA256SUM")]
REFUSED = [name for name in VOLUMES.sections() if not VOLUMES[name].get("SHA256SUM")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("bitlocker")
    with tarfile.open(IMAGES / "bitlk-images.tar.xz") as archive:
        archive.extractall(target, filter="data")
    return target / "bitlk-images"


@contextmanager
def source_of(path: Path) -> Iterator[FdSource]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield FdSource(fd, path.stat().st_size)
    finally:
        os.close(fd)


def credentials(folder: Path, name: str) -> list[Credential]:
    told = VOLUMES[name]
    found: list[Credential] = []
    if told.get("PW"):
        found.append(Password(Secret(told["PW"])))
    found += [RecoveryPassword.parse(told[key]) for key in ("RP", "RP2") if told.get(key)]
    if told.get("SK_VMK_GUID"):
        found.append(StartupKey.from_bytes((folder / f"{told['SK_VMK_GUID'].upper()}.BEK").read_bytes()))
    if told.get("CLEARKEY_VMK_GUID"):
        found.append(ClearKey())
    return found


@pytest.mark.parametrize("name", READABLE)
def test_every_credential_opens_the_volume_that_windows_wrote(folder: Path, name: str) -> None:
    with source_of(folder / f"{name}.img") as source:
        metadata = read_metadata(source)
        assert str(metadata.volume_guid) == VOLUMES[name]["GUID"]
        keys = credentials(folder, name)
        assert keys
        volume = unlock(source, metadata, keys[0])
        digest, buffer = hashlib.sha256(), memoryview(bytearray(WINDOW_BYTES))
        for offset in range(0, volume.size_bytes, WINDOW_BYTES):
            part = buffer[: min(WINDOW_BYTES, volume.size_bytes - offset)]
            volume.read_into(offset, part)
            digest.update(part)
        assert digest.hexdigest() == VOLUMES[name]["SHA256SUM"]
        start = read(volume, 0, START_BYTES)
        for key in keys[1:]:
            assert read(unlock(source, metadata, key), 0, START_BYTES) == start


@pytest.mark.parametrize("name", REFUSED)
def test_a_volume_whose_encryption_is_not_finished_is_refused(folder: Path, name: str) -> None:
    with source_of(folder / f"{name}.img") as source:
        metadata = read_metadata(source)
        assert metadata.state == "encryption not finished"
        for key in credentials(folder, name):
            with pytest.raises(BitLockerFailed, match="encryption not finished"):
                unlock(source, metadata, key)


def test_a_volume_with_two_bad_metadata_copies_says_which_and_why(folder: Path) -> None:
    with source_of(folder / "bitlk-aes-xts-128-crc.img") as source:
        metadata = read_metadata(source)
    assert metadata.copy_used == 3
    assert ["check sum" in problem for problem in metadata.copy_problems] == [True, True]


def test_the_password_of_another_drive_opens_nothing(folder: Path) -> None:
    with source_of(folder / "bitlk-aes-xts-128.img") as source:
        metadata = read_metadata(source)
        other = RecoveryPassword.parse(VOLUMES["bitlk-aes-cbc-128"]["RP"])
        with pytest.raises(BitLockerKeyInvalid, match="recovery password"):
            unlock(source, metadata, other)


def test_a_smart_card_volume_names_its_protectors_to_a_password(folder: Path) -> None:
    with source_of(folder / "bitlk-aes-xts-128-smart-card.img") as source:
        metadata = read_metadata(source)
        with pytest.raises(BitLockerProtectorNotFound, match="it has recovery password, smart card"):
            unlock(source, metadata, Password(Secret("x")))
