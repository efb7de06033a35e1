"""What a station does: drives arrive, are transferred, and end."""

from __future__ import annotations

from agent.catalog import drives, jobs, progress
from agent.catalog.books import Books
from agent.catalog.drive_moves import Told, drive_event
from agent.catalog.job_moves import follow
from agent.errors import MoveRefused
from agent.model.going import Going
from agent.model.identity import JobName, SerialNumber
from agent.model.job import Job
from agent.model.states import DriveEvent, DriveState
from agent.model.tally import Tally
from agent.model.verification import VerifiedCounts


class Working(Books):
    """Drives as the station works them."""

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
        told = Told(
            copy_status,
            tally,
            percent_complete,
            error_log_uri,
            verbose_log_uri,
            manifest_uri,
            verified,
            going,
        )
        async with self._turn(who) as turn:
            await drive_event(turn, job, serial, event, detail, told)
            return await follow(turn, job)

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
        async with self._rows() as connection:
            job_row, _ = await jobs.load(connection, job)
            row = await drives.load(connection, job_row.id, job, serial, for_change=True)
            if row.state != DriveState.TRANSFERRING:
                raise MoveRefused(f"drive {serial} of job {job} is in {row.state}, not transferring")
            values = progress.advanced(row, tally, percent_complete)
            values |= progress.going_columns(going) if going is not None else {}
            if copy_status is not None:
                values["copy_status"] = copy_status
            await drives.change(connection, row, values)
            _, found = await jobs.load(connection, job)
            await jobs.reach(connection, job_row.id, found.percent_complete)

    async def record_event(
        self,
        what: str,
        *,
        who: str,
        job: JobName | None = None,
        serial: SerialNumber | None = None,
        detail: str = "",
    ) -> None:
        """Writes down what is no move, such as what a drive's condition is."""
        async with self._turn(who) as turn:
            await turn.note(what, job, serial, detail)
