"""The uploader's end of the socket to the reader.

What comes back was made from hostile bytes by a process that those bytes may have taken over: types
and bounds are checked, and the worst it can do is to be wrong about its own drive.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from agent.errors import IngestError, MalformedInput, WorkerLost, from_name
from agent.transfer.frames import BadFrame, Message, pack, receive
from agent.transfer.listing import Listed
from agent.transfer.ring import SLOT_BYTES, Ring
from agent.transfer.slots import SlotPool
from agent.volume.entry import StreamRef

MAX_DETAIL_CHARS = 500


@dataclass(frozen=True, slots=True)
class VolumeRange:
    """Bytes of the volume itself, from ``start`` on: where neighbouring files are read at once."""

    start: int


@dataclass(frozen=True, slots=True)
class Gathered:
    """Streams from their starts, each with the bytes wanted of it: they come one behind the other.

    When one cannot be read, all are put off.
    """

    streams: list[tuple[StreamRef, int]]


Source = int | StreamRef | VolumeRange | Gathered
"""A stream that was opened, one that is read only once, a part of the volume, or several streams."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why bytes could not be read. ``later``: they were put off, good data comes first."""

    why: str
    later: bool


@dataclass(frozen=True, slots=True)
class DriveMapAnswer:
    """``unreadable`` bytes in so many ranges, and the mapfile, empty when all could be read."""

    unreadable: int
    ranges: int
    text: str


