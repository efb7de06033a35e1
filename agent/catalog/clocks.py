"""What happens when the clock of a job runs out. See ``agent.model.waiting`` for the times."""

from __future__ import annotations

from sqlalchemy import select

from agent.catalog import extras, jobs, schema
from agent.catalog.books import Books
from agent.catalog.drive_moves import drive_event
from agent.catalog.job_moves import follow, job_event
from agent.catalog.turn import Turn
from agent.model.identity import JobName
from agent.model.job import Job
from agent.model.states import DriveEvent, DriveState, JobEvent, JobState
from agent.model.waiting import ANSWER_AWAITED, Notice, event_at_due

AT_ONCE = 100
"""Jobs in one look; the rest has its turn in the next one."""

NOTHING_CAME = "two weeks after it was shipped nothing of it has arrived"


class Clocks(Books):
    """Time that passes for jobs and for drives of none."""

    async def look_at_clocks(self, *, who: str = "clock") -> int:
        """Does what is due, each job in a transaction of its own; gives how many there were.

        At most AT_ONCE: a caller that gets as many looks again.
        """
        now, table = self._clock(), schema.job
        query = select(table.c.name).where(table.c.due <= now).order_by(table.c.due).limit(AT_ONCE)
        async with self._database.read() as connection:
            names = [JobName.parse(name) for name in (await connection.execute(query)).scalars()]
            is_extra_due = (
                await connection.execute(select(schema.extra.c.id).where(schema.extra.c.due <= now).limit(1))
            ).first() is not None
        for name in names:
            async with self._turn(who) as turn:
                await _run_out(turn, name)
        if not is_extra_due:
            return len(names)
        async with self._turn(who) as turn:
            return len(names) + await extras.tell_unclaimed(turn, AT_ONCE)


async def _run_out(turn: Turn, name: JobName) -> None:
    query = select(schema.job).where(schema.job.c.name == name.text, schema.job.c.due <= turn.now)
    row = (await turn.connection.execute(query)).first()
    if row is None:
        # Somebody was faster: it is deleted, or its clock was set anew.
        return
    _, job = await jobs.load(turn.connection, name)
    event = event_at_due(job.state, is_told=row.told is not None)
    match event:
        case JobEvent.EXPIRE:
            await turn.notice(Notice.EXPIRED, name, None, f"its time in {job.state} is over; it is deleted")
            await job_event(turn, name, event, f"{job.state} since {job.updated:%Y-%m-%d}")
        case JobEvent.UNANSWERED:
            await job_event(turn, name, event, "nobody answered, and nothing of it has arrived")
            await turn.notice(Notice.UNANSWERED, name, None, "closed: nothing of it came, nobody answered")
        case _:
            await _late(turn, job)


async def _late(turn: Turn, job: Job) -> None:
    """Drives that did not come are given up; the job goes on without them, or waits for an answer."""
    missing = [drive.serial for drive in job.drives if drive.state is DriveState.SPECIFIED]
    for serial in missing:
        await drive_event(turn, job.name, serial, DriveEvent.MISS, "two weeks late")
    if not missing and job.state is not JobState.SHIPPING:
        row, _ = await jobs.load(turn.connection, job.name)
        await jobs.change(turn.connection, row.id, due=None)
        return
    shown = ", ".join(serial.shown for serial in missing)
    await job_event(turn, job.name, JobEvent.LATE, f"missing: {shown}" if shown else NOTHING_CAME, due=None)
    after = await follow(turn, job.name)
    if after.state is JobState.SHIPPING:
        row, _ = await jobs.load(turn.connection, job.name)
        await jobs.change(turn.connection, row.id, told=turn.now, due=turn.now + ANSWER_AWAITED)
        await turn.notice(Notice.LATE, job.name, None, NOTHING_CAME)
    elif not job.cancel_requested:
        await turn.notice(Notice.MISSING, job.name, None, f"it goes on without {shown}")
