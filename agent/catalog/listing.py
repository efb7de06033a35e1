"""Lists of jobs: all, or page by page those that somebody asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, or_

from agent.catalog import drives, jobs, schema
from agent.catalog.books import Books
from agent.errors import MalformedInput
from agent.model.identity import JobName, SerialNumber
from agent.model.job import Drive, Job
from agent.model.keys import Credential
from agent.model.states import DriveState, JobState

PAGE_JOBS = 50
MAX_PAGE_JOBS = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class JobQuery:
    """Which jobs; None is any. ``with_unfiled``: those without papers stand in every group."""

    subscription: str | None = None
    resource_group: str | None = None
    state: JobState | None = None
    tracking_number: str | None = None
    with_unfiled: bool = False


ANY_JOB = JobQuery()


@dataclass(frozen=True, slots=True)
class JobPage:
    """``next`` is where the page after this one begins: opaque, and fit for a URL; None on the last."""

    jobs: list[Job]
    next: str | None


class Listing(Books):
    """Jobs and drives, looked at."""

    async def job(self, name: JobName) -> Job:
        """Raises JobNotFound."""
        async with self._database.read() as connection:
            return (await jobs.load(connection, name))[1]

    async def find_jobs(
        self, query: JobQuery = ANY_JOB, *, after: str | None = None, size: int = 100
    ) -> JobPage:
        """Up to ``size`` (1 to 1000) jobs in the order they were created.

        Raises MalformedInput for an ``after`` that no page gave.
        """
        begin = None if after is None else _place(after)
        async with self._database.read() as connection:
            found, last = await jobs.page(
                connection, begin, max(1, min(size, MAX_PAGE_JOBS)), _conditions(query)
            )
        return JobPage(found, None if last is None else _token(last))

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
            job_row, _ = await jobs.load(connection, job)
            row = await drives.load(connection, job_row.id, job, serial)
        return None if row.sealed_key is None else self._box.open(row.sealed_key, job, serial)

    async def credentials(self, job: JobName) -> list[tuple[SerialNumber, Credential | None]]:
        """Of all drives in their order. Raises JobNotFound, and StateUnusable when one does not open."""
        found = await self.job(job)
        return [(drive.serial, await self.credential(job, drive.serial)) for drive in found.drives]


def _conditions(query: JobQuery) -> list[ColumnElement[bool]]:
    table = schema.job
    wanted: list[ColumnElement[bool]] = []
    for column, text in (
        (table.c.subscription, query.subscription),
        (table.c.resource_group, query.resource_group),
    ):
        if text is not None:
            is_there = column == text.lower()
            wanted.append(or_(is_there, table.c.subscription.is_(None)) if query.with_unfiled else is_there)
    if query.state is not None:
        wanted.append(table.c.state == query.state.value)
    if query.tracking_number is not None:
        wanted.append(table.c.tracking_number == query.tracking_number)
    return wanted


def _token(last: tuple[datetime, int]) -> str:
    created, number = last
    return f"{(created - _EPOCH) // timedelta(microseconds=1)}-{number}"


def _place(token: str) -> tuple[datetime, int]:
    parts: list[Any] = token.split("-")
    if len(parts) != 2 or not all(part.isascii() and part.isdecimal() and len(part) <= 18 for part in parts):
        raise MalformedInput(f"{token[:40]!r} is no place in a list of jobs")
    try:
        return _EPOCH + timedelta(microseconds=int(parts[0])), int(parts[1])
    except OverflowError:
        raise MalformedInput(f"{token[:40]!r} is no place in a list of jobs") from None
