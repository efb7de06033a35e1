"""The catalog of one station's hold on one drive, which goes on while the server is away.

What is to be told of the drive is kept then, in order, and written when the server is back. How far it is
need not be kept: the next report says it. Moves are refused once another station holds the drive.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from agent.catalog import claims
from agent.catalog.catalog import Catalog
from agent.catalog.claims import Claim
from agent.catalog.connection import Connection
from agent.catalog.turn import Turn
from agent.errors import StateUnusable
from agent.model.going import Going
from agent.model.identity import JobName, SerialNumber
from agent.model.tally import Tally

AWAY_S = 5.0
"""So long is a server that did not answer not asked again for reports: each may wait for as long in vain."""
MAX_KEPT = 1000
"""Of one drive; the oldest are lost first, and that is told."""


@dataclass(frozen=True, slots=True)
class _Kept:
    what: str
    who: str
    job: JobName | None
    serial: SerialNumber | None
    detail: str


class KeepingCatalog(Catalog):
    """Made once a hold. What reads raises StateUnusable as ever."""

    def __init__(self, catalog: Catalog, claim: Claim) -> None:
        super().__init__(catalog._database, catalog._box, catalog._clock, catalog._origin)
        self.claim = claim
        self._unclaimed = catalog
        self._kept: deque[_Kept] = deque()
        # The beat of the lease and a move of the visit write at the same moment.
        self._telling = asyncio.Lock()
        self._lost = 0
        self._ask_again_at = 0.0

    @property
    def kept(self) -> int:
        """How many events wait to be written."""
        return len(self._kept)

    async def record_event(
        self,
        what: str,
        *,
        who: str,
        job: JobName | None = None,
        serial: SerialNumber | None = None,
        detail: str = "",
    ) -> None:
        """Now or later. It needs no claim: that it happened stays true."""
        if not self._kept:
            with self._asked() as is_worth_it:
                if is_worth_it:
                    await self._unclaimed.record_event(what, who=who, job=job, serial=serial, detail=detail)
                    return
        if len(self._kept) >= MAX_KEPT:
            self._kept.popleft()
            self._lost += 1
        late = f"{detail} (at {self._clock():%Y-%m-%d %H:%M:%S} UTC, told late: the catalog was away)"
        self._kept.append(_Kept(what, who, job, serial, late.strip()))

    async def record_progress(
        self,
        job: JobName,
        serial: SerialNumber,
        tally: Tally,
        percent_complete: int,
        copy_status: str | None,
        going: Going | None = None,
    ) -> None:
        """Now or not at all. Raises DriveBusy when another station holds the drive."""
        with self._asked() as is_worth_it:
            if is_worth_it:
                await super().record_progress(job, serial, tally, percent_complete, copy_status, going)

    @contextmanager
    def _asked(self) -> Iterator[bool]:
        """Whether the server may be there. When it is not after all, that is no error inside."""
        try:
            yield time.monotonic() >= self._ask_again_at
        except StateUnusable:
            self._ask_again_at = time.monotonic() + AWAY_S

    async def write_kept(self) -> None:
        """What was kept, in order. Raises StateUnusable while the server is away."""
        async with self._telling:
            await self._write_in_order()

    async def _write_in_order(self) -> None:
        while self._kept:
            one = self._kept[0]
            await self._unclaimed.record_event(
                one.what, who=one.who, job=one.job, serial=one.serial, detail=one.detail
            )
            # While it was written it may have been given up for a newer one.
            if self._kept and self._kept[0] is one:
                self._kept.popleft()
        if self._lost:
            lost, self._lost = self._lost, 0
            detail = f"{lost} events before were not kept while the catalog was away"
            await self._unclaimed.record_event(
                "events.lost", who="station", job=self.claim.job, serial=self.claim.serial, detail=detail
            )

    @asynccontextmanager
    async def _turn(self, who: str) -> AsyncIterator[Turn]:
        await self.write_kept()
        async with super()._turn(who) as turn:
            await claims.hold(turn.connection, self.claim)
            yield turn

    @asynccontextmanager
    async def _rows(self) -> AsyncIterator[Connection]:
        async with super()._rows() as connection:
            await claims.hold(connection, self.claim)
            yield connection
