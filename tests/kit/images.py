"""The committed images, unpacked, and what is known of them."""

from __future__ import annotations

import json
import lzma
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote

IMAGES = Path(__file__).parents[2] / "fixtures" / "images"


def unpack(name: str, folder: Path) -> Path:
    """A bare NTFS volume as a file in ``folder``."""
    image = folder / f"{name}.img"
    with lzma.open(IMAGES / f"{name}.img.xz") as packed, image.open("wb") as file:
        shutil.copyfileobj(packed, file)
    return image


def facts() -> Any:
    """What is true of the demo drive."""
    return json.loads((IMAGES / "demo.json").read_text("utf-8"))


def hashes(name: str) -> dict[str, tuple[str, int]]:
    """Path (forward slashes, streams as file:stream) to SHA-256 and size, as they were on the source."""
    found = {}
    for line in (IMAGES / f"{name}.sha256").read_text("utf-8", "surrogateescape").splitlines():
        digest, size, path = line.split("  ", 2)
        found[unquote(path, errors="surrogatepass")] = (digest, int(size))
    return found
