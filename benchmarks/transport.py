"""What a write costs the client, by the SDK and by ours: ``python -m benchmarks.transport``.

Against a null sink on loopback, in the clear and over TLS. Each figure is of a process of its own;
rounds are interleaved and medians taken. MB/s and requests/s are of the span that the sink saw;
processor time is the client's, without its start.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from agent.blobs.azure import AzureBlobStore
from agent.blobs.azure_sdk import SdkBlobStore
from agent.blobs.crc64 import crc64
from agent.blobs.store import BlobStore, NewBlob
from agent.model.blobs import BlobAttributes, BlobName
from agent.model.secrets import Secret
from benchmarks.sink import Sink, running
from fixtures.certificates import make

SLOT_BYTES = 512 << 10
BLOCK_SLOTS = 8
SMALL_BYTES = 4096
TOGETHER = 32
PARTS = ("large", "small", "together")
GB = 1_000_000_000
# Not secrets: the sink takes anything.
SAS = "sv=2024-11-04&ss=b&srt=sco&sp=rwdlac&sig=bm90LWEtc2VjcmV0LWF0LWFsbC1hbmQtMzItYnl0ZXM%3D"
KEY = "bm90LWEtc2VjcmV0LWF0LWFsbC1hbmQtMzItYnl0ZXM="

STORES: dict[str, type[SdkBlobStore] | type[AzureBlobStore]] = {"sdk": SdkBlobStore, "wire": AzureBlobStore}
_ATTRIBUTES = BlobAttributes(
    metadata={"mtime": "2024-01-02T03:04:05.123456700Z", "ingestid": "0123456789abcdef0123456789abcdef"}
)


async def _many(count: int, at_once: int, one: Callable[[int], Awaitable[None]]) -> None:
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            await one(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(worker())


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class _Client:
    """In the measured process. The bodies lie in shared slots, and each is checked by its CRC-64."""

    def __init__(self, store: BlobStore, connections: int) -> None:
        self._store, self._connections = store, connections
        ring = memoryview(bytearray(os.urandom(SLOT_BYTES) * (BLOCK_SLOTS * (connections + 1))))
        self._slots = [ring[at : at + SLOT_BYTES] for at in range(0, len(ring), SLOT_BYTES)]

    async def large(self, blocks: int) -> None:
        name = BlobName.parse("bench/large.bin")

        async def one(number: int) -> None:
            first = number % (self._connections + 1) * BLOCK_SLOTS
            body = self._slots[first : first + BLOCK_SLOTS]
            await self._store.put_block(name, f"{number:08d}", body, await asyncio.to_thread(crc64, body))

        await _many(blocks, self._connections, one)

    async def small(self, files: int) -> None:
        async def one(number: int) -> None:
            blob = self._blob(number)
            await self._store.put_blob(blob.name, blob.body, blob.crc64, blob.attributes, replace=False)

        await _many(files, self._connections, one)

    async def together(self, files: int) -> None:
        async def some(number: int) -> None:
            first = number * TOGETHER
            blobs = [self._blob(each) for each in range(first, min(first + TOGETHER, files))]
            if await self._store.put_blobs(blobs, lambda: True) != len(blobs):
                raise click.ClickException("the sink did not take all blobs")

        await _many(-(-files // TOGETHER), self._connections, some)

    def _blob(self, number: int) -> NewBlob:
        body = [self._slots[number % len(self._slots)][:SMALL_BYTES]]
        name = BlobName.parse(f"bench/folder {number % 100}/file-{number}.bin")
        return NewBlob(name, body, crc64(body), _ATTRIBUTES)


async def _measured(order: dict[str, Any]) -> None:
    credential = Secret(KEY if order["is_signed"] else SAS)
    store = STORES[order["store"]].connect(order["endpoint"], credential, connections=order["connections"])
    client = _Client(store, order["connections"])
    try:
        await client.large(order["connections"])
        await client.small(order["connections"])
        for part, count in zip(PARTS, (order["blocks"], order["files"], order["files"]), strict=True):
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            begun = _cpu_s()
            await getattr(client, part)(count)
            print(_cpu_s() - begun, flush=True)
    finally:
        await store.close()


@dataclass(frozen=True, slots=True)
class Row:
    """Of one cell in one round."""

    large_mb_s: float
    large_cpu_s_gb: float
    small_per_s: float
    small_cpu_us: float
    together_per_s: float
    together_cpu_us: float


def _round(sink: Sink, order: dict[str, Any], ca: Path) -> Row:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.transport", "--client", json.dumps(order)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "SSL_CERT_FILE": str(ca), "NO_PROXY": "127.0.0.1"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    found = []
    for _ in PARTS:
        process.stdout.readline()
        sink.figures()
        print("go", file=process.stdin, flush=True)
        cpu_s = float(process.stdout.readline())
        found.append((cpu_s, sink.figures()))
    process.stdin.close()
    process.stdout.close()
    if process.wait():
        raise click.ClickException("the measured process failed")
    (large_cpu_s, large), (small_cpu_s, small), (together_cpu_s, together) = found
    return Row(
        large.body_bytes / large.span_s / 1e6,
        large_cpu_s / large.body_bytes * GB,
        small.requests / small.span_s,
        small_cpu_s / small.requests * 1e6,
        together.requests / together.span_s,
        together_cpu_s / together.requests * 1e6,
    )


HEAD = (
    "way",
    "store",
    "connections",
    "MB/s",
    "cpu-s/GB",
    "4 KiB blobs/s",
    "cpu-µs a blob",
    "by 32/s",
    "cpu-µs a blob",
)


def _median(rows: list[Row]) -> tuple[str, ...]:
    medians = {key: statistics.median(asdict(row)[key] for row in rows) for key in asdict(rows[0])}
    return (
        f"{medians['large_mb_s']:,.0f}",
        f"{medians['large_cpu_s_gb']:.3f}",
        f"{medians['small_per_s']:,.0f}",
        f"{medians['small_cpu_us']:.0f}",
        f"{medians['together_per_s']:,.0f}",
        f"{medians['together_cpu_us']:.0f}",
    )


def table(rows: list[tuple[str, ...]]) -> str:
    """As Markdown."""
    lines = [HEAD, tuple("---" if at < 2 else "---:" for at in range(len(HEAD))), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@click.command()
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(min=1))
@click.option("--blocks", default=128, show_default=True, help="Of 4 MiB.", type=click.IntRange(min=1))
@click.option("--files", default=3000, show_default=True, help="Of 4 KiB.", type=click.IntRange(min=1))
@click.option("--connections", default="1,2,4,8,16", show_default=True)
@click.option("--stores", default="sdk,wire", show_default=True)
@click.option("--ways", default="plain,tls", show_default=True)
@click.option("--key", "is_signed", is_flag=True, help="Sign with an account key instead of a SAS.")
@click.option("--client", hidden=True, help="The order of a measured process.")
def main(
    rounds: int,
    blocks: int,
    files: int,
    connections: str,
    stores: str,
    ways: str,
    is_signed: bool,
    client: str | None,
) -> None:
    """Print speed and processor time of blocks of 4 MiB and blobs of 4 KiB."""
    if client is not None:
        asyncio.run(_measured(json.loads(client)))
        return
    cells = [(store, int(count)) for count in connections.split(",") for store in stores.split(",")]
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        certificates = make(Path(folder))
        for way in ways.split(","):
            found: dict[tuple[str, int], list[Row]] = {cell: [] for cell in cells}
            with running(certificates if way == "tls" else None) as sink:
                for _ in range(rounds):
                    for store, count in cells:
                        order = {
                            "endpoint": sink.endpoint,
                            "store": store,
                            "connections": count,
                            "blocks": blocks,
                            "files": files,
                            "is_signed": is_signed,
                        }
                        found[store, count].append(_round(sink, order, certificates.authority))
            lines += [(way, store, str(count), *_median(rows)) for (store, count), rows in found.items()]
    print(table(lines))


if __name__ == "__main__":
    main()