class ReaderLink:
    """Asks the reader; one scan or look-up at a time, any number of fills.

    Each question raises what the reader reported, and WorkerLost when it ended or its answer is none.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ring: Ring, pool: SlotPool
    ) -> None:
        self._reader, self._writer = reader, writer
        self.ring, self.pool = ring, pool
        self._fills: dict[int, asyncio.Future[Trouble | None]] = {}
        self._answers: asyncio.Queue[Message] = asyncio.Queue(maxsize=8)
        self._numbers = iter(range(1 << 62))
        self._lost: IngestError | None = None
        self._gone = asyncio.Event()

    @property
    def filling(self) -> int:
        """Fills that the reader owes."""
        return len(self._fills)

    async def listen(self) -> None:
        """Take the reader's messages until it is gone; to run beside everything else."""
        try:
            while (message := await receive(self._reader)) is not None:
                if message.get("is") == "filled":
                    self._filled(message)
                elif message.get("is") == "error":
                    self._lose(_error(message))
                    return
                else:
                    await self._answers.put(message)
        except BadFrame as error:
            self._lose(WorkerLost(f"the reader sent {error}"))
        else:
            self._lose(WorkerLost("the reader process ended"))

    def _filled(self, message: Message) -> None:
        cid = message.get("cid")
        future = self._fills.pop(cid, None) if isinstance(cid, int) else None
        if future is not None and not future.done():
            why = message.get("why")
            trouble = (
                None if why is None else Trouble(str(why)[:MAX_DETAIL_CHARS], message.get("later") is True)
            )
            future.set_result(trouble)

    def _lose(self, error: IngestError) -> None:
        self._lost = error
        self._gone.set()
        for future in self._fills.values():
            if not future.done():
                future.set_exception(error)
                future.exception()  # told through _lost as well; nobody may be waiting
        self._fills.clear()
        while self._answers.full():
            self._answers.get_nowait()
        self._answers.put_nowait({"is": "lost"})

    async def answer(self, *kinds: str) -> Message:
        """The next answer, of one of these kinds; raises what the reader reported, or WorkerLost."""
        if self._lost is not None and self._answers.empty():
            raise self._lost
        message = await self._answers.get()
        if message.get("is") == "lost":
            assert self._lost is not None
            raise self._lost
        if message.get("is") not in kinds:
            raise WorkerLost(f"the reader answered {message.get('is')!r} where {' or '.join(kinds)} was due")
        return message

    async def _send(self, message: Message) -> None:
        if self._lost is not None:
            raise self._lost
        self._writer.write(pack(message))
        try:
            await self._writer.drain()
        except ConnectionError:
            await self._gone.wait()
            assert self._lost is not None
            raise self._lost from None

    async def scan(self) -> AsyncGenerator[Listed, None]:
        """The volume's entries in batches."""
        await self._send({"do": "scan"})
        while (message := await self.answer("entries", "scanned"))["is"] == "entries":
            yield Listed.of(message)

    async def find(self, paths: list[str]) -> list[Any]:
        """A row or None for each path (backslashes, from the root)."""
        await self._send({"do": "find", "paths": paths})
        rows = (await self.answer("found")).get("rows")
        if not isinstance(rows, list) or len(rows) != len(paths):
            raise WorkerLost("the reader answered another number of paths than was asked")
        return rows

    async def open(self, ref: StreamRef) -> int:
        """A number under which the stream can be read."""
        sid = next(self._numbers)
        await self._send({"do": "stream", "sid": sid, "ref": ref.to_json()})
        return sid

    async def drop(self, sid: int) -> None:
        """The stream is not needed any more."""
        await self._send({"do": "drop", "sid": sid})

    async def rescue(self, *, retrying: bool) -> None:
        """Whether from now on the reader works on bad sectors until it gives them up, or puts them off."""
        await self._send({"do": "rescue", "retrying": retrying})

    async def drive_map(self) -> DriveMapAnswer:
        """What could not be read of the drive so far."""
        await self._send({"do": "map"})
        answer = await self.answer("map")
        match answer:
            case {"unreadable": int(unreadable), "ranges": int(ranges), "text": str(text)}:
                return DriveMapAnswer(unreadable, ranges, text)
        raise WorkerLost("the reader sent a map of the drive that is none")

    async def losses(self, refs: list[StreamRef]) -> list[str]:
        """For each stream which of its bytes lie on bad sectors, in words; "" for none."""
        await self._send({"do": "losses", "refs": [ref.to_json() for ref in refs]})
        lost = (await self.answer("losses")).get("lost")
        if not isinstance(lost, list) or len(lost) != len(refs):
            raise WorkerLost("the reader told of other losses than was asked")
        return [str(each)[:MAX_DETAIL_CHARS] for each in lost]

    async def fill(
        self, source: Source, offset: int, length: int, slots: list[int], at: int = 0
    ) -> asyncio.Future[Trouble | None]:
        """Ask for bytes in slots, from byte ``at`` of the first one on; the future tells what hindered.

        ``offset`` counts from the start of the source.
        """
        cid = next(self._numbers)
        future: asyncio.Future[Trouble | None] = asyncio.get_running_loop().create_future()
        self._fills[cid] = future
        message = {"do": "fill", "cid": cid, "offset": offset, "length": length, "slots": slots, "at": at}
        match source:
            case StreamRef():
                message["ref"] = source.to_json()
            case VolumeRange(start):
                message["start"] = start
            case Gathered(streams):
                message["refs"] = [(ref.to_json(), size) for ref, size in streams]
            case sid:
                message["sid"] = sid
        await self._send(message)
        return future

    async def content(self, ref: StreamRef) -> AsyncGenerator[bytes, None]:
        """All bytes of a stream in windows. Raises OSError with the reason when some cannot be read."""
        sid = await self.open(ref)
        slots = await self.pool.take(1)
        try:
            for offset in range(0, ref.size, SLOT_BYTES):
                length = min(SLOT_BYTES, ref.size - offset)
                trouble = await (await self.fill(sid, offset, length, slots))
                if trouble is not None:
                    raise OSError(trouble.why)
                yield bytes(self.ring.slot(slots[0], length))
        finally:
            self.pool.put_back(slots)
        await self.drop(sid)


def _error(message: Message) -> IngestError:
    return from_name(str(message.get("id")), str(message.get("detail", ""))[:MAX_DETAIL_CHARS])


def stream_of(row: Any) -> StreamRef | None:
    """The stream of a row of a listing or of ``find``; raises WorkerLost when it is no such row."""
    try:
        return StreamRef.from_json(row[1]) if row[1] is not None else None
    except (MalformedInput, TypeError, IndexError, KeyError):
        raise WorkerLost("the reader sent an entry that is none") from None
