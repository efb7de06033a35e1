"""The images that are mutated, by name. Each is the same bytes on every machine.

A base is never changed, for findings are kept as differences to it: ``DIGESTS`` says what each is.
Another shape is another name.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from uuid import UUID

from agent.model.keys import ClearKey, Credential, StartupKey
from fixtures import fve_protectors
from fixtures.bitlocker import MadeVolume
from fixtures.bitlocker import make_volume as encrypt
from fixtures.fve_ciphers import Cipher
from fixtures.gpt import DATA_OFFSET_BYTES, MBR_OFFSET_BYTES, wrap_gpt, wrap_mbr
from fixtures.images import base_image
from tests.fuzz.maker.attacks import ATTACKS, size_of
from tests.fuzz.maker.clusters import Shape
from tests.fuzz.maker.files import make_volume
from tests.fuzz.maker.tables import LOGICAL_OFFSET_BYTES, wrap_logical

_SEED = 1


@dataclass(frozen=True, slots=True)
class Base:
    """A drive in its layers. ``volume`` begins at ``offset`` of ``disk``; ``ntfs`` is what it is in plain.

    ``made`` has the keys where the volume is encrypted; ``files`` is what a reader must find on it.
    """

    name: str
    ntfs: bytes = field(repr=False)
    disk: bytes = field(repr=False)
    offset: int = 0
    sector_size: int = 512
    made: MadeVolume | None = field(default=None, repr=False)
    credential: Credential | None = field(default=None, repr=False)
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    size_bytes: int = 0
    """Of the drive; behind what ``disk`` holds of it there are zeros."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "size_bytes", self.size_bytes or len(self.disk))

    @property
    def volume(self) -> bytes:
        """As it lies on the disk: encrypted, if it is."""
        return self.made.image if self.made else self.ntfs


@cache
def base(name: str) -> Base:
    """Raises KeyError for an unknown name."""
    return _BASES[name](name)


def digest(name: str) -> str:
    """SHA-256 of the base's disk."""
    return hashlib.sha256(base(name).disk).hexdigest()


_SHAPES = {
    "plain": Shape(),
    "sectors-4k": Shape(sector_size=4096, record_size=4096),
    "small-clusters": Shape(cluster_size=512, is_scattered=True),
    "scattered": Shape(is_scattered=True),
    "big-clusters": Shape(size_bytes=8 << 20, cluster_size=65536),
    # $MFT is longer than one read of a scan, and all directories stand in the last part of it.
    "deep": Shape(
        size_bytes=7 << 20, sector_size=4096, record_size=4096, records=1192, first_directory=1092, depth=60
    ),
}


def _plain(name: str) -> Base:
    shape = _SHAPES[name]
    ntfs, files = make_volume(shape)
    return Base(name, ntfs, ntfs, sector_size=shape.sector_size, files=files)


def _in_table(inner: str, wrap: Callable[[bytes, int], bytes], offset: int) -> Callable[[str], Base]:
    def make(name: str) -> Base:
        held = base(inner)
        disk = wrap(held.volume, held.sector_size)
        return replace(held, name=name, disk=disk, offset=offset, size_bytes=len(disk))

    return make


def _gpt(volume: bytes, sector_size: int) -> bytes:
    return wrap_gpt(volume, seed=_SEED, sector_size=sector_size)


def _mbr(volume: bytes, sector_size: int) -> bytes:
    return wrap_mbr(volume, seed=_SEED, sector_size=sector_size)


def _encrypted(inner: str, cipher: Cipher, *, key: str | None = "clear") -> Callable[[str], Base]:
    """``key`` is what is tried: the clear key, the key of a ``file``, or none, which opens it too."""

    def make(name: str) -> Base:
        held = base(inner)
        protectors = (fve_protectors.ClearKey(), fve_protectors.StartupKey(windows_11=True))
        made = encrypt(
            held.ntfs, cipher=cipher, protectors=protectors, seed=_SEED, sector_size=held.sector_size
        )
        assert made.bek is not None
        credential = {"clear": ClearKey(), "file": StartupKey.from_bytes(made.bek), None: None}[key]
        return Base(name, held.ntfs, made.image, 0, held.sector_size, made, credential, held.files)

    return make


def _to_go(name: str) -> Base:
    """The boot sector of a removable drive: its signature is FAT's, its GUID stands further back."""
    held = base("xts")
    assert held.made is not None
    boot = bytearray(held.disk[:512])
    boot[3:11] = b"MSWIN4.1"
    boot[424:440] = UUID("4967d63b-2e29-4ad8-8399-f6a339e3d001").bytes_le
    struct.pack_into("<3Q", boot, 440, *held.made.layout.block_offsets)
    disk = bytes(boot) + held.disk[512:]
    made = replace(held.made, image=disk)
    return Base(name, held.ntfs, disk, 0, held.sector_size, made, held.credential, held.files)


def _committed(image: str, sector_size: int = 512) -> Callable[[str], Base]:
    def make(name: str) -> Base:
        ntfs = base_image(image).volume
        return Base(name, ntfs, ntfs, sector_size=sector_size)

    return make


def _attack(name: str) -> Base:
    data = ATTACKS[name]()
    return Base(name, data, data, size_bytes=size_of(data))


_BASES: dict[str, Callable[[str], Base]] = {
    **dict.fromkeys(_SHAPES, _plain),
    "gpt": _in_table("plain", _gpt, DATA_OFFSET_BYTES),
    "gpt-4k": _in_table("sectors-4k", _gpt, DATA_OFFSET_BYTES),
    "mbr": _in_table("plain", _mbr, MBR_OFFSET_BYTES),
    "logical": _in_table("plain", wrap_logical, LOGICAL_OFFSET_BYTES),
    "xts": _encrypted("plain", Cipher.AES_XTS_128, key=None),
    "cbc-by-file": _encrypted("plain", Cipher.AES_CBC_256, key="file"),
    "elephant-4k": _encrypted("sectors-4k", Cipher.AES_CBC_128_ELEPHANT),
    "to-go": _to_go,
    "gpt-xts": _in_table("xts", _gpt, DATA_OFFSET_BYTES),
    "nasty": _committed("nasty"),
    "sector4k": _committed("sector4k", 4096),
}

NAMES = tuple(_BASES)

_BASES |= dict.fromkeys(ATTACKS, _attack)
