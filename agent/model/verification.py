"""How a job wants its files verified, and what came of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Self

from agent.errors import MalformedInput


class Depth(StrEnum):
    """What is compared; each depth holds what stands above it (docs/design.md, "What verified means")."""

    TRANSIT = "transit"
    """The CRC-64 of every block and page range, computed from what was read, is checked by the store."""

    MANIFEST = "manifest"
    """The MD5 that the drive manifest tells of every block or page range is compared before it is sent."""

    READBACK = "readback"
    """The blob is downloaded, and its CRC-64 compared with that of what was read from the drive."""


class Verdict(StrEnum):
    """What a verification found."""

    MATCH = "match"
    DIFFER = "differ"
    UNKNOWN = "unknown"
    """It was wanted and could not be done; the note of the file says why."""


_TEXT = re.compile(r"(transit|manifest|readback)(?::([0-9]{1,3})%?)?\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Verification:
    """The depth that a job asks for. ``percent``, 1 to 100, is how many of the files are read back."""

    depth: Depth
    percent: int = 100

    def __post_init__(self) -> None:
        """Raises MalformedInput when the parts do not fit together."""
        if not 1 <= self.percent <= 100:
            raise MalformedInput(f"readback of {self.percent} % of the files: 1 to 100 are possible")
        if self.percent != 100 and self.depth is not Depth.READBACK:
            raise MalformedInput(f"{self.depth} is done for all files; a percentage goes with readback only")

    @classmethod
    def parse(cls, text: str) -> Self:
        """``transit``, ``manifest``, ``readback`` or ``readback:10%``; raises MalformedInput."""
        match = _TEXT.match(text)
        if match is None:
            raise MalformedInput(f"{text[:40]!r} is none of transit, manifest, readback, readback:N%")
        depth, percent = match.groups()
        return cls(Depth(depth)) if percent is None else cls(Depth(depth), int(percent))

    def __str__(self) -> str:
        return str(self.depth) if self.percent == 100 else f"{self.depth}:{self.percent}%"


class Verified(NamedTuple):
    """What is known of one file that was moved: how deep it was verified, and its checksums.

    ``crc64`` (CRC-64/NVME of the whole content), ``content_md5`` and ``sha256`` are None when unknown.
    """

    depth: Depth
    verdict: Verdict
    crc64: int | None = None
    content_md5: bytes | None = None
    sha256: bytes | None = None


@dataclass(frozen=True, slots=True)
class VerifiedCounts:
    """Files of a drive by what was found: matching ones by their depth, and all others."""

    transit: int = 0
    manifest: int = 0
    readback: int = 0
    differ: int = 0
    unknown: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.transit + self.manifest + self.readback + self.differ + self.unknown


NONE_VERIFIED = VerifiedCounts()
"""That of a drive before its copy."""
