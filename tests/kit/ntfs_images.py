"""NTFS volumes to read: the fixtures, and disks made by Windows in the folder ``shared`` beside the checkout.

More may be named in NTFS_TEST_IMAGES (a folder of ``*.img``).
"""

from __future__ import annotations

import lzma
import os
from functools import lru_cache
from pathlib import Path

import pytest

from tests.kit.images import IMAGES

MADE_BY_WINDOWS = IMAGES.parents[2] / "shared" / "images" / "ntfs"
_PARTITION_START = 65536
"""Where the volume begins on the disks made by Windows."""


def image_files(most_packed_bytes: int | None = None) -> list[Path]:
    """Not all are bare NTFS; disks made by Windows that take more than ``most_packed_bytes`` are left out."""
    windows = sorted(MADE_BY_WINDOWS.glob("*.raw.xz"))
    small = [
        path for path in windows if most_packed_bytes is None or path.stat().st_size <= most_packed_bytes
    ]
    found = [*sorted(IMAGES.glob("*.img.xz")), *small]
    if "NTFS_TEST_IMAGES" in os.environ:
        found += sorted(Path(os.environ["NTFS_TEST_IMAGES"]).glob("*.img"))
    return found


@lru_cache(maxsize=1)
def volume_bytes(path: Path) -> bytes:
    """What stands where the volume is."""
    data = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
    return data[_PARTITION_START:] if path.name.endswith(".raw.xz") else data


def bare_ntfs(path: Path) -> bytes:
    """The volume; of an image that is something else the test is skipped."""
    data = volume_bytes(path)
    if data[3:11] != b"NTFS    ":
        pytest.skip(f"{path.name} is not bare NTFS")
    return data
