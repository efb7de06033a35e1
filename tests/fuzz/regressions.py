"""What was ever found, kept as small files: a base's name and the bytes that differ from it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import verdict
from tests.fuzz.bases import digest
from tests.fuzz.image import Image
from tests.fuzz.verdict import Finding

FOLDER = Path(__file__).parent / "regressions"


@dataclass(frozen=True, slots=True)
class Regression:
    """An image and what it once showed; ``base_sha256`` is of the base that it was found with."""

    image: Image
    finding: Finding
    base_sha256: str


def save(image: Image, finding: Finding, folder: Path = FOLDER) -> Path:
    """Write it under a name that tells the finding; the same finding again replaces the file."""
    folder.mkdir(parents=True, exist_ok=True)
    told = f"{finding.kind} {finding.where}"
    name = f"{finding.kind.lower()}-{hashlib.sha256(told.encode()).hexdigest()[:10]}.json"
    value = {"finding": finding.to_json(), "base_sha256": digest(image.base), "image": image.to_json()}
    path = folder / name
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="ascii")
    return path


def load(path: Path) -> Regression:
    """What ``save`` wrote."""
    value = json.loads(path.read_text("ascii"))
    return Regression(
        Image.from_json(value["image"]), verdict.from_json(value["finding"]), str(value["base_sha256"])
    )


def kept(folder: Path = FOLDER) -> list[Path]:
    """All there are."""
    return sorted(folder.glob("*.json"))
