"""The running account of a transfer: outcomes on their way to the journal, and progress."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from agent.model.tally import Count, Tally
from agent.threads import to_its_end
from agent.transfer.items import Item, ItemState, Outcome
from agent.transfer.journal import Journal

FLUSH_EVERY_S = 0.25
MAX_UNWRITTEN = 500


class Books:
    """Counts what is settled, and writes it to the journal a few times a second.

    ``report`` is told whenever something was written: the tally, and a percentage that never goes
    back and stays below 100 until the caller says that all is over.
    """

    def __init__(self, journal: Journal, report: Callable[[Tally, int], None]) -> None:
        self._journal = journal
        self._report = report
        self._unwritten: list[Outcome] = []
        self._full = asyncio.Event()
        self._writing = asyncio.Lock()
        self.tally = Tally()
        self._under_way_bytes = 0
        self._percent = 0

    async def load(self) -> None:
        """Take over what the journal knows from before."""
        self.tally = await asyncio.to_thread(self._journal.tally)
        self.tell()

    def settle(self, item: Item, outcome: Outcome) -> None:
        """An item has its outcome."""
        count, tally = Count(1, item.length), self.tally
        done, failed, skipped = tally.done, tally.failed, tally.skipped
        if outcome.state is ItemState.DONE:
            done += count
        elif outcome.state is ItemState.FAILED:
            failed += count
        else:
            skipped += count
        self.tally = Tally(tally.discovered, done, failed, skipped)
        self._unwritten.append(outcome)
        if len(self._unwritten) >= MAX_UNWRITTEN:
            self._full.set()

    def under_way(self, size_bytes: int) -> None:
        """Bytes of an unsettled item arrived (or, negative, are counted with its outcome now)."""
        self._under_way_bytes += size_bytes

    @property
    def through_bytes(self) -> int:
        """Accounted, and of unsettled items what arrived."""
        return self.tally.accounted.bytes + self._under_way_bytes

    @property
    def percent(self) -> int:
        """0 to 99: bytes accounted and under way over bytes discovered; files where there are no bytes."""
        discovered, accounted = self.tally.discovered, self.tally.accounted
        if discovered.bytes:
            now = self.through_bytes * 100 // discovered.bytes
        else:
            now = accounted.files * 100 // discovered.files if discovered.files else 0
        self._percent = max(self._percent, min(99, now))
        return self._percent

    def tell(self) -> None:
        """Report where things stand."""
        self._report(self.tally, self.percent)

    async def keep(self) -> None:
        """Write and report until cancelled; to run beside the transfer."""
        while True:
            with suppress(TimeoutError):
                # Not wait_for: that of Python 3.11 swallows a cancellation which comes as the wait ends.
                async with asyncio.timeout(FLUSH_EVERY_S):
                    await self._full.wait()
            await self.flush()

    async def flush(self) -> None:
        """Write what is unwritten; durable when it returns."""
        async with self._writing:
            batch, self._unwritten = self._unwritten, []
            self._full.clear()
            if batch:
                await self._write(batch)
        self.tell()

    async def _write(self, batch: list[Outcome]) -> None:
        """Whatever happens to the caller, what was begun is written to its end."""
        try:
            await to_its_end(self._journal.record, batch)
        except Exception:
            self._unwritten = batch + self._unwritten
            raise
