"""A world (a store and a journal's files), a run of the drive in it, and the world at each moment of it."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from agent.blobs.crc64 import crc64
from agent.blobs.faults import Call
from agent.blobs.memory import MemoryBlobStore
from agent.blobs.store import NO_ATTRIBUTES
from agent.model.blobs import BlobName
from agent.model.codes import BlobType
from agent.transfer.link import ReaderLink
from agent.transfer.reader import Reader, serve
from agent.transfer.ring import Ring
from agent.transfer.slots import SlotPool
from agent.transfer.uploading import Uploader
from agent.volume.block import BlockSource, BytesSource
from tests.kit.faults import FaultySource
from tests.kit.transfer import SLOTS, Drive, Told
from tests.sim.drive import BLOCK_BYTES, SERIAL, SimDrive, kind_of
from tests.sim.loop import CountingWriter, SimChannel, SimLoop, Traffic, run
from tests.sim.store import Request, SimStore

_JOURNAL = ("journal.sqlite", "journal.sqlite-wal")


@dataclass(frozen=True, slots=True)
class World:
    """All that outlives a process. ``travelling`` are requests that have left and not arrived."""

    store: SimStore
    journal: dict[str, bytes] = field(default_factory=dict)
    travelling: tuple[Request, ...] = ()


@dataclass(slots=True)
class Weather:
    """What happens to a run. Numbers count calls of the store, messages and reads of the drive, from 0."""

    seed: int = 1
    faults: Callable[[Call], str] = lambda call: "."
    begun: Callable[[Call, Uploader], None] = lambda call, uploader: None
    reader_dies_at: int | None = None
    reader_breaks_at: int | None = None
    pulled_at: int | None = None
    late_calls: int = 5
    late: tuple[tuple[Request, ...], int] = ((), 0)
    """Requests of an earlier life, and after how many calls they arrive."""
    keeps_moments: bool = False
    stranger: tuple[int, BlobName] | None = None
    """Before which call a stranger writes a blob, and which."""


@dataclass(slots=True)
class Run:
    """How it went. ``moments`` are the worlds that a kill could have left, in order, no two alike."""

    told: Told
    after: World
    calls: list[Call]
    messages: tuple[int, int] = (0, 0)
    """Received and sent by the reader."""
    reads: int = 0
    moments: list[World] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    """What the event loop had to complain about."""
    verbose_log: bytes = b""
    late: list[Request] = field(default_factory=list)
    """Requests that were given up and had not arrived at its end."""
    ended_at: float = 0.0
    """By the clock of its event loop."""


class _Pulled(FaultySource):
    """Gone from its ``limit``-th read on."""

    limit: int | None = None

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self.gone = self.gone or (self.limit is not None and len(self.asked) >= self.limit)
        super().read_into(offset, buffer)


def new_world(sim: SimDrive) -> World:
    """The store as somebody else left it, and no journal."""
    store = SimStore()

    async def plant() -> None:
        for name, content in sim.planted.items():
            await MemoryBlobStore.ensure_container(store, name.container)
            body = [memoryview(content)]
            if kind_of(sim, name) is BlobType.PAGE:
                await MemoryBlobStore.create_page_blob(
                    store, name, len(content), NO_ATTRIBUTES, replace=False
                )
                await MemoryBlobStore.put_page(store, name, 0, body, crc64(body))
            else:
                await MemoryBlobStore.put_blob(store, name, body, crc64(body), NO_ATTRIBUTES, replace=False)

    asyncio.run(plant())
    return World(store)


def strangers(name: BlobName) -> bytes:
    """What a stranger writes there."""
    return f"a stranger's {name}".encode()


async def write_as_stranger(store: SimStore, name: BlobName, block_ids: Sequence[str] = ("AAAA",)) -> None:
    """Over whatever is there, by way of blocks of these ids."""
    body, empty = [memoryview(strangers(name))], [memoryview(b"")]
    await MemoryBlobStore.ensure_container(store, name.container)
    await MemoryBlobStore.put_blob(store, name, empty, crc64(empty), NO_ATTRIBUTES, replace=True)
    for block_id in set(block_ids):
        await MemoryBlobStore.put_block(store, name, block_id, body, crc64(body))
    await MemoryBlobStore.put_block_list(store, name, block_ids[:1], NO_ATTRIBUTES, replace=True)


def after_a_stranger_the_late_ones_arrive(run: Run) -> dict[BlobName, bytes]:
    """What is there of his blobs: he has replaced each that a late request is about."""
    store = run.after.store.fork()

    async def happen() -> list[BlobName]:
        for request in run.late:
            ids = request.arguments[1] if request.operation == "put_block_list" else ("AAAA",)
            await write_as_stranger(store, request.arguments[0], ids or ("AAAA",))
        store.let_act_later(run.late, 0)
        await store.let_all_late_ones_act()
        return [request.arguments[0] for request in run.late]

    names = asyncio.run(happen())
    return {name: store.committed()[name] for name in names}


def run_drive(sim: SimDrive, world: World, weather: Weather | None = None, **change: Any) -> Run:
    """One life of the uploader and its reader, from their start to their end. ``world`` stays as it is."""
    with tempfile.TemporaryDirectory(prefix="sim-", dir=_FAST) as folder:
        job = Path(folder) / "job"
        job.mkdir()
        return _Life(sim, world, weather or Weather(), job, change).run()


_FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class _Life:
    def __init__(
        self, sim: SimDrive, world: World, weather: Weather, folder: Path, change: dict[str, Any]
    ) -> None:
        self._sim, self._weather, self._folder = sim, weather, folder
        for name, data in world.journal.items():
            (folder / name).write_bytes(data)
        self._store = world.store.fork(weather.seed)
        self._store.faults, self._store.late_calls = weather.faults, weather.late_calls
        self._store.let_act_later(*weather.late)
        image = folder / "drive.img"
        image.touch()
        os.truncate(image, len(sim.image))
        asked: dict[str, Any] = {
            "serial": SERIAL,
            "block_bytes": BLOCK_BYTES,
            "give_up_after_s": 600.0,
        }
        self._drive = Drive(image, folder, **asked | sim.asks | change)
        self._ended_at = 0.0
        self._moments: list[World] = []
        self._seen: tuple[object, ...] = ()
        self._files: dict[str, bytes] = {}

    def run(self) -> Run:
        random.seed(self._weather.seed)
        if self._weather.keeps_moments:
            self._store.changed = self._keep
        traffic = Traffic()
        loop = SimLoop(traffic.settle, self._store.changed)
        errors: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: errors.append(context))
        told, channel, source = run(self._ingest(traffic), loop)
        if self._weather.keeps_moments:
            self._keep()
        return Run(
            told,
            World(self._store.fork(), self._journal()),
            self._store.calls,
            (channel.received, channel.said),
            len(source.asked),
            self._moments,
            errors,
            self._log(),
            self._store.late,
            self._ended_at,
        )

    async def _ingest(self, traffic: Traffic) -> tuple[Told, SimChannel, FaultySource]:
        ours, theirs = socket.socketpair()
        ring = Ring.create(SLOTS)
        channel = SimChannel(theirs, traffic, self._weather.reader_dies_at, self._weather.reader_breaks_at)
        source = _Pulled(BytesSource(self._sim.image), "")
        source.limit = self._weather.pulled_at
        thread = threading.Thread(target=self._serve, args=(source, ring, channel, theirs, traffic))
        traffic.begun()
        thread.start()
        reader, writer = await asyncio.open_connection(sock=ours)
        counted = cast(asyncio.StreamWriter, CountingWriter(writer, traffic))
        told = Told()
        uploader = Uploader(
            self._drive.upload_order(),
            ReaderLink(reader, counted, ring, SlotPool(SLOTS)),
            self._store,
            told,
        )
        self._store.begun = lambda call: self._weather.begun(call, uploader)
        self._store.stranger = self._stranger
        try:
            await uploader.run()
            self._ended_at = asyncio.get_running_loop().time()
        finally:
            traffic.over()
            writer.close()
            with suppress(OSError):
                ours.shutdown(socket.SHUT_RDWR)
            thread.join()
            theirs.close()
            with suppress(BufferError):
                ring.close()
        return told, channel, source

    async def _stranger(self, call: Call) -> None:
        if self._weather.stranger is not None and self._weather.stranger[0] == call.number:
            await write_as_stranger(self._store, self._weather.stranger[1])

    def _serve(
        self, source: BlockSource, ring: Ring, channel: SimChannel, sock: socket.socket, traffic: Traffic
    ) -> None:
        try:
            serve(Reader(source, ring, channel), self._drive.reader_order(), channel)
        finally:
            channel.close()
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            traffic.over()

    def _keep(self) -> None:
        """The world of this moment, if it is another than the last that was kept."""
        stamps = [self._stamp(name) for name in _JOURNAL]
        now = (self._store.version, *stamps)
        if now == self._seen:
            return
        if now[1:] != self._seen[1:]:
            self._files = self._journal()
        self._seen = now
        travelling = tuple(self._store.travelling.values())
        self._moments.append(World(self._store.fork(), self._files, travelling))

    def _stamp(self, name: str) -> tuple[int, int]:
        try:
            status = (self._folder / name).stat()
        except FileNotFoundError:
            return 0, 0
        return status.st_size, status.st_mtime_ns

    def _journal(self) -> dict[str, bytes]:
        return {name: path.read_bytes() for name in _JOURNAL if (path := self._folder / name).exists()}

    def _log(self) -> bytes:
        logs = sorted((self._folder / "logs").glob("*_verbose.xml"))
        return logs[-1].read_bytes() if logs else b""
