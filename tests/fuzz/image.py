"""One image: a base, what was changed in it, and where it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.fuzz.draft import Patch


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
            "patches": [[offset, change.hex()] for offset, change in self.patches],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Image:
        """What ``to_json`` gave."""
        patches = tuple((int(offset), bytes.fromhex(change)) for offset, change in value["patches"])
        return cls(
            str(value["name"]),
            str(value["base"]),
            int(value["size_bytes"]),
            patches,
            tuple(value["steps"]),
            tuple((int(offset), int(length)) for offset, length in value.get("bad", ())),
        )
