"""The uploader process: network, credential and journal, and no device.

Its order comes as one JSON line on standard input, followed by commands (``stop``: settle what is
under way and keep the place; ``cancel``: the same, and account for the rest as cancelled;
``credential`` and a JSON text: use this one from now on, or null: there is no other). What happens
goes to standard output, a JSON event a line. The end of standard input means that the station is
gone: the same as ``stop``.

    python -m agent.transfer.uploader RING_FD SOCKET_FD
"""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import socket
import sys

from agent.blobs.opening import open_store
from agent.blobs.renewable import RenewableStore
from agent.blobs.store import BlobStore
from agent.errors import IngestError
from agent.memory import keep_to_ourselves
from agent.model.secrets import Secret
from agent.transfer.collecting import collect_seldom
from agent.transfer.events import emit, error_fields
from agent.transfer.link import ReaderLink
from agent.transfer.orders import UploadOrder
from agent.transfer.renewal import StationRenewal
from agent.transfer.ring import Ring
from agent.transfer.slots import SlotPool
from agent.transfer.uploading import Uploader


async def _commands(uploader: Uploader, renewal: StationRenewal, lines: asyncio.StreamReader) -> None:
    while line := await lines.readline():
        word, _, rest = line.decode("ascii", "replace").strip().partition(" ")
        if word == "credential":
            credential = json.loads(rest)
            await renewal.take(None if credential is None else Secret(credential))
        else:
            uploader.command(word)
    uploader.command("stop")


async def _main(ring_fd: int, socket_fd: int) -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin.buffer)
    order = UploadOrder.from_json(json.loads(await lines.readline()))
    ring = Ring(ring_fd, order.slot_count)
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=socket_fd))
    link = ReaderLink(reader, writer, ring, SlotPool(order.slot_count))
    try:
        store = _store(order)
        renewal = StationRenewal(store, lambda: emit("credential.refused"))
        uploader = Uploader(order, link, store, renewal=renewal)
    except IngestError as error:
        emit("paused", **error_fields(error))
        writer.close()
        return
    commands = asyncio.create_task(_commands(uploader, renewal, lines))
    try:
        await uploader.run()
    finally:
        commands.cancel()
        writer.close()
        await store.close()


def _store(order: UploadOrder) -> RenewableStore:
    target = order.store

    def opened(credential: Secret | None) -> BlobStore:
        return open_store(
            target.kind,
            target.address,
            credential,
            identity=target.identity,
            connections=order.connections,
        )

    return RenewableStore(opened, target.credential)


def main(arguments: list[str]) -> int:
    """Run to the end of the drive. What is loaded stays, and is not looked through for garbage."""
    keep_to_ourselves()
    gc.freeze()
    collect_seldom()
    ring_fd, socket_fd = map(int, arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_main(ring_fd, socket_fd))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
