"""What operators do: receive drives, miss them, ship them back, fault, resolve, wait longer."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from agent.catalog import extras, jobs, rows
from agent.catalog.books import Books, needs_note
from agent.catalog.drive_moves import drive_event, skip_copies
from agent.catalog.job_moves import follow, job_event, refuse_late
from agent.errors import MalformedInput, MoveRefused
from agent.model.identity import JobName, SerialNumber
from agent.model.job import Job
from agent.model.papers import Package
from agent.model.states import DriveEvent, DriveState, JobEvent, JobState
from agent.model.waiting import MAX_EXTENSION_DAYS, Notice

_AWAY = frozenset({DriveState.SPECIFIED, DriveState.NEVER_RECEIVED})


class Operating(Books):
    """The verbs of operators. Every one raises JobNotFound, and MoveRefused with the table's reason."""

    async def receive_drive(self, job: JobName, serial: SerialNumber, *, who: str, note: str = "") -> Job:
        """It is here; nothing for one that was. Raises SerialNotSpecified."""
        async with self._turn(who) as turn:
            await drive_event(turn, job, serial, DriveEvent.ARRIVE, note)
            await skip_copies(turn, job)
            return await follow(turn, job)

    async def receive_job(self, name: JobName, *, who: str, note: str = "") -> Job:
        """Every drive of it that was not here yet."""
        async with self._turn(who) as turn:
            _, job = await jobs.load(turn.connection, name)
            for drive in job.drives:
                if drive.state in _AWAY:
                    await drive_event(turn, name, drive.serial, DriveEvent.ARRIVE, note)
            await skip_copies(turn, name)
            return await follow(turn, name)

    async def miss_drive(self, job: JobName, serial: SerialNumber, *, who: str, note: str = "") -> Job:
        """It was not in the box: NeverReceived. Raises SerialNotSpecified."""
        async with self._turn(who) as turn:
            await drive_event(turn, job, serial, DriveEvent.MISS, note)
            return await follow(turn, job)

    async def ship_back_drive(self, job: JobName, serial: SerialNumber, *, who: str, note: str = "") -> Job:
        """Raises SerialNotSpecified."""
        async with self._turn(who) as turn:
            await drive_event(turn, job, serial, DriveEvent.SHIP_BACK, note)
            return await follow(turn, job)

    async def ship_back_job(
        self, name: JobName, *, who: str, package: Package | None = None, note: str = ""
    ) -> Job:
        """All of its drives that came, and the extra ones that came with it. ``package`` is the way back."""
        async with self._turn(who) as turn:
            row, job = await jobs.load(turn.connection, name)
            if job.state is not JobState.PACKAGING:
                raise MoveRefused(f"job {name} is in {job.state}: it is shipped back from Packaging")
            if package is not None:
                papers = rows.papers_columns(replace(job.papers, return_package=package))
                await jobs.change(turn.connection, row.id, **papers)
                await turn.note("job.update_papers", name, None, "returnPackage")
            for drive in job.drives:
                if drive.state is not DriveState.NEVER_RECEIVED:
                    await drive_event(turn, name, drive.serial, DriveEvent.SHIP_BACK, note)
            await extras.return_all(turn, name, note)
            return await follow(turn, name)

    async def fault_drive(self, job: JobName, serial: SerialNumber, *, who: str, note: str) -> Job:
        """A transfer of it ends, and is not begun before ``resolve_drive``. Raises SerialNotSpecified."""
        async with self._turn(who) as turn:
            await drive_event(turn, job, serial, DriveEvent.FAULT, needs_note(note, "a fault"))
            return await follow(turn, job)

    async def resolve_drive(
        self, job: JobName, serial: SerialNumber, *, who: str, note: str, give_up: bool = False
    ) -> Job:
        """It may be transferred again; with ``give_up`` it ends here, without a copy.

        Raises SerialNotSpecified.
        """
        event = DriveEvent.GIVE_UP if give_up else DriveEvent.RESOLVE
        async with self._turn(who) as turn:
            await drive_event(turn, job, serial, event, needs_note(note, "a resolution"))
            await follow(turn, job)
            await skip_copies(turn, job)
            return await follow(turn, job)

    async def fault_job(self, name: JobName, *, who: str, note: str) -> Job:
        """No drive of it begins before ``resolve_job``; those under way go on. Nothing for one that is so.

        One that is Faulted for its drives stays so when these are resolved.
        """
        why = needs_note(note, "a fault")
        async with self._turn(who) as turn:
            row, job = await jobs.load(turn.connection, name)
            if job.fault_note is not None:
                return job
            if job.state is JobState.FAULTED:
                await turn.note("job.fault", name, None, why, was=job.state.value, now=job.state.value)
                await jobs.change(turn.connection, row.id, updated=turn.now, fault_note=why)
            else:
                await job_event(turn, name, JobEvent.FAULT, why, fault_note=why)
            await turn.notice(Notice.FAULTED, name, None, why)
            return (await jobs.load(turn.connection, name))[1]

    async def resolve_job(self, name: JobName, *, who: str, note: str) -> Job:
        """Ends what ``fault_job`` began; the job goes to where its drives are."""
        why = needs_note(note, "a resolution")
        async with self._turn(who) as turn:
            row, job = await jobs.load(turn.connection, name)
            refuse_late(job, JobEvent.RESOLVE_TO_TRANSFERRING)
            faulted = [drive.serial.shown for drive in job.drives if drive.state is DriveState.FAULTED]
            if job.fault_note is None:
                raise MoveRefused(f"job {name} is Faulted for its drives: resolve {', '.join(faulted)}")
            await turn.note("job.resolve", name, None, why)
            await jobs.change(turn.connection, row.id, fault_note=None)
            await follow(turn, name)
            await skip_copies(turn, name)
            return await follow(turn, name)

    async def extend_job(self, name: JobName, *, who: str, days: int = 14, note: str = "") -> Job:
        """Wait ``days`` (1 to 365) from now on for its drives, or in Creating for its shipping.

        Raises MalformedInput for another number of days, and for one that ends before what it waits anyway.
        """
        if not 1 <= days <= MAX_EXTENSION_DAYS:
            raise MalformedInput(f"waiting can be extended by 1 to {MAX_EXTENSION_DAYS} days, not by {days}")
        async with self._turn(who) as turn:
            row, job = await jobs.load(turn.connection, name)
            refuse_late(job, JobEvent.EXTEND)
            if not _waits(job):
                raise MoveRefused(f"job {name} is in {job.state} and waits for no drive")
            due = turn.now + timedelta(days=days)
            # Who was told that nothing came, and waits anew, need not wait as long as for an answer.
            if row.told is None and job.due is not None and due < job.due:
                raise MalformedInput(f"job {name} waits until {job.due:%Y-%m-%d} anyway: {days} are less")
            why = f"until {due:%Y-%m-%d}; {note}" if note else f"until {due:%Y-%m-%d}"
            return await job_event(turn, name, JobEvent.EXTEND, why, due=due, told=None)

    async def note_extra(
        self, serial: SerialNumber, *, came_with: JobName | None, who: str, note: str = ""
    ) -> None:
        """A drive is here that no shipped job specifies; nothing for one that is known to be."""
        async with self._turn(who) as turn:
            await extras.note(turn, serial, came_with, note)

    async def note_idle_drive(self, serial: SerialNumber, *, who: str, note: str = "") -> None:
        """A drive is here that nobody works: written down if it is an extra one, or its job not shipped."""
        async with self._turn(who) as turn:
            await extras.note_idle(turn, serial, note)

    async def extras(self, job: JobName | None = None) -> list[extras.Extra]:
        """Drives of no shipped job, those that are still here first; with ``job`` those that came with it."""
        async with self._database.read() as connection:
            return await extras.listed(connection, job)

    async def return_extra(self, serial: SerialNumber, *, who: str, note: str = "") -> None:
        """It was given back. Raises SerialNotSpecified when there is none of this serial here."""
        async with self._turn(who) as turn:
            await extras.give_back(turn, serial, note)


def _waits(job: Job) -> bool:
    awaited = any(drive.state is DriveState.SPECIFIED for drive in job.drives)
    return awaited or job.state in (JobState.CREATING, JobState.SHIPPING)
