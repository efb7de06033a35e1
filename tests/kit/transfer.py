"""Runs one drive through the real reader and the real uploader, in one process.

The reader serves in a thread over a socket pair, as it would in its own process; the uploader runs in
the test's event loop, so that its store can be a fake with faults.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.blobs.store import BlobStore
from agent.model.codes import Disposition, LogLevel
from agent.model.identity import ContainerName, JobName, SerialNumber
from agent.model.job import Destination
from agent.model.keys import Credential
from agent.model.treatment import AS_USUAL, Treatment
from agent.transfer.frames import BlockingChannel
from agent.transfer.link import ReaderLink
from agent.transfer.orders import StoreOrder, UploadOrder
from agent.transfer.reader import Reader, serve
from agent.transfer.reader_order import ReaderOrder
from agent.transfer.ring import Ring
from agent.transfer.slots import SlotPool
from agent.transfer.uploading import Uploader
from agent.volume.block import BlockSource, FdSource
from agent.volume.manner import GENTLY, USUAL

SLOTS = 64


@dataclass
class Drive:
    """What is plugged in, and what is asked for."""

    image: Path
    work: Path
    job: str = "test-job"
    serial: str = "TEST-0001"
    credential: Credential | None = None
    manifest_file: str | None = None
    manifest_hash: str | None = None
    destination: str | None = "drive"
    disposition: Disposition = Disposition.NO_OVERWRITE
    log_level: LogLevel = LogLevel.VERBOSE
    backup_manifest: bool = False
    upload_streams: bool = False
    allow_unencrypted: bool = True
    give_up_after_s: float = 5.0
    treatment: Treatment = AS_USUAL
    block_bytes: int = 4 * 1024 * 1024
    gently: bool = False
    filed: str = "2026-11-21"
    account: str = ""
    wrap: Callable[[BlockSource], BlockSource] = lambda source: source

    def upload_order(self) -> UploadOrder:
        """The uploader's order."""
        return UploadOrder(
            job=JobName.parse(self.job),
            serial=SerialNumber.parse(self.serial),
            manifest_file=self.manifest_file,
            manifest_hash=self.manifest_hash,
            destination=Destination.parse(self.destination) if self.destination else None,
            disposition=self.disposition,
            diagnostics=ContainerName("waimportexport"),
            log_level=self.log_level,
            backup_manifest=self.backup_manifest,
            upload_streams=self.upload_streams,
            store=StoreOrder("memory", self.account),
            filed=self.filed,
            journal=self.work / "journal.sqlite",
            spool=self.work / "logs",
            slot_count=SLOTS,
            connections=8,
            block_bytes=self.block_bytes,
            give_up_after_s=self.give_up_after_s,
            treatment=self.treatment,
            gently=self.gently,
        )

    def reader_order(self) -> ReaderOrder:
        """The reader's order."""
        return ReaderOrder(
            size_bytes=self.image.stat().st_size,
            sector_size=512,
            slot_count=SLOTS,
            credential=self.credential,
            allow_unencrypted=self.allow_unencrypted,
            gently=self.gently,
        )


@dataclass
class Told:
    """The events of a run."""

    events: list[dict[str, Any]] = field(default_factory=list)
    hook: Callable[[dict[str, Any]], None] = lambda event: None

    def __call__(self, event: str, **fields: object) -> None:
        told = {"event": event, **fields}
        self.events.append(told)
        self.hook(told)

    @property
    def last(self) -> dict[str, Any]:
        """The event that ended the run."""
        return self.events[-1]

    def named(self, name: str) -> list[dict[str, Any]]:
        """All events of one name."""
        return [event for event in self.events if event["event"] == name]


async def ingest(
    drive: Drive, store: BlobStore, on_event: Callable[[dict[str, Any], Uploader], None] | None = None
) -> Told:
    """Run the drive to its end; ``on_event`` may tell the uploader to stop."""
    ours, theirs = socket.socketpair()
    ring = Ring.create(SLOTS)
    fd = os.open(drive.image, os.O_RDONLY)
    thread = threading.Thread(target=_serve, args=(drive, fd, ring, theirs))
    thread.start()
    reader, writer = await asyncio.open_connection(sock=ours)
    link = ReaderLink(reader, writer, ring, SlotPool(SLOTS))
    told = Told()
    uploader = Uploader(drive.upload_order(), link, store, told)
    if on_event is not None:
        told.hook = lambda event: on_event(event, uploader)
    try:
        await uploader.run()
    finally:
        writer.close()
        with suppress(OSError):
            ours.shutdown(socket.SHUT_RDWR)
        await asyncio.to_thread(thread.join)
        theirs.close()
        os.close(fd)
        # The traceback of a request that was cut off may still hold a view; the map goes with it.
        with suppress(BufferError):
            ring.close()
    return told


def _serve(drive: Drive, fd: int, ring: Ring, sock: socket.socket) -> None:
    channel = BlockingChannel(sock)
    source = drive.wrap(FdSource(fd, drive.image.stat().st_size))
    try:
        order = drive.reader_order()
        serve(Reader(source, ring, channel, manner=GENTLY if order.gently else USUAL), order, channel)
    finally:
        channel.close()
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
