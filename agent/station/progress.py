"""Brings into the catalog how a drive's transfer goes, as its uploaders tell it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from agent.catalog.catalog import Catalog
from agent.model.going import Going
from agent.model.identity import JobName, SerialNumber
from agent.transfer.events import read_going, read_tally

EVERY_S = 1.0


class Progress:
    """Of one drive's visit, over all its uploaders. ``went`` is what was counted before."""

    def __init__(self, catalog: Catalog, job: JobName, serial: SerialNumber, went: Going) -> None:
        self._catalog, self._job, self._serial = catalog, job, serial
        self.went = went
        self._latest: Mapping[str, Any] | None = None
        self._is_written = True
        self._written_at = 0.0

    async def take(self, event: Mapping[str, Any]) -> bool:
        """A ``progress`` event; whether more is through than at the one before of the same uploader.

        Raises StateUnusable.
        """
        has_moved = self._latest is not None and event["tally"] != self._latest["tally"]
        self._latest, self._is_written = event, False
        if time.monotonic() - self._written_at >= EVERY_S:
            await self.write()
        return has_moved

    async def write(self, *, stands: bool = False) -> None:
        """What was told last; ``stands``: the transfer does not run any more. Raises StateUnusable."""
        event = self._latest
        if event is None or (self._is_written and not stands):
            return
        self._written_at, self._is_written = time.monotonic(), True
        waiting, going = event.get("waiting"), read_going(event, self.went)
        await self._catalog.record_progress(
            self._job,
            self._serial,
            read_tally(event),
            event["percent"],
            f"waiting: {waiting}" if waiting else "InProgress",
            going.standing if stands else going,
        )

    def uploader_ended(self) -> None:
        """The next one counts from nothing."""
        if self._latest is not None:
            self.went, self._latest = read_going(self._latest, self.went), None
