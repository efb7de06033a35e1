"""The reader process: the only one that touches the drive's bytes and holds the volume key.

It has no network and no cloud credential. It serves one uploader over a socket: it opens the
volume, lists its files, looks paths up, and fills ring slots with the bytes of streams.

    python -m agent.transfer.reader DEVICE_FD RING_FD SOCKET_FD ORDER_FD
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from agent.errors import DeviceUnavailable, DiskOperationFailed, IngestError, NtfsDamaged, UnreadableSectors
from agent.transfer.frames import BadFrame, BlockingChannel, Message
from agent.transfer.orders import ReaderOrder
from agent.transfer.ring import Ring
from agent.volume.block import BlockSource, FdSource, WatchedSource, read
from agent.volume.ntfs import DamagedRecord, Entry, NtfsVolume, StreamRef
from agent.volume.opening import open_volume

ENTRIES_PER_MESSAGE = 256
EXTENTS_PER_MESSAGE = 50_000
MAX_EXTENTS = 1_000_000
"""A file in more pieces than this is not moved: its list would not fit a message."""
_NAME, _EXTENTS = 2, 7
"""Where name and extents stand in the JSON of a stream reference."""
DAMAGED = "$Damaged"
"""First name of the path under which a damaged MFT record is accounted for; then its number, and a name."""


class Reader:
    """Answers an uploader's messages, one after the other."""

    def __init__(self, drive: BlockSource, ring: Ring, channel: BlockingChannel) -> None:
        self._drive = WatchedSource(drive)
        self._ring = ring
        self._channel = channel
        self._streams: dict[int, StreamRef] = {}
        self._verbs: dict[str, Callable[[Message], None]] = {
            "scan": self._scan,
            "find": self._find,
            "stream": self._stream,
            "drop": self._drop,
            "fill": self._fill,
        }

    def serve(self, order: ReaderOrder) -> None:
        """Open the volume, say so, then answer until the uploader hangs up."""
        opened = open_volume(self._drive, order.credential, allow_unencrypted=order.allow_unencrypted)
        self._ntfs: NtfsVolume = opened.ntfs
        self._channel.send(
            {
                "is": "opened",
                "volume": f"{opened.ntfs.serial:016X}",
                "label": opened.ntfs.label,
                "dirty": opened.ntfs.is_dirty,
                "choice": opened.choice,
                "protection": opened.protection,
            }
        )
        while (message := self._channel.receive()) is not None:
            self._verbs[message["do"]](message)

    def _scan(self, _: Message) -> None:
        rows: list[list[object]] = []
        extents = 0
        for entry in self._ntfs.scan():
            for row in _rows(entry):
                rows.append(row)
                extents += _extents(row)
            if len(rows) >= ENTRIES_PER_MESSAGE or extents >= EXTENTS_PER_MESSAGE:
                self._channel.send({"is": "entries", "rows": rows})
                rows, extents = [], 0
        self._channel.send({"is": "entries", "rows": rows})
        # Records that a pulled or faltering drive could not give look damaged; they are not.
        self._still_there()
        if self._drive.recovered():
            raise DeviceUnavailable("the drive faltered while its files were listed, and answers again")
        self._channel.send({"is": "scanned"})

    def _find(self, message: Message) -> None:
        self._channel.send({"is": "found", "rows": [self._row_of(path) for path in message["paths"]]})

    def _row_of(self, path: str) -> list[object] | None:
        try:
            entry = self._ntfs.find(path)
        except (UnreadableSectors, NtfsDamaged) as error:
            self._still_there()
            return [[path], None, 0, "damaged", error.detail]
        if entry is None or entry.is_directory:
            return None
        if entry.target is not None:
            return [[path], None, 0, "damaged", f"a link to {entry.target}; links are not followed"]
        return next((row for row in _rows(entry) if _is_unnamed(row)), None)

    def _stream(self, message: Message) -> None:
        self._streams[message["sid"]] = StreamRef.from_json(message["ref"])

    def _drop(self, message: Message) -> None:
        self._streams.pop(message["sid"], None)

    def _fill(self, message: Message) -> None:
        ref = StreamRef.from_json(message["ref"]) if "ref" in message else self._streams[message["sid"]]
        offset = message["offset"]
        answer: Message = {"is": "filled", "cid": message["cid"]}
        try:
            for view in self._ring.views(message["slots"], message["length"]):
                self._ntfs.read_into(ref, offset, view)
                offset += len(view)
        except UnreadableSectors as error:
            self._still_there()
            answer["why"] = error.detail
        except (DiskOperationFailed, NtfsDamaged) as error:
            answer["why"] = error.detail
        self._channel.send(answer)

    def _still_there(self) -> None:
        """A drive that was pulled is one event, not an error for each of its files."""
        sector = self._drive.sector_size
        last = self._drive.size_bytes // sector - 1
        error: UnreadableSectors | None = None
        for place in (0, last // 2, last):
            try:
                read(self._drive, place * sector, sector)
            except UnreadableSectors as trouble:
                error = trouble
            else:
                return
        if error is not None:
            raise DeviceUnavailable(f"the drive stopped answering ({error.detail})")


def _is_unnamed(row: list[object]) -> bool:
    stream = row[1]
    return isinstance(stream, list) and stream[_NAME] == ""


def _extents(row: list[object]) -> int:
    stream = row[1]
    return len(stream[_EXTENTS]) if isinstance(stream, list) else 0


def _rows(entry: Entry | DamagedRecord) -> Iterator[list[object]]:
    """What the uploader needs of an entry: [path, stream or None, modified, flags, note]."""
    if isinstance(entry, DamagedRecord):
        yield [[DAMAGED, str(entry.number), *entry.names[:1]], None, 0, "damaged", entry.why]
        return
    if entry.is_directory:
        flags = "directory"
    elif entry.is_system:
        flags = "system"
    elif entry.target is not None:
        flags = "link"
    else:
        flags = "file"
    streams: list[StreamRef | None] = [*entry.streams] or [None]
    for stream in streams:
        yield [
            list(entry.path),
            _bounded(stream).to_json() if stream is not None else None,
            entry.modified,
            flags,
            entry.target or "",
        ]


def _bounded(stream: StreamRef) -> StreamRef:
    if len(stream.extents) <= MAX_EXTENTS:
        return stream
    why = f"the file lies in {len(stream.extents)} pieces, more than this station moves"
    return replace(stream, extents=(), unsupported=why)


def restrict() -> None:
    """No core dump that could hold a key, no file that grows, no signal but from the pair's owner."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _read_order(fd: int) -> Any:
    with os.fdopen(fd, "rb") as pipe:
        return json.load(pipe)


def serve(reader: Reader, order: ReaderOrder, channel: BlockingChannel) -> None:
    """Serve until the uploader hangs up; an error of the tree is sent to it, and ends the service."""
    try:
        reader.serve(order)
    except IngestError as error:
        with suppress(OSError):
            channel.send({"is": "error", "id": error.id, "detail": error.detail})
            channel.discard()
    except (OSError, BadFrame):
        return


def main(arguments: list[str]) -> int:
    """The process."""
    device_fd, ring_fd, socket_fd, order_fd = map(int, arguments)
    restrict()
    order = ReaderOrder.from_json(_read_order(order_fd))
    channel = BlockingChannel(socket.socket(fileno=socket_fd))
    reader = Reader(
        FdSource(device_fd, order.size_bytes, order.sector_size), Ring(ring_fd, order.slot_count), channel
    )
    serve(reader, order, channel)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
