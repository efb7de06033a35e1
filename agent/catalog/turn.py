"""One transaction in which somebody changes something, and what is written down of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agent.catalog import events
from agent.catalog.connection import Connection
from agent.catalog.events import Event
from agent.catalog.keybox import KeyBox
from agent.model.identity import JobName, SerialNumber
from agent.model.waiting import Notice

NOTICE = "notice."
"""How ``what`` of an event begins that operators are to be told of."""


@dataclass(frozen=True, slots=True)
class Turn:
    """``now`` is the time of all that is done in it. ``who`` does it, and ``origin`` says from where."""

    connection: Connection
    box: KeyBox
    now: datetime
    who: str
    origin: str

    async def note(
        self,
        what: str,
        job: JobName | None = None,
        serial: SerialNumber | None = None,
        detail: str = "",
        *,
        was: str | None = None,
        now: str | None = None,
    ) -> None:
        """Into the history. ``was`` and ``now`` are the states of a move."""
        about = (job.text if job else None, serial.normal if serial else None)
        told = Event(self.now, self.who, *about, what, detail, self.origin, was, now)
        await events.append(self.connection, self.box, told)

    async def notice(
        self, notice: Notice, job: JobName | None = None, serial: SerialNumber | None = None, detail: str = ""
    ) -> None:
        """Something that operators are to be told of."""
        await self.note(f"{NOTICE}{notice.value}", job, serial, detail)
