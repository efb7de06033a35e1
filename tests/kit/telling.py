"""A station's notifications, worked by hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from agent.catalog import Catalog
from agent.config.notify import Hook, NotifySettings
from agent.station.notices.gathering import Gathering
from agent.station.notices.outbox import Outbox
from agent.station.notices.sending import Send, Sender, send
from agent.station.view import View
from tests.kit.log import KeptLog
from tests.unit.catalog_cases import FINISHED, WHO, Ticking, spec, walk


class Bench:
    """``station`` gathers and delivers when it is told to."""

    def __init__(
        self,
        folder: Path,
        catalog: Catalog,
        clock: Ticking,
        *hooks: Hook,
        station: str = "hall-2",
        send: Send = send,
    ) -> None:
        self.catalog, self.clock, self.hooks, self.folder = catalog, clock, hooks, folder
        self.outbox, self.log, self.view = Outbox(folder / "notices.sqlite"), KeptLog(), View()
        self.counts: Counter[str] = Counter()
        self.senders = [Sender(hook, self.outbox, self.log, self.counts, clock, send) for hook in hooks]
        settings = NotifySettings(hooks)
        self.gathering = Gathering(catalog, settings, self.outbox, self.view, self.log, clock, station)

    async def gather(self) -> None:
        await self.gathering.look()

    async def deliver(self, number: int = 0) -> int:
        return await self.senders[number].deliver()

    async def finish(self, drive: str = "A", job: str = "ship-1") -> None:
        await self.catalog.create_job(spec(job, drive), ship=True, who=WHO)
        await walk(self.catalog, job, drive, *FINISHED)
