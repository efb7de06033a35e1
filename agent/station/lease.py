"""A station's hold on a drive in a fleet: renewed while it works, and let go before it may have run out.

Nothing is asked of the two clocks but that they run alike. A lease counts from before it was asked for, by a
clock that goes on while the machine sleeps; so this station takes it for over before the server does.
"""

from __future__ import annotations

import asyncio
import fcntl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from agent.catalog.catalog import Catalog
from agent.catalog.claims import Claim
from agent.catalog.keeping import KeepingCatalog
from agent.errors import DriveBusy, IngestError, StateUnusable
from agent.model.identity import SerialNumber
from agent.model.job import Job
from agent.station.places import hold_of
from agent.station.toldlog import told_fields
from agent.telemetry import Log
from agent.transfer.pair import STOP_TIMEOUT_S

SETTLE_S = STOP_TIMEOUT_S + 15.0
"""A pair that is told to stop has ended by then, if need be by force, and what it sent has arrived or not."""
BEATS = 5
"""Of a lease, so that some may fail."""
LONGEST_BEAT_S = 60.0


def machine_seconds() -> float:
    """Seconds that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """On one drive. ``catalog`` is what its visit writes to."""

    def __init__(
        self,
        catalog: Catalog,
        claim: Claim,
        asked_at: float,
        log: Log,
        *,
        lock: BinaryIO | None = None,
        settle_s: float = SETTLE_S,
        seconds: Callable[[], float] = machine_seconds,
    ) -> None:
        """``lock`` keeps other processes of this station away; it is closed at the end."""
        self._unclaimed, self._claim, self._log, self._lock = catalog, claim, log, lock
        self.catalog = KeepingCatalog(catalog, claim)
        self._seconds, self._lease_s, self._settle_s = seconds, claim.server.lease_s, settle_s
        self._over_at = asked_at + self._lease_s
        self._lost: DriveBusy | None = None
        self._is_away = False
        self._is_let_go = False

    @property
    def is_good(self) -> bool:
        """Whether work may begin: it would be settled before another station could take the drive."""
        return self._lost is None and self._seconds() < self._over_at - self._settle_s

    def check(self) -> None:
        """Raises DriveBusy when another station has taken the drive."""
        if self._lost is not None:
            raise DriveBusy(self._lost.detail)

    @asynccontextmanager
    async def kept(self, let_go: Callable[[], None]) -> AsyncIterator[None]:
        """Renew it meanwhile, and give it up at the end.

        ``let_go`` is called, once for each time, when it is not good any more.
        """
        beating = asyncio.create_task(self._beat(let_go))
        try:
            yield
        finally:
            beating.cancel()
            with suppress(asyncio.CancelledError):
                await beating
            await self._give_up()
            if self._lock is not None:
                self._lock.close()

    async def _beat(self, let_go: Callable[[], None]) -> None:
        warning = self._warn_later(let_go)
        try:
            while True:
                await asyncio.sleep(min(self._lease_s / BEATS, LONGEST_BEAT_S))
                if await self._is_renewed():
                    warning.cancel()
                    self._is_let_go = False
                    warning = self._warn_later(let_go)
                elif not self.is_good:
                    # While the machine slept the loop's clock stood still, and the warning is late.
                    self._let_go_once(let_go)
                if self._lost is not None:
                    return
        finally:
            warning.cancel()

    def _warn_later(self, let_go: Callable[[], None]) -> asyncio.TimerHandle:
        left_s = self._over_at - self._settle_s - self._seconds()
        return asyncio.get_running_loop().call_later(max(0.0, left_s), self._let_go_once, let_go)

    def _let_go_once(self, let_go: Callable[[], None]) -> None:
        if not self._is_let_go:
            self._is_let_go = True
            let_go()

    async def _is_renewed(self) -> bool:
        asked_at = self._seconds()
        try:
            await self._unclaimed.renew_claim(self._claim)
            self._over_at = asked_at + self._lease_s
            await self.catalog.write_kept()
        except DriveBusy as error:
            self._lost = error
            self._log.error("claim.lost", **told_fields(error))
            return False
        except StateUnusable as error:
            if not self._is_away:
                self._log.warning("catalog.away", lease_left_s=round(self._left_s()), **told_fields(error))
            self._is_away = True
            return False
        if self._is_away:
            self._log.info("catalog.back")
        self._is_away = False
        return True

    def _left_s(self) -> float:
        return max(0.0, self._over_at - self._seconds())

    async def _give_up(self) -> None:
        """What cannot be written now is lost; the claim runs out by itself."""
        try:
            await self.catalog.write_kept()
            await self._unclaimed.give_up_claim(self._claim)
        except IngestError as error:
            self._log.warning("claim.kept", events_lost=self.catalog.kept, **told_fields(error))


async def take_lease(
    catalog: Catalog, state_dir: Path, job: Job, serial: SerialNumber, log: Log
) -> tuple[Job, Catalog, Lease | None]:
    """The job as it stands now, the catalog to write to, and the lease: none where no stations share it.

    A claim that a process of this station left is taken over, for a lock says whether that one still runs.

    Raises DriveBusy while another station or process holds the drive, and as ``Catalog.claim_drive``.
    """
    if catalog.server is None:
        return job, catalog, None
    lock = await asyncio.to_thread(_locked, hold_of(state_dir, serial), serial)
    try:
        asked_at = machine_seconds()
        claim, found = await catalog.claim_drive(catalog.server, job.name, serial)
    except BaseException:
        lock.close()
        raise
    bound = log.bind(drive=serial.shown, job=str(found.name))
    lease = Lease(catalog, claim, asked_at, bound, lock=lock)
    return found, lease.catalog, lease


def _locked(path: Path, serial: SerialNumber) -> BinaryIO:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as error:
        raise StateUnusable(f"{path} cannot be made: {error.strerror}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise DriveBusy(f"another process of this station works on drive {serial}") from None
    return file
