"""The catalog of jobs: what the daemon and the commands share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from agent.catalog import drives, events, jobs, progress, rows
from agent.catalog.database import Database, open_database
from agent.catalog.events import Event
from agent.catalog.following import admit, follow
from agent.catalog.keybox import KeyBox
from agent.errors import MoveRefused
from agent.model.going import Going
from agent.model.identity import JobName, SerialNumber
from agent.model.job import Drive, Job, JobSpec
from agent.model.keys import Credential
from agent.model.states import CANCELLABLE_JOBS, DriveEvent, DriveState, JobEvent, move_drive, move_job
from agent.model.tally import Tally
from agent.model.verification import VerifiedCounts

PAGE_JOBS = 50
BUSY_TIMEOUT_S = 10.0

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The clock of a catalog that is given none."""
    return datetime.now(UTC)


class Catalog:
    """Jobs, drives, events. Every method is one transaction, safe beside other processes.

    Every method may raise StateUnusable: the file is locked by another process for longer than the
    busy timeout, damaged, not writable, or the disk is full.
    """

    def __init__(self, database: Database, box: KeyBox, clock: Clock) -> None:
        self._database = database
        self._box = box
        self._clock = clock

    async def create_job(self, spec: JobSpec, *, ship: bool, who: str) -> Job:
        """In Creating, or already in Shipping; raises JobExists, SerialConflict."""
        async with self._database.write() as connection:
            await jobs.create(connection, spec, self._box, self._clock())
            await self._note(connection, who, spec.name, None, "job.create", "")
            if ship:
                await self._move_job(connection, spec.name, JobEvent.SHIP, who)
            return (await jobs.load(connection, spec.name))[1]

    async def ship_job(self, name: JobName, who: str) -> Job:
        """Creating to Shipping; raises JobNotFound, MoveRefused."""
        async with self._database.write() as connection:
            return await self._move_job(connection, name, JobEvent.SHIP, who)

    async def close_unanswered(self, name: JobName, who: str) -> Job:
        """Shipping to Closed, when no drive came and nobody answers; raises JobNotFound, MoveRefused."""
        async with self._database.write() as connection:
            return await self._move_job(connection, name, JobEvent.UNANSWERED, who)

    async def cancel_job(self, name: JobName, who: str) -> Job:
        """Sets the flag, once; raises JobNotFound, and MoveRefused when it is too late."""
        async with self._database.write() as connection:
            job_id, job = await jobs.load(connection, name)
            if job.cancel_requested:
                return job
            if job.state not in CANCELLABLE_JOBS:
                raise MoveRefused(f"job {name} is in {job.state} and cannot be cancelled any more")
            await jobs.change(connection, job_id, cancel_requested=True, updated=self._clock())
            await self._note(connection, who, name, None, "job.cancel", "")
            return (await jobs.load(connection, name))[1]

    async def job(self, name: JobName) -> Job:
        """Raises JobNotFound."""
        async with self._database.read() as connection:
            return (await jobs.load(connection, name))[1]

    async def jobs(self) -> AsyncIterator[Job]:
        """All jobs in the order they were created, read a page at a time."""
        after: tuple[datetime, int] | None = None
        while True:
            async with self._database.read() as connection:
                page, after = await jobs.page(connection, after, PAGE_JOBS)
            for job in page:
                yield job
            if after is None:
                return

    async def list_drives(self) -> list[tuple[Job, Drive]]:
        """Every drive of every job, jobs in the order they were created."""
        return [(job, drive) async for job in self.jobs() for drive in job.drives]

    async def count_drives(self) -> dict[DriveState, int]:
        """Drives of all jobs by state; states without any are left out."""
        async with self._database.read() as connection:
            return await drives.counted(connection)

    async def find_drive(self, serial: SerialNumber) -> list[tuple[Job, Drive]]:
        """Every job that specifies the serial: the one that waits for it first, then the newest."""
        async with self._database.read() as connection:
            return await drives.having(connection, serial)

    async def credential(self, job: JobName, serial: SerialNumber) -> Credential | None:
        """The drive's key, opened here and nowhere else; None when the job gives none.

        Raises JobNotFound, SerialNotSpecified, and StateUnusable when it does not open.
        """
        async with self._database.read() as connection:
            job_id, _ = await jobs.load(connection, job)
            row = await drives.load(connection, job_id, job, serial)
        return None if row.sealed_key is None else self._box.open(row.sealed_key, job, serial)

    async def move_drive(
        self,
        job: JobName,
        serial: SerialNumber,
        event: DriveEvent,
        *,
        who: str,
        detail: str = "",
        copy_status: str | None = None,
        tally: Tally | None = None,
        percent_complete: int | None = None,
        error_log_uri: str | None = None,
        verbose_log_uri: str | None = None,
        manifest_uri: str | None = None,
        verified: VerifiedCounts | None = None,
        going: Going | None = None,
    ) -> Job:
        """Moves a drive by its table and lets the job follow by its own; None leaves a field as it is.

        BEGIN starts the books anew. A finish makes 100 % when its tally (or the stored one)
        balances and ``percent_complete`` does not say less. Of ``going`` the counts are kept.

        Raises JobNotFound, SerialNotSpecified, and MoveRefused when either table has no such move,
        or FINISH_CLEAN comes with books that do not balance or hold failures.
        """
        uris = {
            "error_log_uri": error_log_uri,
            "verbose_log_uri": verbose_log_uri,
            "manifest_uri": manifest_uri,
        }
        async with self._database.write() as connection:
            job_id, found = await jobs.load(connection, job)
            row = await drives.load(connection, job_id, job, serial)
            admit(job, found.state, event)
            state = move_drive(DriveState(row.state), event)
            values = progress.going_columns(going) if going is not None else {}
            values |= {"state": state.value, **progress.moved(row, event, tally, percent_complete)}
            values |= progress.outcome(event, state, copy_status)
            values |= {name: uri for name, uri in uris.items() if uri is not None}
            values |= rows.verified_columns(verified) if verified is not None else {}
            await drives.change(connection, row, values)
            await self._note(connection, who, job, serial, f"drive.{event.name.lower()}", detail)
            return await self._follow(connection, job, who)

    async def record_progress(
        self,
        job: JobName,
        serial: SerialNumber,
        tally: Tally,
        percent_complete: int,
        copy_status: str | None,
        going: Going | None = None,
    ) -> None:
        """Never goes back: a report that is behind the books leaves them; at most 99 %.

        Raises JobNotFound, SerialNotSpecified, and MoveRefused when the drive is not transferring.
        """
        async with self._database.write() as connection:
            job_id, _ = await jobs.load(connection, job)
            row = await drives.load(connection, job_id, job, serial)
            if row.state != DriveState.TRANSFERRING:
                raise MoveRefused(f"drive {serial} of job {job} is in {row.state}, not transferring")
            values = progress.advanced(row, tally, percent_complete)
            values |= progress.going_columns(going) if going is not None else {}
            if copy_status is not None:
                values["copy_status"] = copy_status
            await drives.change(connection, row, values)

    async def record_event(
        self,
        what: str,
        *,
        who: str,
        job: JobName | None = None,
        serial: SerialNumber | None = None,
        detail: str = "",
    ) -> None:
        """Writes down what is no move, such as a drive in a bay that no job specifies."""
        async with self._database.write() as connection:
            await self._note(connection, who, job, serial, what, detail)

    async def history(self, name: JobName) -> list[Event]:
        """What happened to the job and its drives, oldest first; raises JobNotFound."""
        async with self._database.read() as connection:
            await jobs.load(connection, name)
            return await events.of_job(connection, name.text)

    async def drive_history(self, serial: SerialNumber) -> list[Event]:
        """What happened to the drive in any job and in none, oldest first."""
        async with self._database.read() as connection:
            return await events.of_serial(connection, serial.normal)

    async def _move_job(self, connection: AsyncConnection, name: JobName, event: JobEvent, who: str) -> Job:
        job_id, job = await jobs.load(connection, name)
        state = move_job(job.state, event)
        await jobs.change(connection, job_id, state=state.value, updated=self._clock())
        await self._note(connection, who, name, None, f"job.{event.name.lower()}", "")
        return (await jobs.load(connection, name))[1]

    async def _follow(self, connection: AsyncConnection, name: JobName, who: str) -> Job:
        job_id, job = await jobs.load(connection, name)
        faulty = not job.cancel_requested and await drives.any_with_errors(connection, job_id)
        moves = list(follow(job.state, [drive.state for drive in job.drives], with_errors=faulty))
        for event, _ in moves:
            await self._note(connection, who, name, None, f"job.{event.name.lower()}", "")
        state = moves[-1][1] if moves else job.state
        await jobs.change(connection, job_id, state=state.value, updated=self._clock())
        return (await jobs.load(connection, name))[1]

    async def _note(
        self,
        connection: AsyncConnection,
        who: str,
        job: JobName | None,
        serial: SerialNumber | None,
        what: str,
        detail: str,
    ) -> None:
        about = (job.text if job else None, serial.normal if serial else None)
        await events.append(connection, Event(self._clock(), who, *about, what, detail))


@asynccontextmanager
async def open_catalog(
    path: Path, key_file: Path, *, clock: Clock = utc_now, busy_timeout_s: float = BUSY_TIMEOUT_S
) -> AsyncIterator[Catalog]:
    """Opens the catalog, making folder (0700), file (0600) and key file (0600) when they are missing.

    Raises StateUnusable when the file cannot be used, is of a newer program, or its key file is
    gone or open to others.
    """
    async with open_database(path, key_file, busy_timeout_s) as (database, box):
        yield Catalog(database, box, clock)
