"""Whatever people, drives and time do to jobs, in whatever order: what the tables promise holds."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from agent.catalog import Catalog
from agent.errors import PolicyError
from agent.model.job import Job, JobChanges
from agent.model.states import FINISHED_JOBS, DriveEvent, DriveState, JobState
from agent.model.tally import Count, Tally
from tests.unit.catalog_cases import WHO, Ticking, name, opened_at_once, serial, spec, walk

JOBS = {"ship-1": ("A", "B"), "ship-2": ("B", "C")}
STEPS = 80
UNDER_WAY = {DriveState.SPECIFIED, DriveState.RECEIVED, DriveState.TRANSFERRING, DriveState.FAULTED}
PROCESSED = {DriveState.COMPLETED, DriveState.COMPLETED_MORE_INFO}
WITH_CLOCK = FINISHED_JOBS | {JobState.CREATING, JobState.SHIPPING}
MOVES = (DriveEvent.ARRIVE, DriveEvent.BEGIN, DriveEvent.FINISH_CLEAN, DriveEvent.FINISH_WITH_FINDINGS)


class Walk:
    """One of them, by a seed."""

    def __init__(self, catalog: Catalog, clock: Ticking, dice: random.Random) -> None:
        self._catalog, self._clock, self._dice = catalog, clock, dice

    async def step(self) -> None:
        job, drive = self._dice.choice([*JOBS]), serial(self._dice.choice("ABC"))
        catalog, of = self._catalog, name(job)
        verbs: Sequence[Callable[[], Awaitable[object]]] = (
            *[lambda: catalog.create_job(spec(job, *JOBS[job]), ship=False, who=WHO)] * 3,
            *[lambda: catalog.ship_job(of, WHO)] * 3,
            lambda: catalog.update_job(of, JobChanges(tags={"a": f"{self._dice.random()}"}), who=WHO),
            lambda: catalog.receive_drive(of, drive, who=WHO),
            lambda: catalog.receive_job(of, who=WHO),
            lambda: catalog.miss_drive(of, drive, who=WHO),
            lambda: catalog.ship_back_drive(of, drive, who=WHO),
            lambda: catalog.ship_back_job(of, who=WHO),
            lambda: catalog.fault_drive(of, drive, who=WHO, note="x"),
            *[lambda: catalog.resolve_drive(of, drive, who=WHO, note="x")] * 3,
            lambda: catalog.resolve_drive(of, drive, who=WHO, note="x", give_up=True),
            lambda: catalog.fault_job(of, who=WHO, note="x"),
            *[lambda: catalog.resolve_job(of, who=WHO, note="x")] * 3,
            lambda: catalog.extend_job(of, who=WHO, days=self._dice.choice((1, 14, 40))),
            lambda: catalog.note_idle_drive(drive, who=WHO),
            lambda: catalog.record_progress(
                of, drive, Tally(Count(3, 300), Count(1, 100)), self._dice.randrange(100), None
            ),
            *[lambda: walk(catalog, job, drive.normal, self._dice.choice(MOVES))] * 12,
            self._time_passes,
        )
        rare = (lambda: catalog.cancel_job(of, WHO), lambda: catalog.delete_job(of, who=WHO))
        verb = self._dice.choice(verbs if self._dice.random() < 0.96 else rare)
        try:
            await verb()
        except PolicyError:
            return

    async def _time_passes(self) -> None:
        self._clock.pass_days(self._dice.choice((1, 7, 15, 31)))
        while await self._catalog.look_at_clocks():
            continue
        async for job in self._catalog.jobs():
            assert job.due is None or job.due > self._clock.now


def wrong(job: Job) -> list[str]:
    """What is promised of a job and does not hold."""
    drives = {drive.state for drive in job.drives}
    awaited = DriveState.SPECIFIED in drives
    is_held = job.fault_note is not None
    promises = {
        "it has a clock": job.state not in WITH_CLOCK or job.due is not None,
        "what is awaited has a clock": not awaited or job.due is not None,
        "it is packed when all are processed": job.state is not JobState.PACKAGING or not drives & UNDER_WAY,
        "it ends when all are back": job.state not in FINISHED_JOBS or not drives & (UNDER_WAY | PROCESSED),
        "it transfers something": job.state is not JobState.TRANSFERRING or bool(drives & UNDER_WAY),
        "it is received whole": job.state is not JobState.RECEIVED or not awaited,
        "a drive's fault is its own": (job.state is JobState.FAULTED)
        == (is_held or DriveState.FAULTED in drives),
        "it is not shipped still": job.state is not JobState.SHIPPING
        or awaited
        or drives <= {DriveState.NEVER_RECEIVED},
    }
    return [promise for promise, holds in promises.items() if not holds]


async def test_jobs_are_where_their_drives_are_on_any_way_through_the_tables(tmp_path: Path) -> None:
    seen: set[JobState] = set()
    for seed in range(6):
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        clock = Ticking()
        async with opened_at_once(folder, clock) as catalog:
            seen |= await _walked(catalog, Walk(catalog, clock, random.Random(seed)))
    # The walks went far enough to show it.
    assert len(seen) >= 6


async def _walked(catalog: Catalog, walk: Walk) -> set[JobState]:
    seen, reached = set[JobState](), dict[object, int]()
    for _ in range(STEPS):
        await walk.step()
        async for job in catalog.jobs():
            shown = [(drive.serial.shown, drive.state.value) for drive in job.drives]
            assert not wrong(job), (job.state, shown, job.due, job.cancel_requested, job.fault_note)
            assert job.percent_complete >= reached.get((job.name, job.created), 0)
            reached[job.name, job.created] = job.percent_complete
            seen.add(job.state)
    assert (await catalog.verify_history()).broken is None
    return seen
