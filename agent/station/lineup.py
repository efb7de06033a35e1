"""What a drive waits for before it is worked: room on the state disk, its turn, and in a fleet its lease."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agent.config import Settings
from agent.errors import Side, StateUnusable
from agent.model.concurrency import Place
from agent.station.attempt import Errand
from agent.station.commands import Commands
from agent.station.lease import Lease
from agent.station.pauses import WAITS, told
from agent.station.turns import Turn, Turns
from agent.transfer.room import check_free

LOOK_FOR_ROOM_S = LOOK_FOR_TURN_S = 60.0
LOOK_FOR_LEASE_S = 5.0
LEASE_OVER = "waits for the catalog: this station's claim on the drive may have run out"


class Lineup:
    """Of one drive's visit. Every wait ends when the visit is told to stop."""

    def __init__(self, errand: Errand, commands: Commands, turns: Turns, lease: Lease | None) -> None:
        self._errand, self._commands, self._turns, self._lease = errand, commands, turns, lease
        self._turn: Turn | None = None

    async def lack_of_room(self, settings: Callable[[], Settings], *, patient: bool) -> StateUnusable | None:
        """Waits until there is room for a drive to begin; what is lacking, where nobody is ``patient``.

        To cancel a drive takes none.
        """
        while not (self._commands.is_stopping or self._commands.is_cancelled):
            now = settings()
            try:
                await asyncio.to_thread(check_free, now.state_dir, now.transfer.keep_free_bytes)
            except StateUnusable as error:
                await self._errand.pauses.error(error)
                self._errand.watch({"event": "paused", "error": error.id, "detail": error.detail})
                if not patient:
                    return error
                await self._commands.wait(LOOK_FOR_ROOM_S)
            else:
                return None
        return None

    async def has_turn(self, account: str) -> bool:
        """Waits for this drive's turn to be worked; False when the visit was stopped first."""
        commands = self._commands
        if commands.is_stopping:
            return False
        if self._turn is None:
            device = self._errand.device
            place = Place(device.bay, device.controller)
            self._turn = self._turns.ask(place, account, commands.nudge)
        is_told = False
        while not (self._turn.is_granted or commands.is_cancelled or commands.is_stopping):
            await self._tell_of_wait(self._turns.why(self._turn), is_news=not is_told)
            is_told = True
            await commands.wait(LOOK_FOR_TURN_S)
        commands.heard()
        return not commands.is_stopping

    async def has_lease(self) -> bool:
        """Waits until the lease is good; False when the visit was stopped first. Raises DriveBusy."""
        is_told = False
        while self._lease is not None and not self._commands.is_stopping:
            self._lease.check()
            if self._lease.is_good:
                break
            await self._tell_of_wait(LEASE_OVER, is_news=not is_told)
            is_told = True
            await self._commands.wait(LOOK_FOR_LEASE_S)
        return not self._commands.is_stopping

    def give_turn_back(self) -> None:
        """Others may have it, until it is asked for again. Idempotent."""
        turn, self._turn = self._turn, None
        if turn is not None:
            self._turns.give_back(turn)

    async def _tell_of_wait(self, why: str, *, is_news: bool) -> None:
        self._errand.watch({"event": "waits", "detail": why})
        if is_news:
            self._errand.log.info(WAITS, detail=why)
            next_step = "Nothing to do: it begins by itself."
            await self._errand.pauses.begin(WAITS, told(why, Side.STATION, "Waits", next_step))
