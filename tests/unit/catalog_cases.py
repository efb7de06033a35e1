"""What the tests of the catalog share: specifications of jobs, and a walk of a drive through its life."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent.catalog import Catalog, open_catalog
from agent.model.identity import JobName, SerialNumber
from agent.model.job import Destination, DriveSpec, Job, JobSpec
from agent.model.keys import Credential, RecoveryPassword
from agent.model.states import DriveEvent
from agent.model.tally import Count, Tally

KEY = "000011-111111-222222-333333-444444-555555-666666-720885"
WHO = "tester"
CLEAN = Tally(Count(3, 300), Count(2, 200), Count(), Count(1, 100))
FAILED = Tally(Count(3, 300), Count(2, 200), Count(1, 100), Count())
FINISHED = (DriveEvent.ARRIVE, DriveEvent.BEGIN, DriveEvent.FINISH_CLEAN)


class Ticking:
    """A clock that goes one second further each time it is read, and may be moved."""

    def __init__(self) -> None:
        self.now = datetime(2024, 2, 3, 12, tzinfo=UTC)

    def pass_days(self, days: float) -> None:
        self.now += timedelta(days=days)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def serial(text: str) -> SerialNumber:
    return SerialNumber.parse(text)


def name(text: str = "ship-1") -> JobName:
    return JobName.parse(text)


def spec(job: str, *serials: str, credential: Credential | None = None) -> JobSpec:
    key = credential or RecoveryPassword.parse(KEY)
    drives = tuple(DriveSpec(serial(one), key) for one in serials)
    return JobSpec(name(job), drives, Destination.parse("data/box/"))


@asynccontextmanager
async def opened(
    folder: Path, busy_timeout_s: float = 10.0, clock: Ticking | None = None
) -> AsyncIterator[Catalog]:
    async with open_catalog(
        folder / "catalog.sqlite",
        folder / "catalog.key",
        clock=clock or Ticking(),
        busy_timeout_s=busy_timeout_s,
        origin="the bench",
    ) as catalog:
        yield catalog


@asynccontextmanager
async def opened_at_once(folder: Path, clock: Ticking | None = None) -> AsyncIterator[Catalog]:
    """As ``opened`` in an empty folder, without the time that it takes to make a catalog."""
    for name_, data in await _made():
        (folder / name_).write_bytes(data)
        (folder / name_).chmod(0o600)
    async with opened(folder, clock=clock) as catalog:
        yield catalog


_MADE: list[tuple[str, bytes]] = []


async def _made() -> list[tuple[str, bytes]]:
    """The files of an empty catalog, made once."""
    if not _MADE:
        with tempfile.TemporaryDirectory() as folder:
            async with opened(Path(folder)):
                pass
            _MADE.extend(_files(Path(folder)))
    return _MADE


def _files(folder: Path) -> list[tuple[str, bytes]]:
    return [(path.name, path.read_bytes()) for path in folder.iterdir()]


async def nobody_answers(catalog: Catalog, clock: Ticking) -> None:
    """So long that a shipped job without drives is closed."""
    for days in (14, 30):
        clock.pass_days(days)
        await catalog.look_at_clocks()


async def walk(catalog: Catalog, job: str, drive: str, *events: DriveEvent) -> Job:
    """Moves one drive; a finish comes with books that fit it."""
    books = {DriveEvent.FINISH_CLEAN: CLEAN, DriveEvent.FINISH_WITH_FINDINGS: FAILED}
    assert events
    for event in events:
        found = await catalog.move_drive(name(job), serial(drive), event, who=WHO, tally=books.get(event))
    return found
