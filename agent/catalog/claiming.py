"""Drives that one of several stations holds. On a catalog that is not shared there is nothing to claim."""

from __future__ import annotations

from sqlalchemy import select

from agent.catalog import claims, jobs, schema
from agent.catalog.books import Books, needs_note
from agent.catalog.claims import Claim, ClaimShown
from agent.catalog.server import Server
from agent.errors import MoveRefused, SerialNotSpecified
from agent.model.identity import JobName, SerialNumber
from agent.model.job import Job
from agent.model.states import OPEN_DRIVES, PROCESSABLE_JOBS


class Claiming(Books):
    """Claims, each in a transaction of its own."""

    @property
    def server(self) -> Server | None:
        """Where stations share this catalog; None for a file of this machine."""
        return self._database.server

    async def claim_drive(self, server: Server, job: JobName, serial: SerialNumber) -> tuple[Claim, Job]:
        """The drive is this station's to work, and its job is as it stands now.

        Raises DriveBusy while another station holds it, MoveRefused when there is nothing to work on any
        more, JobNotFound and SerialNotSpecified.
        """
        table = schema.drive
        async with self._database.write_rows() as connection:
            claim = await claims.take(connection, server, job, serial)
            job_row, _ = await jobs.load(connection, job)
            row_lock = select(table.c.state).where(
                table.c.job_id == job_row.id, table.c.serial == serial.normal
            )
            row = (await connection.execute(row_lock.with_for_update())).first()
            if row is None:
                raise SerialNotSpecified(f"job {job} does not specify drive {serial}")
            _, found = await jobs.load(connection, job)
            if row.state not in OPEN_DRIVES or found.state not in PROCESSABLE_JOBS:
                raise MoveRefused(f"drive {serial} is in {row.state} by now, and job {job} in {found.state}")
            return claim, found

    async def renew_claim(self, claim: Claim) -> None:
        """For a whole lease from now on. Raises DriveBusy when another station has taken it."""
        async with self._database.write_rows() as connection:
            await claims.renew(connection, claim)

    async def give_up_claim(self, claim: Claim) -> None:
        """Another station may go on at once."""
        async with self._database.write_rows() as connection:
            await claims.give_up(connection, claim)

    async def release_claim(self, serial: SerialNumber, *, who: str, note: str) -> ClaimShown:
        """As it was; its station moves the drive no more. Raises MoveRefused when nobody holds it."""
        note = needs_note(note, "releasing a drive that a station holds")
        async with self._turn(who) as turn:
            found = None
            if self.server is not None:
                found = await claims.release(turn.connection, serial)
            if found is None:
                raise MoveRefused(f"no station holds drive {serial}")
            detail = f"station {found.station} held it; {note}"
            await turn.note("drive.released", JobName.parse(found.job), serial, detail)
            return found

    async def claims(self) -> list[ClaimShown]:
        """Those in force; none on a catalog that is not shared."""
        if self.server is None:
            return []
        async with self._database.read() as connection:
            return await claims.in_force(connection)
