"""Live events for those who look on: moves of jobs and drives, and how transfers go.

The catalog is asked, not the station: so a listener sees the same wherever a job is worked, and a server
without bays has it too. It is asked once for all listeners, and only while there are any.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any

from agent.api.answers import progress_to_json
from agent.catalog import Catalog, Event, JobQuery
from agent.errors import IngestError
from agent.model.job import Drive
from agent.model.states import DriveState, JobState
from agent.telemetry import Log, raised_at

POLL_EVERY_S = 1.0
KEEP_ALIVE_S = 15.0
PAGE_EVENTS = 500
MAX_MISSED = 5000
PAGE_JOBS = 100
MAX_LISTENERS = 64
MAX_QUEUED = 1000
"""A listener that takes nothing for so many tidings is let go; it comes again with the id it knows."""


class TooManyListeners(Exception):
    """There is no room for one more."""


@dataclass(frozen=True, slots=True)
class Moved:
    """An event of the history."""

    event: Event


@dataclass(frozen=True, slots=True)
class Went:
    """A drive that is worked went on; ``body`` is what is told of it."""

    job: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Begun:
    """What is told begins after the event ``after``."""

    after: int


Tiding = Begun | Moved | Went


class Feed:
    """``run`` asks the catalog; ``listen`` gives what comes of it."""

    def __init__(self, catalog: Catalog, log: Log) -> None:
        self._catalog, self._log = catalog, log
        self._queues: set[asyncio.Queue[Tiding | None]] = set()
        self._wanted = asyncio.Event()
        self._closed = False
        self._last: int | None = None
        """The event up to which listeners know; None while there is none of them."""
        self._told: dict[tuple[str, str], Went] = {}

    async def run(self) -> None:
        """Until it is cancelled. What goes wrong once ends nothing: it is logged, and asked again."""
        while True:
            await self._wanted.wait()
            try:
                await self._look()
            except IngestError as error:
                self._log.warning("api.feed", error=error.id, detail=error.detail)
            except Exception as error:  # noqa: BLE001 - a supervisor
                self._log.error("api.feed", error=type(error).__name__, at=raised_at(error))
            await asyncio.sleep(POLL_EVERY_S)

    def close(self) -> None:
        """All listeners come to their end."""
        self._closed = True
        for queue in self._queues:
            _end(queue)

    async def listen(self, after: int | None) -> AsyncGenerator[Tiding | None, None]:
        """From the event ``after`` on, or from now on; None at once, and where nothing was for a while.

        Raises TooManyListeners before anything else.
        """
        with self._joined() as queue:
            yield None
            known = await self._catalog.last_event_id()
            self._last = known if self._last is None else min(self._last, known)
            self._wanted.set()
            if after is None:
                yield Begun(known)
            async with aclosing(self._missed(known if after is None else after, known)) as missed:
                async for event in missed:
                    yield Moved(event)
            for went in [*self._told.values()]:
                yield went
            async for tiding in self._tidings(queue):
                # The catalog is asked for all listeners together, from the first of them on.
                if not isinstance(tiding, Moved) or tiding.event.id > known:
                    yield tiding

    async def _tidings(self, queue: asyncio.Queue[Tiding | None]) -> AsyncIterator[Tiding | None]:
        while True:
            try:
                async with asyncio.timeout(KEEP_ALIVE_S):
                    tiding = await queue.get()
            except TimeoutError:
                yield None
                continue
            if tiding is None:
                return
            yield tiding

    async def _missed(self, after: int, until: int) -> AsyncGenerator[Event, None]:
        """Of very many the newest. A page at a time: many listeners may miss much."""
        begin = max(after, until - MAX_MISSED)
        while begin < until and (page := await self._catalog.events_after(begin, limit=PAGE_EVENTS)):
            for event in page:
                if event.id <= until:
                    yield event
            begin = page[-1].id

    @contextmanager
    def _joined(self) -> Iterator[asyncio.Queue[Tiding | None]]:
        if len(self._queues) >= MAX_LISTENERS or self._closed:
            raise TooManyListeners
        queue: asyncio.Queue[Tiding | None] = asyncio.Queue(MAX_QUEUED)
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)
            if not self._queues:
                self._wanted.clear()
                self._last, self._told = None, {}

    async def _look(self) -> None:
        if self._last is None:
            return
        for event in await self._catalog.events_after(self._last, limit=PAGE_EVENTS):
            self._last = event.id
            self._tell(Moved(event))
        going = {(told.job, told.body["drive"]): told async for told in self._going()}
        for key, went in going.items():
            if self._told.get(key) != went:
                self._tell(went)
        self._told = going

    async def _going(self) -> AsyncIterator[Went]:
        after: str | None = None
        while True:
            query = JobQuery(state=JobState.TRANSFERRING)
            page = await self._catalog.find_jobs(query, after=after, size=PAGE_JOBS)
            for job in page.jobs:
                for drive in filter(_is_transferring, job.drives):
                    yield Went(str(job.name), progress_to_json(job, drive))
            after = page.next
            if after is None:
                return

    def _tell(self, tiding: Tiding) -> None:
        for queue in [*self._queues]:
            if queue.full():
                self._queues.discard(queue)
                _end(queue)
            else:
                queue.put_nowait(tiding)


def _is_transferring(drive: Drive) -> bool:
    return drive.state is DriveState.TRANSFERRING


def _end(queue: asyncio.Queue[Tiding | None]) -> None:
    """Instead of the oldest that still waits, if there is no room."""
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(None)
