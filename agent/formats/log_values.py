"""What drive logs of any generation say, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from agent.formats.records import BlobRecord


class Generation(StrEnum):
    """The three formats that Microsoft has published."""

    G1 = "2014-11-01"
    G2 = "2018-10-01"
    G3 = "2021-08-01"


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One blob, file or share of a log.

    ``target`` is its name in the service, ``source`` on the drive where the log tells it, ``code``
    the log's own word for what happened. ``record`` holds all that a G1 entry says; it is None for
    other generations and for entries with a code that 2014-11-01 does not know.
    """

    target: str
    code: str
    source: str | None = None
    length: int | None = None
    message: str | None = None
    record: BlobRecord | None = None
    is_unclear: bool = False
    """The log says something of it that this reader does not understand."""

    @property
    def is_failed(self) -> bool:
        """Something of it did not arrive, or the log does not say clearly that it did."""
        if self.record is not None:
            return self.record.is_failed
        return self.is_unclear or (self.code != "Completed" and not self.is_renamed)

    @property
    def is_renamed(self) -> bool:
        """It arrived under another name."""
        if self.record is not None:
            return self.record.is_warning and self.record.disposition_status == "Renamed"
        return not self.is_unclear and self.code.endswith("Renamed")

    @property
    def is_unverified(self) -> bool:
        """It arrived, and the verification that was asked for could not be done."""
        return self.record is not None and self.record.is_unverified and not self.is_failed

    @property
    def is_skipped(self) -> bool:
        """A blob of that name was there and was left as it was."""
        record = self.record
        return record is not None and record.is_warning and record.disposition_status == "Skipped"


@dataclass(frozen=True, slots=True)
class LogSummary:
    """What a log says of its drive. ``status`` None: the log does not say how the drive ended.

    ``total`` and ``errored`` (G3) count files; ``counts`` (G2, G3) counts them by error category.
    """

    generation: Generation
    version: str | None
    drive_id: str | None
    status: str | None
    total: int | None
    errored: int | None
    counts: Mapping[str, int]
