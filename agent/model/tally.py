"""The books: what was found on a drive and what became of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Count:
    """A number of files and of their bytes."""

    files: int = 0
    bytes: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.files + other.files, self.bytes + other.bytes)


@dataclass(frozen=True, slots=True)
class Tally:
    """discovered = done + failed + skipped, in files and in bytes, once a drive is processed."""

    discovered: Count = Count()
    done: Count = Count()
    failed: Count = Count()
    skipped: Count = Count()

    @property
    def accounted(self) -> Count:
        """What has an outcome."""
        return self.done + self.failed + self.skipped

    @property
    def balances(self) -> bool:
        """Everything that was discovered has an outcome."""
        return self.accounted == self.discovered
