"""Looks at a running transfer, ten times a second, for what holds it up.

It asks those who know, at a cost of about 0.1 % of a core whatever the number of files; nothing is noted
for a file or a request.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Protocol

from agent.blobs.store import BlobStore
from agent.blobs.traffic import traffic_of
from agent.errors import Side
from agent.transfer.bottleneck import Bottleneck, Limit, Look, divided
from agent.transfer.pace import Pace
from agent.transfer.patience import Patience
from agent.transfer.processors import Demand

LOOK_EVERY_S = 0.1
MEASURE_EVERY_S = 1.0
BUSY = 0.85
"""Of a core, or of all of them: more is hardly to be had."""


class Reads(Protocol):
    """Who reads from the drive."""

    @property
    def filling(self) -> int:
        """Reads that were asked for and are not answered."""
        ...


class Gauge:
    """Of one uploader, within its event loop. ``reader_pid`` is None where the reader is no process."""

    def __init__(
        self,
        reads: Reads,
        store: BlobStore,
        pace: Pace,
        patience: Patience,
        connections: int,
        reader_pid: int | None = None,
    ) -> None:
        self._reads, self._pace, self._patience = reads, pace, patience
        self._connections = connections
        self._store = store
        self._bottleneck = Bottleneck()
        self._reader = Demand(reader_pid) if reader_pid is not None else None
        self._own = Demand(os.getpid())
        self._loop_thread = threading.get_native_id()
        self._measured_at = float("-inf")
        self._ended = 0
        self._ended_per_s = 0.0

    @property
    def named(self) -> Limit | None:
        """What holds the transfer up; None when nothing does, or it is not known yet."""
        return self._bottleneck.named

    @property
    def percents(self) -> dict[str, int]:
        """Of the last seconds, how much each held it up."""
        return {
            limit.value: round(share * 100) for limit, share in self._bottleneck.shares.items() if share > 0
        }

    async def keep(self) -> None:
        """Look until cancelled; to run beside the transfer."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self.look()

    def look(self) -> None:
        """Once more."""
        now = asyncio.get_running_loop().time()
        if now - self._measured_at >= MEASURE_EVERY_S:
            self._measure(now)
        if self._own.is_known:
            self._bottleneck.take(self._seen())

    def _seen(self) -> Look:
        reader_cores = self._reader.cores if self._reader is not None else 0.0
        all_cores = reader_cores + self._own.cores
        is_loop_full = self._own.of(self._loop_thread) >= BUSY
        look = Look(
            fills=self._reads.filling,
            requests=self._pace.under_way,
            connections=self._connections,
            held=self._held(),
            is_reader_computing=reader_cores >= BUSY,
            is_cpu_short=is_loop_full or all_cores >= BUSY * (os.cpu_count() or 1),
        )
        stands = traffic_of(self._store)
        if stands is None:
            return look
        waits = divided(
            stands.computing, stands.travelling, stands.awaiting, self._ended_per_s * stands.round_trip_s
        )
        return look._replace(requests=sum(waits), computing=waits[0], travelling=waits[1], awaiting=waits[2])

    def _held(self) -> Limit | None:
        if self._pace.limited_by == Limit.CAP:
            return Limit.CAP
        if self._pace.limited_by is None and not (self._patience.pausing and not self._pace.under_way):
            return None
        # The limit is lowered by requests without an answer, too.
        return Limit.NETWORK if self._patience.hindered_by is Side.NETWORK else Limit.SERVICE

    def _measure(self, now: float) -> None:
        for demand in (self._own, self._reader):
            if demand is not None:
                demand.measure(now)
        stands = traffic_of(self._store)
        if stands is not None:
            self._ended_per_s = max(0, stands.ended - self._ended) / (now - self._measured_at)
            self._ended = stands.ended
        self._measured_at = now
