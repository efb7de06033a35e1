"""What the transfer benchmark carries: the same files as plain files, on an NTFS volume, in BitLocker.

All of it lies in memory (a tmpfs), is made once and kept for the next run. The volume opens by a startup
key, so that no party stretches a password.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.volume_images import MADE_WITH, NoImage
from fixtures.bitlocker import make_volume
from fixtures.content import Content
from fixtures.fve_ciphers import Cipher
from fixtures.fve_protectors import StartupKey
from fixtures.ntfs_mount import format_volume, mounted

CIPHER = Cipher.AES_XTS_128
SEED = 7
FILES_PER_FOLDER = 200
SMALL_FILE_BYTES = 64 << 10
"""Up to here files a second are what counts."""
_STEP_BYTES = 8 << 20
_COPY_BYTES = 1 << 20
_BALLASTS, _BALLAST_BYTES = 16, 128 << 10
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Workload:
    """``files`` files of one size. ``key`` is its short name."""

    key: str
    files: int
    file_bytes: int

    @property
    def total_bytes(self) -> int:
        """Of all files."""
        return self.files * self.file_bytes

    @property
    def title(self) -> str:
        """As a person says it."""
        size = f"{self.file_bytes >> 20:,} MiB" if self.file_bytes >= _MIB else f"{self.file_bytes >> 10} KiB"
        return f"{self.files:,} x {size}"

    def names(self) -> Iterator[str]:
        """Paths of the files, with forward slashes."""
        for number in range(self.files):
            yield f"folder {number // FILES_PER_FOLDER:03}/file {number:06}.bin"


NOTHING = Workload("nothing", 1, 0)
"""One empty file: what a party costs before it carries anything."""


@dataclass(frozen=True, slots=True)
class Material:
    """One workload, three ways: a folder of plain files, an NTFS volume, and that volume in BitLocker."""

    workload: Workload
    folder: Path
    plain: Path
    bitlocker: Path
    startup_key: Path


def material(cache: Path, workload: Workload) -> Material:
    """What lies in ``cache``, or is made there now, which takes root. Raises NoImage."""
    home = cache / f"{workload.key}-{workload.files}x{workload.file_bytes}"
    made = Material(
        workload, home / "files", home / "volume.img", home / "bitlocker.img", home / "startup.BEK"
    )
    card = home / "made.json"
    recipe = json.dumps({"seed": SEED, "cipher": CIPHER.value})
    if card.exists() and card.read_text("utf-8") == recipe:
        return made
    shutil.rmtree(home, ignore_errors=True)
    _must_be_makeable(cache, _volume_bytes(workload) * 4)
    home.mkdir(parents=True)
    print(f"making {home}: {workload.title} ...", flush=True)
    _write_files(made)
    _fill_volume(made)
    _encrypt(made)
    card.write_text(recipe, "utf-8")
    return made


def _must_be_makeable(cache: Path, needed: int) -> None:
    absent = [name for name in MADE_WITH if shutil.which(name) is None]
    if absent:
        raise NoImage(f"images must be made, and there is no {' and no '.join(absent)}: install ntfs-3g")
    if os.geteuid() != 0:
        raise NoImage("images must be made, which takes root (ntfs-3g on a loop device)")
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free
    if free < needed:
        raise NoImage(f"{cache} has {free >> 20} MiB and {needed >> 20} are needed; choose another --work")


def _write_files(made: Material) -> None:
    content = Content(SEED)
    for name in made.workload.names():
        path = made.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for at in range(0, made.workload.file_bytes, _STEP_BYTES):
                size = min(_STEP_BYTES, made.workload.file_bytes - at)
                file.write(content.tiles(f"{name} from {at}", size))


def _volume_bytes(workload: Workload) -> int:
    """Room for clusters, a record and a name of each file, and a little."""
    clusters = -(-workload.file_bytes // 4096) * 4096
    return (workload.files * (clusters + 1280)) * 33 // 32 + 48 * _MIB & -_MIB


def _fill_volume(made: Material) -> None:
    """Made on a disk and copied: not every kernel writes to a loop device over a tmpfs."""
    with tempfile.TemporaryDirectory() as folder:
        volume = Path(folder) / made.plain.name
        format_volume(volume, _volume_bytes(made.workload), "TRANSFER")
        with mounted(volume) as root:
            _copy_files(made, Path(os.fsdecode(root)))
        shutil.copyfile(volume, made.plain)


def _copy_files(made: Material, root: Path) -> None:
    """Zeros are laid between them and removed at the end: BitLocker's metadata needs such places."""
    ballasts: list[Path] = []
    for folder in sorted(made.folder.iterdir()):
        (root / folder.name).mkdir()
    done, step = 0, max(_COPY_BYTES, made.workload.total_bytes // _BALLASTS)
    for name in made.workload.names():
        with (made.folder / name).open("rb") as source, (root / name).open("wb", buffering=0) as copy:
            while part := source.read(_COPY_BYTES):
                if done >= len(ballasts) * step:
                    ballasts.append(root / f"ballast {len(ballasts)}")
                    ballasts[-1].write_bytes(bytes(_BALLAST_BYTES))
                copy.write(part)
                done += len(part)
    for path in ballasts:
        path.unlink()


def _encrypt(made: Material) -> None:
    volume = make_volume(made.plain.read_bytes(), cipher=CIPHER, protectors=[StartupKey()], seed=SEED)
    made.bitlocker.write_bytes(volume.image)
    assert volume.bek is not None
    made.startup_key.write_bytes(volume.bek)
