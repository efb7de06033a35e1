"""A process that does one kind of a transfer's work for a while, by the code that a transfer runs.

It says ``ready``, then answers each line ``SECONDS WORK`` (a Work by name) with a line of JSON: the bytes
that it worked and the processor time that it took, of all its threads. It ends with its standard input.

    python -m agent.station.benchmark.cpu_worker
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from agent.blobs.crc64 import crc64
from agent.blobs.opening import open_store
from agent.model.blobs import BlobName
from agent.model.identity import ContainerName
from agent.model.secrets import Secret
from agent.station.benchmark.figures import Work
from agent.station.benchmark.sink import HOST, Sink, sinking
from agent.transfer.hashing import WholeHash
from agent.transfer.ring import SLOT_BYTES
from agent.volume.bitlocker.ciphers import SUITES, make_cipher
from agent.volume.bitlocker.keys import Key
from agent.volume.bitlocker.volume import WINDOW_BYTES
from agent.volume.block import aligned_buffer

BLOCK_BYTES = 4 * 1024 * 1024
SECTOR_BYTES = 512
METHODS = {Work.DIFFUSER: 0x8000, Work.CBC_128: 0x8002, Work.XTS_128: 0x8004, Work.XTS_256: 0x8005}
"""The numbers of the table of ciphers (see ``agent.volume.bitlocker.ciphers``)."""

Step = Callable[[], Awaitable[None]]
"""Works one block."""


def _decrypting(method: int) -> Step:
    cipher = make_cipher(Key(os.urandom(SUITES[method].key_bytes), method), SECTOR_BYTES)
    buffer = aligned_buffer(BLOCK_BYTES)
    buffer[:] = os.urandom(BLOCK_BYTES)

    async def step() -> None:
        for start in range(0, BLOCK_BYTES, WINDOW_BYTES):
            cipher.decrypt(start, buffer[start : start + WINDOW_BYTES])

    return step


def _body() -> list[memoryview]:
    """A block as it lies in the ring."""
    block = memoryview(os.urandom(BLOCK_BYTES))
    return [block[start : start + SLOT_BYTES] for start in range(0, BLOCK_BYTES, SLOT_BYTES)]


def _checking() -> Step:
    body = _body()

    async def step() -> None:
        crc64(body)

    return step


def _hashing(*, md5: bool, sha256: bool) -> Step:
    body, whole, count = _body(), WholeHash(md5=md5, sha256=sha256), 0

    async def step() -> None:
        nonlocal count
        await whole.feed(count, body)
        count += 1

    return step


STEPS: Mapping[Work, Callable[[], Step]] = {
    **{work: partial(_decrypting, method) for work, method in METHODS.items()},
    Work.CRC_64: _checking,
    Work.MD5: partial(_hashing, md5=True, sha256=False),
    Work.SHA_256: partial(_hashing, md5=False, sha256=True),
}


async def measure(
    step: Step, seconds: float, not_ours: Callable[[], float] = lambda: 0.0
) -> dict[str, float]:
    """Do it for so long, and at least once. ``not_ours`` is processor time of others in this process."""
    await step()
    cpu_s, begun, done = time.process_time() - not_ours(), time.monotonic(), 0
    while not done or time.monotonic() - begun < seconds:
        await step()
        done += BLOCK_BYTES
    return {"bytes": done, "cpu_s": time.process_time() - not_ours() - cpu_s}


@contextmanager
def _trusting(certificate: Path) -> Iterator[None]:
    """Stores that are opened meanwhile, and no other."""
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(certificate)
    try:
        yield
    finally:
        del os.environ["SSL_CERT_FILE"]
        if before is not None:
            os.environ["SSL_CERT_FILE"] = before


async def _sent(sink: Sink, seconds: float) -> dict[str, float]:
    """Blocks put into the sink by the transport of the store."""
    key = Secret(base64.b64encode(os.urandom(64)).decode("ascii"))
    with _trusting(sink.certificate):
        store = open_store("azure", f"https://{HOST}:{sink.port}/bench", key, connections=1)
    name, body = BlobName.of(ContainerName.parse("bench"), "blob"), _body()
    crc, block_id = crc64(body), base64.b64encode(b"0001").decode("ascii")
    try:
        return await measure(lambda: store.put_block(name, block_id, body, crc), seconds, sink.cpu_s)
    finally:
        await store.close()


def work(kind: Work, seconds: float) -> dict[str, float]:
    """One kind for so long."""
    if kind is Work.TLS:
        with sinking() as sink:
            return asyncio.run(_sent(sink, seconds))
    return asyncio.run(measure(STEPS[kind](), seconds))


def main() -> None:
    """The process."""
    print("ready", flush=True)  # noqa: T201 - a line of its protocol
    for line in sys.stdin:
        seconds, _, kind = line.strip().partition(" ")
        print(json.dumps(work(Work(kind), float(seconds))), flush=True)  # noqa: T201 - as above


if __name__ == "__main__":
    main()
