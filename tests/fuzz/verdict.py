"""What became of one image, and when that is a finding."""

from __future__ import annotations

import traceback
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.bases import base
from tests.fuzz.broken import Broken
from tests.fuzz.checked import CheckedDrive
from tests.fuzz.exercise import Trail, exercise
from tests.fuzz.image import Image

_CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Finding:
    """``kind`` is an exception's name, or Broken, Hang, Crash, Memory, Outside, Written.

    ``where`` tells two of a kind apart.
    """

    kind: str
    where: str
    text: str

    @property
    def signature(self) -> tuple[str, str]:
        """Equal for two findings that are likely one bug."""
        return self.kind, self.where

    def to_json(self) -> dict[str, str]:
        """Texts only."""
        return {key: str(value) for key, value in asdict(self).items()}


@dataclass(slots=True)
class Verdict:
    """Plain numbers and texts, to be sent between processes; ``peak_bytes`` is how much the worker grew."""

    finding: Finding | None
    stage: str = ""
    entries: int = 0
    damaged: int = 0
    streams_read: int = 0
    scan_bytes: int = 0
    reads: int = 0
    bytes_read: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    cpu_s: float = 0.0
    peak_bytes: int = 0


def judge(image: Image) -> Verdict:
    """Exercise the image in this process. Every exception is a finding; the clean ones never get here."""
    chosen = base(image.base)
    data = image.data(chosen.disk)
    before = zlib.crc32(data)
    drive = CheckedDrive(data, chosen.sector_size, image.bad, image.size_bytes)
    trail = Trail()
    finding: Finding | None = None
    try:
        exercise(drive, chosen.credential, trail)
    except Broken as broken:
        finding = Finding("Broken", trail.stage, str(broken))
    except BaseException as error:  # noqa: BLE001 - to find what comes out is what this is for
        finding = Finding(type(error).__name__, _origin(error), _told(error, trail))
    if drive.wrong:
        finding = Finding("Outside", trail.stage, "; ".join(drive.wrong))
    if zlib.crc32(data) != before:
        finding = Finding("Written", trail.stage, "the bytes of the drive are not what they were")
    return Verdict(
        finding,
        trail.stage,
        trail.entries,
        trail.damaged,
        trail.streams_read,
        trail.scan_bytes,
        drive.reads,
        drive.bytes_read,
        trail.errors,
    )


def _origin(error: BaseException) -> str:
    """Module and function in which it was raised: lines move too easily."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_CHECKOUT)] or frames
    return f"{_module(ours[-1].filename)}:{ours[-1].name}" if ours else ""


def _module(path: str) -> str:
    return "/".join(Path(path).parts[-3:])


def _told(error: BaseException, trail: Trail) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    way = " > ".join(f"{_module(frame.filename)}:{frame.lineno}" for frame in frames)
    return f"{trail.stage}: {type(error).__name__}: {error}"[:500] + f" ({way})"


def from_json(value: dict[str, Any]) -> Finding:
    """What ``Finding.to_json`` gave."""
    return Finding(str(value["kind"]), str(value["where"]), str(value["text"]))
