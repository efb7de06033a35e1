"""One image: a base, what was changed in it, and where it ends."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass
from typing import Any

from tests.fuzz.draft import Patch

_PLAIN_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Image:
    """``name`` tells where it came from; ``base`` is a name in ``bases``; patches do not overlap."""

    name: str
    base: str
    size_bytes: int
    patches: tuple[Patch, ...]
    steps: tuple[str, ...] = ()
    """What the mutators say they did."""
    bad: tuple[tuple[int, int], ...] = ()
    """(offset, length) of what cannot be read."""

    def data(self, base: bytes) -> bytearray:
        """The bytes, given those of the base."""
        data = bytearray(base[: self.size_bytes])
        for offset, change in self.patches:
            data[offset : offset + len(change)] = change[: max(0, self.size_bytes - offset)]
        return data

    def to_json(self) -> dict[str, Any]:
        """Texts and numbers only."""
        return {
            "name": self.name,
            "base": self.base,
            "size_bytes": self.size_bytes,
            "steps": list(self.steps),
            "bad": [list(each) for each in self.bad],
            "patches": _spelled(self.patches),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Image:
        """What ``to_json`` gave."""
        patches = _patches(value["patches"])
        return cls(
            str(value["name"]),
            str(value["base"]),
            int(value["size_bytes"]),
            patches,
            tuple(value["steps"]),
            tuple((int(offset), int(length)) for offset, length in value.get("bad", ())),
        )


def _spelled(patches: tuple[Patch, ...]) -> list[list[object]] | str:
    """[offset, hex] each; packed where that would be much."""
    rows: list[list[object]] = [[offset, change.hex()] for offset, change in patches]
    text = json.dumps(rows)
    if len(text) <= _PLAIN_CHARACTERS:
        return rows
    return base64.b64encode(zlib.compress(text.encode("ascii"), 9)).decode("ascii")


def _patches(value: Any) -> tuple[Patch, ...]:
    rows = json.loads(zlib.decompress(base64.b64decode(value))) if isinstance(value, str) else value
    return tuple((int(offset), bytes.fromhex(change)) for offset, change in rows)
