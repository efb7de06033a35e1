"""Any sequence of moves, by two processes: the catalog against an oracle written on its own."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent.catalog import Catalog
from agent.errors import IngestError, MoveRefused, SerialConflict
from agent.model.states import DriveEvent
from tests.unit.catalog_cases import WHO, Ticking, name, opened, serial, spec, walk

LIFE = {
    ("Specified", "ARRIVE"): "Received",
    ("Specified", "MISS"): "NeverReceived",
    ("NeverReceived", "ARRIVE"): "Received",
    ("Received", "BEGIN"): "Transferring",
    ("Received", "FAULT"): "Faulted",
    ("Received", "GIVE_UP"): "CompletedMoreInfo",
    ("Transferring", "FINISH_CLEAN"): "Completed",
    ("Transferring", "FINISH_WITH_FINDINGS"): "CompletedMoreInfo",
    ("Transferring", "FAULT"): "Faulted",
    ("Faulted", "RESOLVE"): "Received",
    ("Faulted", "GIVE_UP"): "CompletedMoreInfo",
    ("Completed", "SHIP_BACK"): "ShippedBack",
    ("CompletedMoreInfo", "SHIP_BACK"): "ShippedBack",
}
NOTHING_TO_DO = {
    *(
        (state, "ARRIVE")
        for state in ("Received", "Transferring", "Completed", "CompletedMoreInfo", "Faulted")
    ),
    ("NeverReceived", "MISS"),
    ("ShippedBack", "SHIP_BACK"),
    ("Faulted", "FAULT"),
}
PROCESSED = {"Completed", "CompletedMoreInfo", "ShippedBack"}
ENDED = {"Closed", "Completed"}
SERIALS = ("A", "B", "C")
STEP_DAYS = 15
STEPS_UNANSWERED = 2
STEPS_KEPT = 6
"""In steps of the clock: two weeks are over in one, 30 days in two, 90 days in six."""


@dataclass
class Expected:
    """One job as it ought to be, told from its drives at once and not step by step."""

    drives: dict[str, str]
    shipped: bool
    unanswered: bool = False
    cancelled: bool = False
    begun: bool = False
    errors: bool = False
    without_copy: set[str] = field(default_factory=set)
    steps_told: int | None = None
    steps_ended: int = 0
    percent: int = 0

    @property
    def state(self) -> str:
        states = set(self.drives.values())
        if self.unanswered:
            return "Closed"
        if not self.shipped:
            return "Creating"
        if "Faulted" in states:
            return "Faulted"
        if states <= {"ShippedBack", "NeverReceived"} and (self.cancelled or states != {"NeverReceived"}):
            faulty = self.errors or "NeverReceived" in states
            return "Closed" if faulty and not self.cancelled else "Completed"
        if states <= PROCESSED | {"NeverReceived"} and states != {"NeverReceived"}:
            return "Packaging"
        if self.begun:
            return "Transferring"
        return "Shipping" if "Specified" in states or states == {"NeverReceived"} else "Received"

    def takes(self, drive: str, event: str) -> bool:
        pair = (self.drives[drive], event)
        if (pair not in LIFE and pair not in NOTHING_TO_DO) or self.state in ENDED | {"Creating"}:
            return False
        return event != "BEGIN" or self.state in ("Shipping", "Received", "Transferring")

    def waits_for(self, drive: str) -> bool:
        open_job = self.state not in ENDED and not self.cancelled
        return open_job and self.drives.get(drive, "ShippedBack") not in PROCESSED

    def cancel(self) -> None:
        """Drives that are here and not begun end at once, unless the job is Faulted."""
        skips = not self.cancelled and self.state not in ENDED | {"Creating", "Faulted"}
        self.cancelled = True
        for drive, state in self.drives.items():
            if skips and state == "Received":
                self.drives[drive] = "CompletedMoreInfo"
                self.without_copy.add(drive)
                self.begun = True

    def steps(self) -> bool:
        """A step of time has passed; False when the job is gone."""
        if self.state == "Creating":
            return False
        if self.state in ENDED:
            self.steps_ended += 1
            return self.steps_ended < STEPS_KEPT
        if self.state == "Shipping" and self.steps_told is not None:
            self.steps_told += 1
            self.unanswered = self.steps_told >= STEPS_UNANSWERED
            return True
        for drive, state in self.drives.items():
            if state == "Specified":
                self.drives[drive] = "NeverReceived"
        self.steps_told = 0 if self.state == "Shipping" else None
        return True


class Life(RuleBasedStateMachine):
    """Two processes do to the catalog what people and drives may do, in any order."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.jobs: dict[str, Expected] = {}
        self.filed = 0
        self.clock = Ticking()
        self.catalogs: list[Catalog] = self.runner.run(self._open())

    async def _open(self) -> list[Catalog]:
        path = Path(self.folder.name)
        return [await self.stack.enter_async_context(opened(path, clock=self.clock)) for _ in range(2)]

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self.stack.aclose())
            self.runner.close()
            self.folder.cleanup()

    def attempt(self, call: Any, error: type[IngestError], allowed: bool) -> None:
        try:
            self.runner.run(call)
            done = True
        except error:
            done = False
        assert done is allowed

    def any_job(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.jobs)))

    @precondition(lambda self: len(self.jobs) < 3)
    @rule(
        serials=st.lists(st.sampled_from(SERIALS), min_size=1, max_size=2, unique=True),
        ship=st.booleans(),
        who=st.integers(0, 1),
    )
    def file(self, serials: list[str], ship: bool, who: int) -> None:
        free = not any(job.waits_for(one) for job in self.jobs.values() for one in serials)
        title = f"job-{self.filed}"
        self.filed += 1
        call = self.catalogs[who].create_job(spec(title, *serials), ship=ship, who=WHO)
        self.attempt(call, SerialConflict, free)
        if free:
            self.jobs[title] = Expected(dict.fromkeys(serials, "Specified"), ship)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), who=st.integers(0, 1))
    def ship(self, data: st.DataObject, who: int) -> None:
        title = self.any_job(data)
        job = self.jobs[title]
        allowed = job.state not in ENDED
        self.attempt(self.catalogs[who].ship_job(name(title), WHO, by_hand=True), MoveRefused, allowed)
        job.shipped = job.shipped or allowed

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), who=st.integers(0, 1))
    def cancel(self, data: st.DataObject, who: int) -> None:
        title = self.any_job(data)
        job = self.jobs[title]
        allowed = job.cancelled or job.state in (
            "Creating",
            "Shipping",
            "Received",
            "Transferring",
            "Faulted",
        )
        self.attempt(self.catalogs[who].cancel_job(name(title), WHO), MoveRefused, allowed)
        if allowed:
            job.cancel()

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), who=st.integers(0, 1))
    def delete(self, data: st.DataObject, who: int) -> None:
        title = self.any_job(data)
        allowed = self.jobs[title].state in ENDED
        if self.jobs[title].state == "Creating":
            return
        self.attempt(self.catalogs[who].delete_job(name(title), who=WHO), MoveRefused, allowed)
        if allowed:
            del self.jobs[title]

    @precondition(lambda self: self.jobs)
    @rule(sure=st.integers(0, 2), who=st.integers(0, 1))
    def time_passes(self, sure: int, who: int) -> None:
        if sure:
            return
        self.clock.pass_days(STEP_DAYS)
        self.runner.run(self.catalogs[who].look_at_clocks())
        self.jobs = {title: job for title, job in self.jobs.items() if job.steps()}

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), event=st.sampled_from(DriveEvent), who=st.integers(0, 1))
    def move_any(self, data: st.DataObject, event: DriveEvent, who: int) -> None:
        title = self.any_job(data)
        self._move(title, data.draw(st.sampled_from(sorted(self.jobs[title].drives))), event, who)

    @precondition(lambda self: self._ways())
    @rule(data=st.data(), who=st.integers(0, 1))
    def move_on(self, data: st.DataObject, who: int) -> None:
        title, drive, event = data.draw(st.sampled_from(self._ways()))
        self._move(title, drive, DriveEvent[event], who)

    def _ways(self) -> list[tuple[str, str, str]]:
        return [
            (title, drive, event)
            for title, job in sorted(self.jobs.items())
            for drive in sorted(job.drives)
            for state, event in LIFE
            if job.drives[drive] == state and job.takes(drive, event)
        ]

    def _move(self, title: str, drive: str, event: DriveEvent, who: int) -> None:
        job = self.jobs[title]
        allowed = job.takes(drive, event.name)
        self.attempt(walk(self.catalogs[who], title, drive, event), MoveRefused, allowed)
        before = job.drives[drive]
        if allowed and (before, event.name) in LIFE:
            job.drives[drive] = LIFE[before, event.name]
            job.begun = job.begun or event in (DriveEvent.BEGIN, DriveEvent.GIVE_UP)
            job.errors = job.errors or event in (DriveEvent.FINISH_WITH_FINDINGS, DriveEvent.GIVE_UP)
            if event is DriveEvent.GIVE_UP:
                job.without_copy.add(drive)
            if job.state != "Shipping":
                job.steps_told = None

    @invariant()
    def catalog_is_as_expected(self) -> None:
        if not hasattr(self, "runner"):
            return
        for title, job in self.jobs.items():
            found = self.runner.run(self.catalogs[1].job(name(title)))
            assert found.state == job.state
            assert {str(one.serial): str(one.state) for one in found.drives} == job.drives
            assert found.cancel_requested is job.cancelled
            for one in found.drives:
                is_through = one.state in PROCESSED and str(one.serial) not in job.without_copy
                assert (one.percent_complete == 100) == is_through
            assert job.percent <= found.percent_complete
            whole = all(one.percent_complete == 100 for one in found.drives)
            assert (found.percent_complete == 100) == whole
            job.percent = found.percent_complete

    @invariant()
    def history_holds(self) -> None:
        if hasattr(self, "runner"):
            assert self.runner.run(self.catalogs[0].verify_history()).broken is None

    @invariant()
    def at_most_one_job_waits_for_a_drive(self) -> None:
        if not hasattr(self, "runner"):
            return
        for text in SERIALS:
            waiting = [title for title, job in self.jobs.items() if job.waits_for(text)]
            found = self.runner.run(self.catalogs[0].find_drive(serial(text)))
            assert len(waiting) <= 1
            assert not waiting or str(found[0][0].name) == waiting[0]


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=20, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
