"""A station in the test's own process, whose workers are real ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.catalog import Catalog, open_catalog
from agent.config import Settings, StoreSettings, TransferSettings
from agent.devices.fake import FakeSource
from agent.model.codes import Disposition
from agent.model.identity import JobName, SerialNumber
from agent.model.job import Destination, Drive, DriveSpec, JobSpec
from agent.station.station import Station
from tests.kit import images
from tests.kit.log import KeptLog

EXPECTED_FILES = sum(not path.startswith("System Volume") for path in images.hashes("demo"))
"""Of the image."""
WAIT_S = 240
JOB = JobName.parse("box")


@dataclass
class Bench:
    catalog: Catalog
    source: FakeSource
    log: KeptLog
    settings: Settings
    image: Path

    async def file_job(
        self,
        *serials: str,
        name: str = "box",
        ship: bool = True,
        disposition: Disposition = Disposition.RENAME,
    ) -> None:
        """A job for plain drives that go to a container of the job's name."""
        spec = JobSpec(
            name=JobName.parse(name),
            drives=tuple(DriveSpec(SerialNumber.parse(serial), None) for serial in serials),
            destination=Destination.parse(f"{name}-data"),
            disposition=disposition,
            allow_unencrypted=True,
        )
        await self.catalog.create_job(spec, ship=ship, who="test")

    async def drive(self, serial: str, job: JobName = JOB) -> Drive:
        return (await self.catalog.job(job)).drive(SerialNumber.parse(serial))

    async def until(self, what: Callable[[Drive], bool], serial: str) -> Drive:
        """Wait for a condition on the drive of the job."""
        async with asyncio.timeout(WAIT_S):
            while not what(drive := await self.drive(serial)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return drive

    async def until_logged(self, event: str, count: int = 1) -> None:
        async with asyncio.timeout(WAIT_S):
            while len(self.log.named(event)) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def stored(self, job: str = "box") -> int:
        """How many blobs there are."""
        root = Path(self.settings.store.address) / f"{job}-data"
        return sum(path.is_file() for path in root.rglob("*"))

    @asynccontextmanager
    async def running(self, **more: Any) -> AsyncIterator[Station]:
        """The daemon, and its orderly end; ``more`` is for its making."""
        station = Station(self.catalog, self.source, self.settings, self.log, **more)
        task = asyncio.create_task(station.run())
        try:
            yield station
        finally:
            station.stop()
            async with asyncio.timeout(WAIT_S):
                await task


@asynccontextmanager
async def bench_in(folder: Path, *, give_up_after_s: float) -> AsyncIterator[Bench]:
    """State directory, store and image are below ``folder``; the store is a directory."""
    settings = Settings(
        state_dir=folder / "state",
        store=StoreSettings("directory", str(folder / "blobs")),
        transfer=TransferSettings(give_up_after_s=give_up_after_s),
    )
    async with open_catalog(folder / "state/catalog.sqlite", folder / "state/key") as catalog:
        yield Bench(catalog, FakeSource(), KeptLog(), settings, images.unpack("demo", folder))
