"""The reader process: the only one that touches the drive's bytes and holds the volume key.

It has no network and no cloud credential. It serves one uploader over a socket: it opens the
volume, lists its files, looks paths up, and fills ring slots with the bytes of streams.

    python -m agent.transfer.reader DEVICE_FD RING_FD SOCKET_FD ORDER_FD SCRATCH_FD
"""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO, TypeVar

from agent.errors import (
    DeviceUnavailable,
    DiskOperationFailed,
    IngestError,
    NtfsDamaged,
    UnreadableSectors,
    WorkerLost,
)
from agent.transfer.collecting import collect_seldom
from agent.transfer.confined import WatchedChannel, confine
from agent.transfer.endings import last_words
from agent.transfer.frames import BadFrame, BlockingChannel, Message
from agent.transfer.listing import Batch, parts_of, rows_of
from agent.transfer.reader_order import ReaderOrder
from agent.transfer.ring import Ring
from agent.transfer.sandbox import NOT_CONFINED, Confinement
from agent.volume.block import BlockSource
from agent.volume.direct import drive_source
from agent.volume.drivemap import TROUBLE
from agent.volume.entry import StreamRef
from agent.volume.imaged import ImagedSource
from agent.volume.losses import lost_ranges, on_volume, sentence
from agent.volume.manner import GENTLY, USUAL, Manner
from agent.volume.mapfile import parse
from agent.volume.ntfs import NtfsVolume
from agent.volume.opening import OpenedVolume, open_volume
from agent.volume.rescue import RescueSource

_T = TypeVar("_T")

FILLING_THREADS = 2
"""One decrypts while the other waits for the drive, or they share the work on a fast one."""

_NAME = 2
"""Where the name stands in the JSON of a stream reference."""
MAX_TRIES = 3
"""Of a read that met a drive which was away for a moment and came back."""


