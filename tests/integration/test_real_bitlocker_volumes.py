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
from agent.volume.bitlocker import check_boot_sector_not_lost, is_bitlocker, read_metadata, unlock
from agent.volume.block import BlockSource, FdSource
from tests.kit.volume_command import BITLOCKER, SHARED, needs_bitlocker

pytestmark = needs_bitlocker

WINDOW_BYTES = 1024 * 1024


def conf() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    if BITLOCKER.is_file():
        parser.read(BITLOCKER, encoding="utf-8")
    return parser


VOLUMES = conf()
READABLE = [name for name in VOLUMES.sections() if VOLUMES[name].get("SHA256SUM")]
REFUSED = [name for name in VOLUMES.sections() if not VOLUMES[name].get("SHA256SUM")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("bitlocker")
    with tarfile.open(SHARED / "bitlk-images.tar.xz") as archive:
        archive.extractall(target, filter="data")
    return target / "bitlk-images"


@contextmanager
def source_of(path: Path) -> Iterator[FdSource]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield FdSource(fd, path.stat().st_size)
    finally:
        os.close(fd)


def offered(name: str) -> list[str]:
    """The keys of a volume, as the configuration calls them."""
    return [key for key in ("PW", "RP", "RP2", "SK_VMK_GUID", "CLEARKEY_VMK_GUID") if VOLUMES[name].get(key)]


CREDENTIALS = [(name, key) for name in READABLE for key in offered(name)]


def credential(folder: Path, name: str, key: str) -> Credential:
    told = VOLUMES[name][key]
    match key:
        case "PW":
            return Password(Secret(told))
        case "SK_VMK_GUID":
            return StartupKey.from_bytes((folder / f"{told.upper()}.BEK").read_bytes())
        case "CLEARKEY_VMK_GUID":
            return ClearKey()
        case _:
            return RecoveryPassword.parse(told)


def test_all_published_credentials_are_among_those_tried() -> None:
    assert len(CREDENTIALS) == 37


@pytest.mark.parametrize(("name", "key"), CREDENTIALS)
def test_every_credential_opens_the_volume_that_windows_wrote(folder: Path, name: str, key: str) -> None:
    with source_of(folder / f"{name}.img") as source:
        metadata = read_metadata(source)
        assert str(metadata.volume_guid) == VOLUMES[name]["GUID"]
        volume = unlock(source, metadata, credential(folder, name, key))
        digest, buffer = hashlib.sha256(), memoryview(bytearray(WINDOW_BYTES))
        for offset in range(0, volume.size_bytes, WINDOW_BYTES):
            part = buffer[: min(WINDOW_BYTES, volume.size_bytes - offset)]
            volume.read_into(offset, part)
            digest.update(part)
        assert digest.hexdigest() == VOLUMES[name]["SHA256SUM"]


@pytest.mark.parametrize("name", REFUSED)
def test_a_volume_whose_encryption_is_not_finished_is_refused(folder: Path, name: str) -> None:
    with source_of(folder / f"{name}.img") as source:
        metadata = read_metadata(source)
        assert metadata.state == "encryption not finished"
        assert offered(name)
        for key in offered(name):
            with pytest.raises(BitLockerFailed, match=r"encryption not finished: .*encrypt-on-write"):
                unlock(source, metadata, credential(folder, name, key))


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
        smart_card = f"smart card {VOLUMES['bitlk-aes-xts-128-smart-card']['SC_VMK_GUID']}"
        with pytest.raises(BitLockerProtectorNotFound, match=f"it has recovery password .*, {smart_card}"):
            unlock(source, metadata, Password(Secret("x")))


class WithoutFirstSector:
    """A volume whose first sector was wiped."""

    def __init__(self, inner: BlockSource) -> None:
        self._inner = inner
        self.size_bytes = inner.size_bytes
        self.sector_size = inner.sector_size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self._inner.read_into(offset, buffer)
        wiped = max(0, 512 - offset)
        buffer[:wiped] = bytes(len(buffer[:wiped]))


@pytest.mark.parametrize("name", VOLUMES.sections())
def test_a_volume_of_windows_without_its_first_sector_is_recognised(folder: Path, name: str) -> None:
    with source_of(folder / f"{name}.img") as source:
        wiped = WithoutFirstSector(source)
        assert not is_bitlocker(wiped)
        metadata = read_metadata(source)
        place = metadata.metadata_offsets[metadata.copy_used - 1]
        with pytest.raises(BitLockerFailed, match=f"first sector is damaged: .* at byte {place},"):
            check_boot_sector_not_lost(wiped)
