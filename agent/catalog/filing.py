"""What a customer does: file a job, change it, ship it, cancel it, delete it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agent.catalog import jobs, rows
from agent.catalog.books import Books
from agent.catalog.drive_moves import skip_copies
from agent.catalog.job_moves import follow, job_event, refuse_late
from agent.catalog.turn import Turn
from agent.errors import MoveRefused
from agent.model.identity import JobName
from agent.model.job import Job, JobChanges, JobSpec
from agent.model.papers import NO_PAPERS, Papers, wire_name
from agent.model.states import JobEvent, JobState
from agent.model.waiting import due_on_entering

BY_HAND = "brought by hand: no package, no return address"
_PAPERS = ("tags", "return_address", "return_shipping", "delivery_package")


class Filing(Books):
    """Jobs as customers ask for them."""

    async def create_job(
        self, spec: JobSpec, *, ship: bool, who: str, papers: Papers = NO_PAPERS, by_hand: bool = True
    ) -> Job:
        """In Creating, or already in Shipping.

        Raises JobExists, SerialConflict, MalformedInput, and MoveRefused as ``ship_job`` does.
        """
        async with self._turn(who) as turn:
            await jobs.create(turn.connection, spec, papers, turn.box, turn.now)
            await turn.note("job.create", spec.name, now=JobState.CREATING.value)
            if ship:
                await _ship(turn, spec.name, by_hand=by_hand)
            return (await jobs.load(turn.connection, spec.name))[1]

    async def replace_job(self, spec: JobSpec, *, who: str, papers: Papers, ship: bool = False) -> Job:
        """Asks for something else under the same name, and keeps since when the job is there.

        A drive without a credential keeps the one that is stored for its serial. Raises JobNotFound,
        MoveRefused once the job is shipped, SerialConflict, MalformedInput; with ``ship`` also MoveRefused
        when the job lacks its delivery package or return address, and nothing of it is replaced then.
        """
        async with self._turn(who) as turn:
            row, job = await jobs.load(turn.connection, spec.name)
            refuse_late(job, JobEvent.UPDATE_DRIVES)
            await jobs.replace_spec(turn.connection, row.id, spec, papers, turn.box, turn.now)
            job = await job_event(turn, spec.name, JobEvent.UPDATE_DRIVES, _serials(spec), **_anew(turn, job))
            return await _ship(turn, spec.name, by_hand=False) if ship else job

    async def update_job(self, name: JobName, changes: JobChanges, *, who: str, note: str = "") -> Job:
        """All of the changes or none; what is as asked already is left. In Creating its time begins anew.

        Raises JobNotFound, MoveRefused for a change that comes too late, SerialConflict, MalformedInput.
        """
        async with self._turn(who) as turn:
            row, job = await jobs.load(turn.connection, name)
            if job.state is JobState.CREATING:
                await jobs.change(turn.connection, row.id, updated=turn.now, **_anew(turn, job))
                await turn.note("job.update", name, None, "its two weeks begin anew")
            await _change_papers(turn, job, changes)
            await _change_options(turn, job, changes)
            if changes.drives is not None:
                await _change_drives(turn, row.id, job, changes)
            if changes.cancel:
                await _cancel(turn, name, note)
            if changes.ship:
                await _ship(turn, name, by_hand=False, note=note)
            return (await jobs.load(turn.connection, name))[1]

    async def ship_job(self, name: JobName, who: str, *, by_hand: bool | None = None, note: str = "") -> Job:
        """Creating to Shipping; nothing for a job that is shipped already.

        ``by_hand``: the drives are brought, so that there is no package. None: so they are if the job was
        filed at the station and has no package. Raises JobNotFound, and MoveRefused when the job has
        ended, or lacks its delivery package or return address.
        """
        async with self._turn(who) as turn:
            return await _ship(turn, name, by_hand=by_hand, note=note)

    async def cancel_job(self, name: JobName, who: str, note: str = "") -> Job:
        """Sets the flag, once; drives that are here and not begun end at once, without a copy.

        Raises JobNotFound, and MoveRefused when it is too late.
        """
        async with self._turn(who) as turn:
            return await _cancel(turn, name, note)

    async def delete_job(self, name: JobName, *, who: str, note: str = "") -> None:
        """Its history stays. Raises JobNotFound, and MoveRefused while drives are on their way or here."""
        async with self._turn(who) as turn:
            await job_event(turn, name, JobEvent.DELETE, note)


async def _ship(turn: Turn, name: JobName, *, by_hand: bool | None, note: str = "") -> Job:
    _, job = await jobs.load(turn.connection, name)
    if by_hand is None:
        by_hand = job.papers.subscription is None and job.papers.delivery_package is None
    if job.state is JobState.CREATING and not by_hand:
        _refuse_without_papers(job)
    why = f"{BY_HAND}; {note}" if by_hand and note else BY_HAND if by_hand else note
    return await job_event(turn, name, JobEvent.SHIP, why)


def _refuse_without_papers(job: Job) -> None:
    parts = {"deliveryPackage": job.papers.delivery_package, "returnAddress": job.papers.return_address}
    if missing := [name for name, part in parts.items() if part is None]:
        raise MoveRefused(f"job {job.name} cannot ship yet: it has no {' and no '.join(missing)}")


async def _cancel(turn: Turn, name: JobName, note: str) -> Job:
    _, job = await jobs.load(turn.connection, name)
    if job.cancel_requested:
        return job
    await job_event(turn, name, JobEvent.CANCEL, note, cancel_requested=True)
    await skip_copies(turn, name)
    return await follow(turn, name)


async def _change_papers(turn: Turn, job: Job, changes: JobChanges) -> None:
    given = {name: value for name in _PAPERS if (value := getattr(changes, name)) is not None}
    new = {name: value for name, value in given.items() if value != getattr(job.papers, name)}
    if not new:
        return
    columns = rows.papers_columns(replace(job.papers, **new))
    what = ", ".join(wire_name(name) for name in new)
    await job_event(turn, job.name, JobEvent.UPDATE_PAPERS, what, **columns)


async def _change_options(turn: Turn, job: Job, changes: JobChanges) -> None:
    columns: dict[str, Any] = {}
    if changes.log_level not in (None, job.log_level):
        columns["log_level"] = changes.log_level
    if changes.backup_manifest not in (None, job.backup_manifest):
        columns["backup_manifest"] = changes.backup_manifest
    if columns:
        what = ", ".join(f"{wire_name(name)} {value}" for name, value in columns.items())
        await job_event(turn, job.name, JobEvent.UPDATE_OPTIONS, what, **columns)


async def _change_drives(turn: Turn, job_id: int, job: Job, changes: JobChanges) -> None:
    assert changes.drives is not None
    spec = JobSpec(
        name=job.name,
        drives=changes.drives,
        destination=job.destination,
        allow_unencrypted=job.allow_unencrypted,
        upload_streams=job.upload_streams,
        treatment=job.treatment,
        keeps_keys=True,
    )
    refuse_late(job, JobEvent.UPDATE_DRIVES)
    await jobs.replace_drives(
        turn.connection, job_id, job.name, spec.drives, turn.box, spec.allow_unencrypted
    )
    await job_event(turn, job.name, JobEvent.UPDATE_DRIVES, _serials(spec))


def _serials(spec: JobSpec) -> str:
    return f"drives {', '.join(one.serial.shown for one in spec.drives)}"


def _anew(turn: Turn, job: Job) -> dict[str, Any]:
    """The time of a job in Creating begins anew, unless operators said that it is kept longer."""
    due = due_on_entering(JobState.CREATING, turn.now, None, awaits=True)
    return {"due": max(due, job.due) if due is not None and job.due is not None else due}