class Reader:
    """Answers an uploader's messages: listings one after the other, fills in a few threads."""

    def __init__(
        self,
        drive: BlockSource,
        ring: Ring,
        channel: BlockingChannel,
        confinement: Confinement = NOT_CONFINED,
        scratch: BinaryIO | None = None,
        manner: Manner = USUAL,
    ) -> None:
        self._confinement = confinement
        self._scratch = scratch
        self._manner = manner
        self._drive = RescueSource(drive, time.monotonic, lock=threading.Lock(), manner=manner)
        self._ring = ring
        self._channel = channel
        self._streams: dict[int, StreamRef] = {}
        self._verbs: dict[str, Callable[[Message], None]] = {
            "scan": self._scan,
            "find": self._find,
            "stream": self._stream,
            "drop": self._drop,
            "fill": self._fill,
            "rescue": self._rescue,
            "map": self._map,
            "losses": self._losses,
        }
        self._failed: BaseException | None = None
        self._judging = threading.Lock()
        self._gone: str | None = None

    def serve(self, order: ReaderOrder) -> None:
        """Open the volume, say so, then answer until the uploader hangs up."""
        opened = self._opened(order)
        self._ntfs: NtfsVolume = opened.ntfs
        self._volume, self._placement = opened.source, opened.placement
        self._channel.send(self._facts_of(opened))
        with ThreadPoolExecutor(FILLING_THREADS) as self._threads:
            while (message := self._channel.receive()) is not None:
                # After a failure was told, what still comes is taken and dropped until the uploader
                # hangs up: hanging up first could lose the word of it.
                if self._failed is None:
                    self._verbs[message["do"]](message)
        if self._failed is not None and not isinstance(self._failed, (IngestError, OSError)):
            raise self._failed

    def _facts_of(self, opened: OpenedVolume) -> Message:
        return {
            "is": "opened",
            "volume": f"{opened.ntfs.serial:016X}",
            "size": opened.source.size_bytes,
            "records": opened.ntfs.record_count,
            "label": opened.ntfs.label,
            "dirty": opened.ntfs.is_dirty,
            "hibernated": opened.ntfs.is_hibernated,
            "log_open": opened.ntfs.is_log_open,
            "state": opened.ntfs.state,
            "has_others": opened.has_others,
            "choice": opened.choice,
            "protection": opened.protection,
            "confinement": self._confinement.sentence,
            "reading": self._manner.sentence,
        }

    def _opened(self, order: ReaderOrder) -> OpenedVolume:
        try:
            return open_volume(self._drive, order.credential, allow_unencrypted=order.allow_unencrypted)
        except IngestError:
            # What a pulled or faltering drive could not give looks like a drive of another kind.
            self._was_there("opened")
            raise

    def _scan(self, _: Message) -> None:
        batch = Batch()
        for entry in self._ntfs.scan(self._scratch):
            for part in parts_of(entry):
                batch.add(part)
                if batch.is_full:
                    self._channel.send(batch.message())
                    batch = Batch()
        self._channel.send(batch.message())
        # Records that a pulled or faltering drive could not give look damaged; they are not.
        self._was_there("listed")
        self._channel.send({"is": "scanned"})

    def _find(self, message: Message) -> None:
        self._channel.send({"is": "found", "rows": [self._row_of(path) for path in message["paths"]]})

    def _row_of(self, path: str) -> list[object] | None:
        try:
            entry = self._persistently(partial(self._ntfs.find, path))
        except (UnreadableSectors, NtfsDamaged) as error:
            return [[path], None, 0, "damaged", error.detail]
        if entry is None or entry.is_directory:
            return None
        if entry.target is not None:
            return [[path], None, 0, "damaged", f"a link to {entry.target}; links are not followed"]
        return next((row for row in rows_of(entry) if _is_unnamed(row)), None)

    def _stream(self, message: Message) -> None:
        self._streams[message["sid"]] = StreamRef.from_json(message["ref"])

    def _drop(self, message: Message) -> None:
        self._streams.pop(message["sid"], None)

    def _rescue(self, message: Message) -> None:
        self._drive.retrying = message["retrying"]

    def _fill(self, message: Message) -> None:
        """Fills come in the order of the drive, and are begun in it."""
        runs = self._ring.runs(message["slots"], message["length"], message["at"])
        is_gathered = "refs" in message
        if is_gathered:
            read, offset = partial(self._read_each, message["refs"]), 0
        else:
            read, offset = partial(_read, self._source(message)), message["offset"]
        fill = self._threads.submit(
            self._filled, message["cid"], partial(read, offset, runs), is_put_off=is_gathered
        )
        fill.add_done_callback(self._ended)

    def _source(self, message: Message) -> Callable[[int, memoryview], None]:
        if "start" in message:
            return partial(_read_range, self._volume, message["start"])
        ref = StreamRef.from_json(message["ref"]) if "ref" in message else self._streams[message["sid"]]
        return partial(self._ntfs.read_into, ref)

    def _read_each(self, refs: list[tuple[Any, int]], at: int, runs: list[memoryview]) -> None:
        (run,) = runs
        for told, size in refs:
            self._ntfs.read_into(StreamRef.from_json(told), 0, run[at : at + size])
            at += size

    def _filled(self, cid: int, fill: Callable[[], None], *, is_put_off: bool) -> None:
        """``is_put_off``: what hinders it may hinder a part of it only, which is then asked for alone."""
        answer: Message = {"is": "filled", "cid": cid}
        try:
            self._persistently(fill)
        except UnreadableSectors as error:
            answer |= {"why": error.detail, "later": is_put_off or not self._drive.retrying}
        except (DiskOperationFailed, NtfsDamaged) as error:
            answer |= {"why": error.detail, "later": is_put_off}
        self._channel.send(answer)

    def _persistently(self, step: Callable[[], _T]) -> _T:
        """A step that reads, made again when the drive was away for a moment meanwhile."""
        for tries_left in reversed(range(MAX_TRIES)):
            before = self._drive.recoveries
            try:
                return step()
            except (UnreadableSectors, NtfsDamaged):
                if not self._faltered(before) or not tries_left:
                    raise
        raise AssertionError

    def _faltered(self, before: int) -> bool:
        """Whether the drive was away and is back, so that what only seemed bad is to be read again.

        One thread at a time finds out, and the others hold to it: asking anew, they would hear nothing.
        """
        with self._judging:
            self._still_there()
            return self._drive.retrying and (self._drive.recovered() or self._drive.recoveries != before)

    def _ended(self, fill: Future[None]) -> None:
        """A fill that raised ends the service; the uploader is told, and hangs up."""
        error = fill.exception()
        if error is None or self._failed is not None:
            return
        self._failed = error
        if not isinstance(error, IngestError):
            error = WorkerLost(f"the reader failed: {type(error).__name__}")
        with suppress(OSError):
            self._channel.send(_told(error))

    def _map(self, _: Message) -> None:
        """What is bad on the drive, for who wants to know after all is moved."""
        drive = self._drive
        self._channel.send(
            {
                "is": "map",
                "unreadable": drive.bad.total_bytes(*TROUBLE),
                "ranges": sum(1 for _ in drive.bad.ranges(*TROUBLE)),
                "text": "" if drive.bad.is_clean else drive.to_mapfile(),
            }
        )

    def _losses(self, message: Message) -> None:
        """Which bytes of these streams lie on what is bad."""
        bad = on_volume(self._drive.bad.ranges(*TROUBLE), self._placement)
        refs = map(StreamRef.from_json, message["refs"])
        lost = [lost_ranges(bad, ref, self._ntfs.record_size) for ref in refs]
        self._channel.send({"is": "losses", "lost": [sentence(each) if each else "" for each in lost]})

    def _still_there(self) -> None:
        """A drive that was pulled is one event, not an error for each of its files."""
        self._gone = self._gone or self._drive.why_gone()
        if self._gone is not None:
            raise DeviceUnavailable(f"the drive stopped answering ({self._gone})")

    def _was_there(self, what: str) -> None:
        """That nothing which was read to get this far failed only because the drive was away."""
        self._still_there()
        if self._drive.recovered():
            raise DeviceUnavailable(f"the drive faltered while it was {what}, and answers again")


