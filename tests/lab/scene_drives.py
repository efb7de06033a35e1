"""The drives of the scenes: images that ``fixtures`` makes, and what is known to be on them.

All are BitLocker over NTFS in a GPT. The customer's is opened by a recovery password, of which the
emulated processor of the guest makes a key in half a minute; the others by a startup key, at once. What is
on them is known from the bytes that were written, never from a reader.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fixtures.bitlocker import HEADER_BYTES, encrypt_stretches
from fixtures.content import Content
from fixtures.disk import make_disk
from fixtures.fve_ciphers import Cipher
from fixtures.fve_metadata import BLOCK_BYTES, Layout
from fixtures.fve_protectors import StartupKey
from fixtures.gpt import DATA_OFFSET_BYTES, wrap_gpt
from fixtures.images import base_image
from fixtures.ntfs_made import MadeVolume
from fixtures.ntfs_records import (
    DATA,
    DIRECTORY,
    IN_USE,
    ROOT,
    file_name,
    index_root,
    mapped,
    name_value,
    reference,
)
from fixtures.ntfs_records import information as times
from fixtures.ntfs_records import record as mft_record
from tests.lab.scene_station import DISK_BYTES

SEED: Final = 20240401
_CLUSTER: Final = 4096
_VOLUME_BYTES: Final = DISK_BYTES - DATA_OFFSET_BYTES - (1 << 20)
_FIRST_FILE: Final = 26
_FIRST_CLUSTER: Final = 64
_RESERVED_CLUSTERS: Final = 64
"""What BitLocker's three blocks and the moved header take lies behind all files."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A file of a made volume: its bytes, and where on the disk they lie, in one piece."""

    content: bytes = field(repr=False)
    disk_offset: int

    def sector(self, offset: int) -> int:
        """The sector of the disk that holds byte ``offset`` of the file."""
        return (self.disk_offset + offset) // 512


@dataclass(frozen=True, slots=True)
class Cargo:
    """A disk image, what opens it (as in a key file), and the SHA-256 of each of its files by path."""

    image: Path
    key: bytes = field(repr=False)
    files: Mapping[str, str] = field(repr=False)
    size_bytes: int
    """Of all files together."""
    places: Mapping[str, Placed] = field(default_factory=dict, repr=False)


FILMS: Final = {
    "films/harbour.mp4": 20 << 20,
    "films/cranes.mp4": 16 << 20,
    "films/tide.mp4": (10 << 20) + 123,
}
NOTES: Final = {f"notes/note {number}.txt": 300 + 1700 * number for number in range(1, 6)}


def long_drive(folder: Path) -> Cargo:
    """Three films in blocks of several megabytes, and five notes: long enough to be interrupted."""
    return _made(folder / "long.img", FILMS | NOTES, seed=SEED)


def small_drive(folder: Path) -> Cargo:
    """Five notes: as much as it takes to see that a drive was ingested."""
    return _made(folder / "small.img", NOTES, seed=SEED + 1)


def customers_drive(folder: Path) -> Cargo:
    """That of ``make demo``: a tree as a customer has it, written by ntfs-3g."""
    made = make_disk(folder / "customer.img", base="demo")
    assert made.volume is not None
    files = {
        "/".join(one.names): one
        for one in base_image("demo").files
        if one.names[0] != "System Volume Information"
    }
    return Cargo(
        image=made.path,
        key=made.volume.recovery_passwords[0].encode(),
        files={path: one.sha256 for path, one in files.items()},
        size_bytes=sum(one.size for one in files.values()),
    )


def other_key(folder: Path) -> bytes:
    """A recovery password that is one, and of another drive."""
    made = make_disk(folder / "other.img", base="sector4k", seed=SEED + 2)
    made.path.unlink()
    assert made.volume is not None
    return made.volume.recovery_passwords[0].encode()


def _made(image: Path, sizes: Mapping[str, int], *, seed: int) -> Cargo:
    content = Content(seed)
    files = {path: content.tiles(path, size) for path, size in sizes.items()}
    volume, clusters = _volume(files)
    raw = bytearray(volume.build())
    layout = _layout()
    # Every byte of the volume is encrypted, as Windows does with a drive that had been in use.
    made = encrypt_stretches(
        raw,
        layout,
        [(0, len(raw))],
        cipher=Cipher.AES_XTS_128,
        protectors=(StartupKey(),),
        seed=seed,
    )
    image.write_bytes(wrap_gpt(bytes(raw), seed=seed))
    places = {
        path: Placed(files[path], DATA_OFFSET_BYTES + cluster * _CLUSTER)
        for path, cluster in clusters.items()
    }
    assert made.bek is not None
    return Cargo(
        image=image,
        key=made.bek,
        files={path: hashlib.sha256(data).hexdigest() for path, data in files.items()},
        size_bytes=sum(map(len, files.values())),
        places=places,
    )


def _layout() -> Layout:
    """The metadata in the last clusters but one, which no file has."""
    end = _VOLUME_BYTES - _CLUSTER
    third, second, header = end - BLOCK_BYTES, end - 2 * BLOCK_BYTES, end - 2 * BLOCK_BYTES - HEADER_BYTES
    return Layout(
        volume_size=_VOLUME_BYTES,
        sector_size=512,
        sectors_per_cluster=_CLUSTER // 512,
        block_offsets=(header - BLOCK_BYTES, second, third),
        header_offset=header,
        header_size=HEADER_BYTES,
    )


def _volume(files: Mapping[str, bytes]) -> tuple[MadeVolume, dict[str, int]]:
    """A volume with these files, each in a folder of the root; and the first cluster of each."""
    volume = MadeVolume(total_clusters=_VOLUME_BYTES // _CLUSTER)
    places: dict[str, int] = {}
    next_cluster, number = _FIRST_CLUSTER, _FIRST_FILE
    folders = sorted({path.split("/")[0] for path in files})
    entries: dict[str, list[tuple[int, bytes]]] = {folder: [] for folder in folders}
    numbers = {folder: 24 + at for at, folder in enumerate(folders)}
    for path, data in sorted(files.items()):
        folder, name = path.split("/")
        parent = reference(numbers[folder])
        clusters = -(-len(data) // _CLUSTER)
        volume.add(number, file_name(parent, name), mapped(DATA, [(next_cluster, clusters)], len(data)))
        volume.clusters[next_cluster] = data
        entries[folder].append((reference(number), name_value(parent, name)))
        places[path] = next_cluster
        next_cluster, number = next_cluster + clusters, number + 1
    assert next_cluster + _RESERVED_CLUSTERS <= volume.total_clusters
    for folder in folders:
        attributes = [times(0x10), file_name(ROOT, folder), index_root(entries[folder])]
        volume.records[numbers[folder]] = mft_record(numbers[folder], attributes, flags=IN_USE | DIRECTORY)
    volume.index = [(reference(numbers[folder]), name_value(ROOT, folder)) for folder in folders]
    return volume, places
