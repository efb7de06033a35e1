"""Moves the items of a journal: sweeps over the drive, many requests to the store.

The feeder hands the items to the read plan, which gives their pieces in the order in which they lie
on the drive, and asks the reader for them as slots get free; a task a piece verifies and sends what
was read. So the drive is read once and forward, while requests end in any order. What cannot be read
is put off: good data comes first, and a sweep of its own works on the rest.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from agent.model.blobs import BlobName
from agent.model.codes import ChunkStatus
from agent.model.treatment import AS_USUAL, Treatment
from agent.transfer.books import Books
from agent.transfer.carrier import Carrier, Recognition
from agent.transfer.items import Item, Piece, block_bytes_for, ids_tell_content
from agent.transfer.journal import Journal
from agent.transfer.link import ReaderLink, VolumeRange
from agent.transfer.ring import SLOT_BYTES, slots_for
from agent.transfer.sender import Sender, Target
from agent.transfer.sides import Dressed, dress
from agent.transfer.verify import ReadBack
from agent.transfer.work import Cargo, Hold, Pieces, Work
from agent.volume.plan import Part, ReadPlan, Request, Want

OPEN_ITEMS = 64
"""Blobs of one request under way at once; also the bound on blobs that need no slot."""

OPEN_WANTS = 1024
"""Items that the read plan looks over at once."""

AHEAD = 4
"""Requests whose blobs are being placed while the ones before them are read."""

MAX_SWEEPS = 8
"""Of the same items. One is the rule, two where sectors are bad, more where others write the same names."""


class Mover:
    """Moves everything that a journal has pending.

    ``marker_of`` tells our own blobs (see ``items.marker``). ``stop`` set: what is under way is
    settled and nothing more is begun.
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
    ) -> None:
        self.link, self.sender, self.books, self.stop = link, sender, books, stop
        self._journal = journal
        self._marker_of = marker_of
        self._block_bytes = block_bytes
        self._treatment = treatment
        self.readback = ReadBack(sender, stop)
        self.recognition = Recognition()
        self.volume_bytes = volume_bytes

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
        return [dress(item, self._journal, self._marker_of(item), self._treatment) for item in items]

    def work(self, dressed: Dressed) -> Work:
        """What is to be done for an item."""
        item = dressed.item
        name, marker = BlobName.parse(item.blob), self._marker_of(item)
        target = Target(name, item.disposition, dressed.attributes, marker, item.length)
        block_bytes = block_bytes_for(item.length, self._block_bytes)
        pieces = Pieces(item, block_bytes)
        # An id that tells the content is right only where the content is compared with it.
        by_content = dressed.check.compares_pieces and ids_tell_content(item)
        work = Work(dressed, target, block_bytes, by_content, pieces, left=len(pieces))
        for index in range(len(pieces), pieces.total):
            why = f"the file ends at byte {work.stream.size}"
            work.fault(pieces.piece(index), ChunkStatus.FILE_UNEXPECTED_END, why)
        return work


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
        self._plan = ReadPlan(OPEN_WANTS, SLOT_BYTES, volume_bytes=mover.volume_bytes)
        self._open: dict[int, Work] = {}
        self._room = asyncio.Semaphore(OPEN_ITEMS)

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

    async def _requests(self, group: asyncio.TaskGroup) -> AsyncGenerator[Request, None]:
        """The plan, fed as it empties."""
        async with aclosing(self._items()) as items:
            is_fed = False
            while True:
                while not is_fed and not self._plan.is_full:
                    dressed = await anext(items, None)
                    if dressed is None:
                        is_fed = True
                    else:
                        await self._admit(group, self._mover.work(dressed))
                request = self._plan.take()
                if request is not None:
                    yield request
                elif is_fed:
                    return

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
        """Ask the reader for a request, and send its parts on as they come."""
        wanted = [found for part in request.parts if (found := await self._wanted(part)) is not None]
        if not wanted:
            return
        if request.is_direct and not self._is_rescue:
            slots = await self._link.pool.take(1)
            filled = await self._link.fill(VolumeRange(request.start), 0, request.length, slots)
            hold = Hold(self._link.pool, slots, len(wanted))
            for work, piece, at in wanted:
                await self._send(group, work, piece, Cargo(hold, at, filled))
            return
        for work, piece, _ in wanted:
            slots = await self._link.pool.take(slots_for(piece.length))
            source = work.stream if work.is_whole else work.sid
            filled = await self._link.fill(source, piece.offset, piece.length, slots)
            await self._send(group, work, piece, Cargo(Hold(self._link.pool, slots, 1), 0, filled))

    async def _wanted(self, part: Part) -> tuple[Work, Piece, int] | None:
        work = self._open[part.key]
        piece = work.pieces.piece(part.index)
        work.given += 1
        if work.given == len(work.pieces):
            del self._open[part.key]
        if work.placing is not None:
            await work.placing
        if work.is_closed or (not work.is_whole and await self.carrier.skips(work, piece)):
            return None
        return work, piece, part.offset

    async def _send(self, group: asyncio.TaskGroup, work: Work, piece: Piece, cargo: Cargo) -> None:
        if work.is_whole:
            await self._room.acquire()
            group.create_task(self._whole(work, piece, cargo))
        else:
            group.create_task(self.carrier.piece(work, piece, cargo))

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