def _read(read: Callable[[int, memoryview], None], offset: int, runs: list[memoryview]) -> None:
    for view in runs:
        read(offset, view)
        offset += len(view)


def _read_range(volume: BlockSource, start: int, offset: int, buffer: memoryview) -> None:
    volume.read_into(start + offset, buffer)


def _is_unnamed(row: list[object]) -> bool:
    stream = row[1]
    return isinstance(stream, list) and stream[_NAME] == ""


def _read_order(fd: int) -> Any:
    with os.fdopen(fd, "rb") as file:
        return json.load(file)


def _told(error: IngestError) -> Message:
    return {"is": "error", "id": error.id, "detail": error.detail}


def serve(reader: Reader, order: ReaderOrder, channel: BlockingChannel) -> None:
    """Serve until the uploader hangs up; an error of the tree is sent to it, and ends the service."""
    try:
        reader.serve(order)
    except IngestError as error:
        with suppress(OSError):
            channel.send(_told(error))
            channel.discard()
    except (ConnectionError, BadFrame):
        return


def main(arguments: list[str]) -> int:
    """The process. What it has loaded stays, and is not looked through for garbage, nor at the end."""
    gc.freeze()
    collect_seldom()
    try:
        _run(*map(int, arguments))
    except Exception as error:  # noqa: BLE001 - the supervisor of this process
        print(last_words(error), file=sys.stderr)  # noqa: T201 - read by whoever started us
        return 1
    return 0


def _run(device_fd: int, ring_fd: int, socket_fd: int, order_fd: int, scratch_fd: int) -> None:
    """Everything that is needed is open before the first hostile byte is read; then the walls go up."""
    order = ReaderOrder.from_json(_read_order(order_fd))
    ring = Ring(ring_fd, order.slot_count)
    channel = WatchedChannel(socket.socket(fileno=socket_fd))
    drive: BlockSource = drive_source(device_fd, order.size_bytes, order.sector_size)
    if order.mapfile is not None:
        drive = ImagedSource(drive, parse(order.mapfile, order.size_bytes))
    with os.fdopen(scratch_fd, "w+b") as scratch:
        manner = GENTLY if order.gently else USUAL
        reader = Reader(drive, ring, channel, confine(order.size_bytes), scratch, manner)
        serve(reader, order, channel)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
