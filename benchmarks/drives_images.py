"""Drives for endurance: any number of files, or one of any size, on a BitLocker volume made in seconds.

Their contents are holes of a sparse image. Nothing asks for holes: what lies there is read, decrypted (to
noise), summed and sent like any other bytes.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.volume_images import CIPHER, PASSWORD, SEED
from fixtures.bitlocker import encrypt_stretches
from fixtures.fve_metadata import BLOCK_BYTES, Layout
from fixtures.fve_protectors import Password
from fixtures.ntfs_made import MadeVolume
from fixtures.ntfs_records import DATA, ROOT, file_name, mapped
from fixtures.synthetic_mft import SyntheticVolume

PER_FOLDER = 200
FILE_BYTES = 3000
CONTENT_CLUSTER = 1 << 23
_CLUSTER_BYTES = 4096
_CONTENT = CONTENT_CLUSTER * _CLUSTER_BYTES
_TABLE_CLUSTER = 64
_HEADER_BYTES = 8192
_BLOCKS = (_CONTENT // 2, _CONTENT // 2 + (1 << 24), _CONTENT // 2 + (1 << 25))
"""BitLocker's own, between the file table and the files."""
_RUNS = 64
_STEP_BYTES = 4 << 20
_RECIPE = "1"
"""Of another number, a kept image is made anew."""
_MAX_RECORDS = _BLOCKS[0] // 1024 - 1024


@dataclass(frozen=True, slots=True)
class Drive:
    """An image, and what is on it."""

    path: Path
    about: str
    files: int
    file_bytes: int


def many_files(folder: Path, files: int) -> Drive:
    """``files`` files of one cluster in directories of about PER_FOLDER; kept for the next run."""
    count = _records_for(files)
    if count > _MAX_RECORDS:
        raise ValueError(f"{files} files do not fit before the place of their contents")
    volume = SyntheticVolume(count, PER_FOLDER, content_cluster=CONTENT_CLUSTER)

    def pieces() -> Iterator[tuple[int, bytes]]:
        for at in range(0, volume.written_bytes, _STEP_BYTES):
            piece = bytearray(min(_STEP_BYTES, volume.written_bytes - at))
            volume.read_into(at, memoryview(piece))
            yield at, bytes(piece)

    about = f"{files:,} files of {FILE_BYTES:,} bytes"
    drive = Drive(folder / f"many-{files}.img", about, files, files * FILE_BYTES)
    return _kept(drive, volume.size_bytes, volume.written_bytes, pieces)


def one_file(folder: Path, size_bytes: int) -> Drive:
    """One file, in pieces that follow each other; kept for the next run."""
    clusters = size_bytes // _CLUSTER_BYTES
    if not size_bytes or size_bytes % (_CLUSTER_BYTES * _RUNS):
        raise ValueError(f"{size_bytes} bytes are not {_RUNS} runs of whole clusters")
    step = clusters // _RUNS
    made = MadeVolume(mft=((_TABLE_CLUSTER, 16),), total_clusters=_TABLE_CLUSTER + 16)
    runs = [(CONTENT_CLUSTER + number * step, step) for number in range(_RUNS)]
    made.add(24, file_name(ROOT, "large.bin"), mapped(DATA, runs, size_bytes))
    volume_bytes = _CONTENT + size_bytes + _CLUSTER_BYTES
    table = bytearray(made.build())
    # It was built as a smaller volume than it is.
    table[40:48] = (volume_bytes // made.sector_bytes - 1).to_bytes(8, "little")
    drive = Drive(
        folder / f"one-{size_bytes >> 20}.img", f"one file of {size_bytes >> 20:,} MiB", 1, size_bytes
    )
    return _kept(drive, volume_bytes, len(table), lambda: iter([(0, bytes(table))]))


def default_work() -> Path:
    """Where images are kept for the next run."""
    return Path(tempfile.gettempdir()) / f"ingest-bench-drives-{os.getuid()}"


def _records_for(files: int) -> int:
    """So many records, every PER_FOLDER-th a directory, hold ``files`` files."""
    full, rest = divmod(files, PER_FOLDER - 1)
    return full * PER_FOLDER + (rest + 1 if rest else 0)


def _kept(
    drive: Drive, volume_bytes: int, written_bytes: int, pieces: Callable[[], Iterator[tuple[int, bytes]]]
) -> Drive:
    """The card beside an image is written last, so a half-made one is made anew."""
    path, card = drive.path, drive.path.with_name(f"{drive.path.name}.made")
    if path.exists() and card.exists() and card.read_text("utf-8") == _RECIPE:
        return drive
    print(f"making {path}: {drive.about} ...", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    card.unlink(missing_ok=True)
    with path.open("w+b") as image:
        for at, piece in pieces():
            image.seek(at)
            image.write(piece)
        image.truncate(volume_bytes)
        image.flush()
        with mmap.mmap(image.fileno(), 0) as volume:
            _encrypt(volume, written_bytes)
    card.write_text(_RECIPE, "utf-8")
    return drive


def _encrypt(volume: mmap.mmap, written_bytes: int) -> None:
    layout = Layout(
        volume_size=len(volume),
        sector_size=512,
        sectors_per_cluster=_CLUSTER_BYTES // 512,
        block_offsets=_BLOCKS,
        header_offset=_BLOCKS[0] + BLOCK_BYTES,
        header_size=_HEADER_BYTES,
    )
    stretches = [(0, written_bytes)]
    encrypt_stretches(volume, layout, stretches, cipher=CIPHER, protectors=[Password(PASSWORD)], seed=SEED)
