"""When a drive's requests may begin: the account's limit and the caps on bandwidth, as one thing."""

from __future__ import annotations

import asyncio

from agent.transfer.board import Board
from agent.transfer.limiter import Limiter
from agent.transfer.meter import STATION, Meter, of_account, of_job

UNBOUNDED = 1 << 16


class Pace:
    """Of one uploader. Within one event loop."""

    def __init__(
        self, board: Board, hurry: asyncio.Event, *, account: str, job: str, drive: str, connections: int
    ) -> None:
        """``connections`` is the most requests of this drive at once; ``drive`` is nobody else's name.

        While ``hurry`` is set nothing is waited for: what may not begin raises StoreUnreachable.
        """
        self._board = board
        self._limiter = Limiter(board, account, drive, connections, hurry)
        self._meter = Meter(board, (of_job(job), of_account(account), STATION), drive, hurry)

    @classmethod
    def alone(cls, hurry: asyncio.Event) -> Pace:
        """Shared with nobody: it slows down for the service alone."""
        return cls(Board(), hurry, account="-", job="-", drive="-", connections=UNBOUNDED)

    @property
    def limited_by(self) -> str | None:
        """What holds requests up at this moment: ``service``, ``cap``, or None."""
        if self._limiter.is_holding_up and self._limiter.limit:
            return "service"
        return "cap" if self._meter.is_holding_up else None

    @property
    def under_way(self) -> int:
        """Requests of this drive that have begun and not ended."""
        return self._limiter.under_way

    @property
    def limit(self) -> int:
        """Requests at once that the whole account bears, as far as it is known; 0 while there is no limit."""
        return self._limiter.limit

    @property
    def cap(self) -> int:
        """The tightest cap in bytes a second when it was last looked at; 0 while there is none."""
        return int(self._meter.rate or 0)

    async def begin(self, body_bytes: int) -> float:
        """Wait until a request with so many bytes may begin; gives its beginning, for ``end``.

        Raises StateUnusable.
        """
        if body_bytes and not self._meter.may_spend(body_bytes):
            await self._meter.spend(body_bytes)
        return await self._limiter.enter()

    def end(self, begun: float, *, refused: bool = False, retry_after_s: float = 0.0) -> None:
        """A request ended; see ``Limiter.leave``."""
        self._limiter.leave(begun, refused=refused, retry_after_s=retry_after_s)

    def close(self) -> None:
        """Leave the share to others. Nothing is under way."""
        self._limiter.close()
        self._board.close()
