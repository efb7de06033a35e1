"""The BitLocker images of the benchmark: made by ``fixtures`` once, and kept for the next run."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fixtures.bitlocker import encrypt
from fixtures.fve_ciphers import Cipher
from fixtures.fve_protectors import Password
from fixtures.ntfs_many import Listing, make_large_files, make_many_files

PASSWORD = "benchmark, and no secret"
SEED = 5
MEAN_BYTES = 18_000
FILES_PER_FOLDER = 200
CIPHER = Cipher.AES_XTS_128
MADE_WITH = ("mkntfs", "ntfs-3g", "losetup")
_READ_BYTES = 1 << 20


class NoImage(Exception):
    """An image is not there and cannot be made; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Image:
    """A bare BitLocker volume, and what a right reader finds in it, known from before it was encrypted.

    ``listing`` is ``listing_digest`` of its files, ``plain_sha256`` that of the decrypted volume.
    """

    path: Path
    about: str
    files: int
    file_bytes: int
    volume_bytes: int
    listing: str
    plain_sha256: str
    password: str = field(default=PASSWORD, repr=False)


def small_files(work: Path, files: int) -> Image:
    """``files`` files of 18 kB on average, in folders of 200, not in the order of their names."""
    folders = max(1, files // FILES_PER_FOLDER)
    about = f"{files:,} files of {MEAN_BYTES:,} bytes on average in {folders} folders"

    def make(path: Path) -> Listing:
        return make_many_files(path, files=files, folders=folders, seed=SEED, mean_bytes=MEAN_BYTES)

    return _kept(work / f"small-{files}.img", about, make, files * MEAN_BYTES)


def large_files(work: Path, total_mib: int) -> Image:
    """Six files of ``total_mib`` in all: two in one piece, four in pieces of 4 MiB."""
    about = f"6 files of {total_mib:,} MiB in all, four of them in pieces of 4 MiB"

    def make(path: Path) -> Listing:
        return make_large_files(path, total_bytes=total_mib << 20, seed=SEED)

    return _kept(work / f"large-{total_mib}.img", about, make, total_mib << 20)


def listing_digest(found: Iterable[tuple[str, str]]) -> str:
    """One SHA-256 over (path, SHA-256) of all files, in whatever order they come."""
    digest = hashlib.sha256()
    for path, sha256 in sorted(found):
        digest.update(f"{sha256}  {path}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _kept(path: Path, about: str, make: Callable[[Path], Listing], file_bytes: int) -> Image:
    """What is known of an image stands beside it and is written last, so a half-made one is made anew."""
    card = path.with_name(f"{path.name}.json")
    about = f"{about}; {CIPHER.value}, 512-byte sectors"
    if path.exists() and card.exists():
        known = json.loads(card.read_text("utf-8"))
        if known.pop("recipe") == _recipe(about):
            return Image(path=path, **known)
    _must_be_makeable(path, file_bytes)
    card.unlink(missing_ok=True)
    print(f"making {path}: {about} ...", flush=True)
    image = _make(path, about, make)
    known = {key: value for key, value in asdict(image).items() if key not in ("path", "password")}
    card.write_text(json.dumps({"recipe": _recipe(about), **known}, indent=1) + "\n", "utf-8")
    return image


def _recipe(about: str) -> str:
    return f"{about}; seed {SEED}, password {PASSWORD!r}"


def _make(path: Path, about: str, make: Callable[[Path], Listing]) -> Image:
    listed = make(path)
    with path.open("rb") as file:
        plain_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    with path.open("r+b") as image, mmap.mmap(image.fileno(), 0) as volume:
        encrypt(volume, cipher=CIPHER, protectors=[Password(PASSWORD)], seed=SEED)
    return Image(
        path=path,
        about=about,
        files=len(listed),
        file_bytes=sum(each.size for each in listed),
        volume_bytes=path.stat().st_size,
        listing=listing_digest((each.path, each.sha256) for each in listed),
        plain_sha256=plain_sha256,
    )


def _must_be_makeable(path: Path, file_bytes: int) -> None:
    absent = [name for name in MADE_WITH if shutil.which(name) is None]
    if absent:
        raise NoImage(
            f"{path} must be made first, and there is no {' and no '.join(absent)}: install ntfs-3g"
        )
    if os.geteuid() != 0:
        raise NoImage(f"{path} must be made first, which takes root (ntfs-3g on a loop device)")
    path.parent.mkdir(parents=True, exist_ok=True)
    needed = file_bytes + file_bytes // 2
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise NoImage(
            f"{path} needs {needed >> 20} MiB and {path.parent} has {free >> 20}; choose another --work"
        )


def forget(path: Path) -> None:
    """Drop an image from the page cache, and nothing else of this machine."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def remember(path: Path) -> None:
    """Bring an image into the page cache."""
    with path.open("rb", buffering=0) as file:
        buffer = bytearray(_READ_BYTES)
        while file.readinto(buffer):
            pass
