"""Moves the items of a journal: sweeps over the drive, many requests to the store.

The feeder hands the items to the read plan, which gives their pieces in the order in which they lie
on the drive, and asks the reader for them as slots get free; a task a piece verifies and sends what
was read. So the drive is read once and forward, while requests end in any order. What cannot be read
is put off: good data comes first, and a sweep of its own works on the rest.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from itertools import accumulate

from agent.model.treatment import AS_USUAL, Treatment
from agent.transfer.books import Books
from agent.transfer.carrier import Carrier, Recognition
from agent.transfer.items import Item, Piece, block_bytes_for
from agent.transfer.journal import Journal
from agent.transfer.link import Gathered, ReaderLink, Source, VolumeRange
from agent.transfer.ring import SLOT_BYTES, slots_for
from agent.transfer.sender import Sender
from agent.transfer.sides import Dressed, Wardrobe
from agent.transfer.verify import ReadBack
from agent.transfer.work import Cargo, Hold, Load, Work
from agent.volume.plan import Part, ReadPlan, Request, Want

OPEN_ITEMS = 64
"""Blobs of one request under way at once; also the bound on blobs that need no slot."""

OPEN_WANTS = 1024
"""Items that the read plan looks over at once."""

AHEAD = 4
"""Requests whose blobs are being placed while the ones before them are read."""

MAX_GATHERED_BYTES, MOST_GATHERED = 64 * 1024, 128
"""Of a file that is read together with others, and how many those are."""

MAX_GATHERED_EXTENTS = 256
"""Of such a file: one message tells those of all."""

FEWEST_TOGETHER, MOST_TOGETHER = 4, 32
"""Small files of one request that one connection puts one after the other: cheaper for each, not slower."""

MAX_SWEEPS = 8
"""Of the same items. One is the rule, two where sectors are bad, more where others write the same names."""


class Mover:
    """Moves everything that a journal has pending.

    ``marker_of`` tells our own blobs (see ``items.marker``). ``stop`` set: what is under way is
    settled and nothing more is begun. ``window_bytes``: small files that lie in so many bytes are read
    together, None: in as many as fit.
    """

    def __init__(
        self,
        link: ReaderLink,
        sender: Sender,
        journal: Journal,
        books: Books,
        *,
        marker_of: Callable[[Item], str],
        block_bytes: int,
        volume_bytes: int,
        stop: asyncio.Event,
        treatment: Treatment = AS_USUAL,
        window_bytes: int | None = None,
    ) -> None:
        self.link, self.sender, self.books, self.stop = link, sender, books, stop
        self._journal = journal
        self._wardrobe = Wardrobe(journal, marker_of, treatment)
        self._block_bytes = block_bytes
        self.readback = ReadBack(sender, stop)
        self.recognition = Recognition()
        self.volume_bytes = volume_bytes
        self.window_bytes = window_bytes or SLOT_BYTES

    async def move(self) -> None:
        """Returns when all is moved, or when it was told to stop and what was under way is settled.

        Raises, in a group, what ends or pauses the whole transfer: StoreUnreachable, StoreRefused,
        DeviceUnavailable, WorkerLost.
        """
        # What overwrites goes first, and alone: it must not meet a blob that this drive has just made.
        for overwriting in (True, False):
            for number in range(MAX_SWEEPS):
                await self.link.rescue(retrying=number > 0)
                sweep = _Sweep(self, overwriting=overwriting, number=number)
                await sweep.run()
                if self.stop.is_set():
                    return
                if not sweep.carrier.put_off:
                    break
                # The next sweep takes what the journal has pending.
                await self.books.flush()

    def page(self, overwriting: bool, after: tuple[int, int]) -> list[Dressed]:
        """The next items in their order on the drive; blocks."""
        items = self._journal.pending(after, overwriting=overwriting)
        return [*map(self._wardrobe.dress, items)]

    def work(self, dressed: Dressed) -> Work:
        """What is to be done for an item."""
        return Work(dressed, block_bytes_for(dressed.item.length, self._block_bytes))


class _Sweep:
    """Once over the drive, for everything pending or for what the sweep before put off."""

    def __init__(self, mover: Mover, *, overwriting: bool, number: int) -> None:
        self._mover, self._overwriting = mover, overwriting
        self._link, self._stop = mover.link, mover.stop
        self._is_rescue = number > 0
        self.carrier = Carrier(
            mover.link,
            mover.sender,
            mover.books,
            mover.readback,
            mover.recognition,
            is_last=number == MAX_SWEEPS - 1,
        )
        self._plan = ReadPlan(OPEN_WANTS, mover.window_bytes, volume_bytes=mover.volume_bytes)
        self._open: dict[int, Work] = {}
        self._room = asyncio.Semaphore(OPEN_ITEMS)
        self._gathered: list[Part] = []
        self._gathered_bytes = 0
        self._has_asked = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group, aclosing(self._requests(group)) as requests:
            ahead: deque[Request] = deque()
            async for request in requests:
                if self._stop.is_set():
                    return
                self._place(group, request)
                ahead.append(request)
                if len(ahead) > AHEAD:
                    await self._order(group, ahead.popleft())
            while ahead and not self._stop.is_set():
                await self._order(group, ahead.popleft())
            if not self._stop.is_set():
                await self._order_gathered(group)

    async def _requests(self, group: asyncio.TaskGroup) -> AsyncGenerator[Request, None]:
        """The plan, fed as it empties."""
        async with aclosing(self._items()) as items:
            is_fed = False
            while True:
                is_fed = is_fed or await self._feed(group, items)
                request = self._plan.take()
                if request is not None:
                    yield request
                elif is_fed:
                    return

    async def _feed(self, group: asyncio.TaskGroup, items: AsyncGenerator[Dressed, None]) -> bool:
        """Until the plan is full; whether there is no more to come."""
        while not self._plan.is_full:
            dressed = await anext(items, None)
            if dressed is None:
                return True
            await self._admit(group, self._mover.work(dressed))
        return False

    async def _items(self) -> AsyncGenerator[Dressed, None]:
        after = (-1, -1)
        while page := await asyncio.to_thread(self._mover.page, self._overwriting, after):
            for dressed in page:
                yield dressed
            last = page[-1].item
            after = (last.stream.first_offset if last.stream else 0, last.seq)

    async def _admit(self, group: asyncio.TaskGroup, work: Work) -> None:
        """To the plan, or straight on where there is nothing to read."""
        if work.left:
            self._open[work.item.seq] = work
            self._plan.add(Want(work.item.seq, work.stream, work.pieces, in_order=work.check.hashes))
            return
        await self._room.acquire()
        if work.is_whole:
            group.create_task(self._whole(work, None, None))
        else:
            work.placing = group.create_task(self._unread(work))

    def _place(self, group: asyncio.TaskGroup, request: Request) -> None:
        """Begin to ask where the blobs of a request go, while the requests before it are read."""
        for part in request.parts:
            work = self._open[part.key]
            if work.placing is not None:
                continue
            if not work.is_whole:
                work.placing = group.create_task(self.carrier.place(work))
            elif self._mover.recognition.is_likely:
                work.placing = group.create_task(self.carrier.recognise(work))

    async def _order(self, group: asyncio.TaskGroup, request: Request) -> None:
        """Ask the reader for a request, and send its parts on as they come.

        Small files that are to be read through the file system wait for their neighbours.
        """
        if not self._is_rescue and self._may_wait(request):
            if (
                self._gathered_bytes + request.length > self._mover.window_bytes
                or len(self._gathered) == MOST_GATHERED
            ):
                await self._order_gathered(group)
            self._gathered.append(request.parts[0])
            self._gathered_bytes += request.length
            return
        await self._order_gathered(group)
        wanted = await self._all_wanted(request.parts)
        if wanted and request.is_direct and not self._is_rescue:
            parts = [(work, piece, at) for (work, piece), at in wanted]
            await self._fill_one(group, VolumeRange(request.start), request.length, parts)
            return
        for (work, piece), _ in wanted:
            await self._order_alone(group, work, piece)

    def _may_wait(self, request: Request) -> bool:
        if request.is_direct or request.length > MAX_GATHERED_BYTES:
            return False
        return len(self._open[request.parts[0].key].stream.extents) <= MAX_GATHERED_EXTENTS

    async def _order_gathered(self, group: asyncio.TaskGroup) -> None:
        parts, self._gathered, self._gathered_bytes = self._gathered, [], 0
        wanted = await self._all_wanted(parts)
        whole = [(work, piece) for (work, piece), _ in wanted if work.is_whole]
        for (work, piece), _ in wanted:
            if not work.is_whole or len(whole) == 1:
                await self._order_alone(group, work, piece)
        if len(whole) > 1:
            ends = list(accumulate(piece.length for _, piece in whole))
            streams = [(work.stream, piece.length) for work, piece in whole]
            placed = [(*each, end - each[1].length) for each, end in zip(whole, ends, strict=True)]
            await self._fill_one(group, Gathered(streams), ends[-1], placed)

    async def _fill_one(
        self, group: asyncio.TaskGroup, source: Source, length: int, parts: list[tuple[Work, Piece, int]]
    ) -> None:
        """Fill one slot for several pieces, each at its place in it."""
        slots = await self._link.pool.take(1)
        filled = await self._link.fill(source, 0, length, slots)
        hold = Hold(self._link.pool, slots, len(parts))
        await self._send_all(group, [Load(work, piece, Cargo(hold, at, filled)) for work, piece, at in parts])

    async def _order_alone(self, group: asyncio.TaskGroup, work: Work, piece: Piece) -> None:
        slots = await self._link.pool.take(slots_for(piece.length))
        source = work.stream if work.is_whole else work.sid
        filled = await self._link.fill(source, piece.offset, piece.length, slots)
        await self._send(group, Load(work, piece, Cargo(Hold(self._link.pool, slots, 1), 0, filled)))

    async def _all_wanted(self, parts: Iterable[Part]) -> list[tuple[tuple[Work, Piece], int]]:
        return [(found, part.offset) for part in parts if (found := await self._wanted(part)) is not None]

    async def _wanted(self, part: Part) -> tuple[Work, Piece] | None:
        work = self._open[part.key]
        piece = work.pieces.piece(part.index)
        work.given += 1
        if work.given == len(work.pieces):
            del self._open[part.key]
        if work.placing is not None:
            await work.placing
        if work.is_closed or (not work.is_whole and await self.carrier.skips(work, piece)):
            return None
        return work, piece

    async def _send_all(self, group: asyncio.TaskGroup, loads: list[Load]) -> None:
        """What was read by one request. Many small files go together, all else by itself."""
        if loads and loads[0].work.is_plain and not self._has_asked:
            # What becomes of the first one tells whether the others may go together.
            self._has_asked = True
            await asyncio.wait([await self._send(group, loads.pop(0))])
        together: list[Load] = []
        if self._is_together():
            together = [load for load in loads if load.work.is_plain]
        if len(together) < FEWEST_TOGETHER:
            together = []
        for start in range(0, len(together), MOST_TOGETHER):
            await self._room.acquire()
            group.create_task(self._together(group, together[start : start + MOST_TOGETHER]))
        if len(together) < len(loads):
            gone = {load.work.item.seq for load in together}
            for load in loads:
                if load.work.item.seq not in gone:
                    await self._send(group, load)

    async def _send(self, group: asyncio.TaskGroup, load: Load) -> asyncio.Task[None]:
        if load.work.is_whole:
            await self._room.acquire()
            return group.create_task(self._whole(load.work, load.piece, load.cargo))
        return group.create_task(self.carrier.piece(*load))

    def _is_together(self) -> bool:
        return self._mover.recognition.is_unlikely and not self._stop.is_set()

    async def _together(self, group: asyncio.TaskGroup, loads: list[Load]) -> None:
        try:
            rest = loads[await self.carrier.together(loads, self._is_together) :]
        except BaseException:
            _release(loads)
            raise
        finally:
            self._room.release()
        if self._stop.is_set():
            _release(rest)
            return
        for load in rest:
            await self._send(group, load)

    async def _unread(self, work: Work) -> None:
        try:
            await self.carrier.place(work)
        finally:
            self._room.release()

    async def _whole(self, work: Work, piece: Piece | None, cargo: Cargo | None) -> None:
        try:
            await self.carrier.whole(work, piece, cargo)
        finally:
            self._room.release()


def _release(loads: list[Load]) -> None:
    for load in loads:
        load.cargo.hold.release()
