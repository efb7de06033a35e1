"""How fast BitLocker volumes are decrypted: ``python -m benchmarks.bitlocker``.

Every cipher at both sector sizes, through ``DecryptedVolume.read_into`` over memory and through the bare
cipher, with one thread and two, as one Markdown table. The runs of all cases are interleaved, so that a
busy neighbour slows them alike; CPU seconds are the figure to go by on a shared machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from threading import Barrier, Thread
from typing import Self

import click
import numpy as np

from agent.model.keys import ClearKey
from agent.volume.bitlocker import DecryptedVolume, read_metadata, unlock
from agent.volume.bitlocker.ciphers import make_cipher
from agent.volume.bitlocker.keys import Key
from agent.volume.block import check_range
from fixtures.fve_ciphers import Cipher
from fixtures.fve_entries import Role, Wrapper
from fixtures.fve_metadata import BLOCK_BYTES, Layout, boot_sector, metadata_block
from fixtures.fve_protectors import ClearKey as ClearKeyProtector
from fixtures.fve_protectors import Context
from fixtures.seeded import Seeded

MIB = 1024 * 1024
GB = 1_000_000_000
SIZE_BYTES = 40 * MIB
DATA_FROM, DATA_BYTES = 8 * MIB, 32 * MIB
"""What is read; metadata and moved start lie before it."""

BUFFERS = (256 * 1024, 512 * 1024, MIB, 4 * MIB)
SECTOR_SIZES = (512, 4096)
MAX_THREADS = 2

Read = Callable[[int, memoryview], None]
"""Fill a buffer with plain bytes from an offset on."""


class MemorySource:
    """Bytes in memory, copied once a read as a kernel does."""

    def __init__(self, data: bytearray, sector_size: int) -> None:
        self._data = memoryview(data)
        self.size_bytes, self.sector_size = len(data), sector_size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        check_range(self, offset, len(buffer))
        buffer[:] = self._data[offset : offset + len(buffer)]


def make_volume(cipher: Cipher, sector_size: int, noise: bytes) -> DecryptedVolume:
    """A volume of noise with a clear key."""
    seeded, wrapper = Seeded("benchmark"), Wrapper()
    vmk, guid = seeded.take("vmk", 32), seeded.guid("volume")
    layout = Layout(SIZE_BYTES, sector_size, 8, (MIB, 2 * MIB, 3 * MIB), 4 * MIB, 8192)
    entries = ClearKeyProtector().protect(Context(seeded, wrapper, vmk, guid)).entry
    entries += wrapper.wrap(Role.FVEK, vmk, cipher.code, seeded.take("fvek", cipher.fvek_bytes))
    image = bytearray(noise)
    image[:512] = boot_sector(layout)
    for offset in layout.block_offsets:
        image[offset : offset + BLOCK_BYTES] = metadata_block(layout, cipher, guid, entries, vmk, wrapper)
    source = MemorySource(image, sector_size)
    return unlock(source, read_metadata(source), ClearKey())


def bare_cipher(cipher: Cipher, sector_size: int) -> Read:
    key = Key(Seeded("benchmark").take("fvek", cipher.fvek_bytes), cipher.code)
    return make_cipher(key, sector_size).decrypt


@dataclass(slots=True)
class Meter:
    """The runs of one way to read."""

    megabytes_per_s: list[float] = field(default_factory=list)
    cpu_s_per_gb: list[float] = field(default_factory=list)

    def add(self, size_bytes: int, wall_s: float, cpu_s: float) -> None:
        self.megabytes_per_s.append(size_bytes / wall_s / 1e6)
        self.cpu_s_per_gb.append(cpu_s / size_bytes * GB)

    def __str__(self) -> str:
        speed, cpu = self.megabytes_per_s, self.cpu_s_per_gb
        return f"{median(speed):.0f} | {max(speed):.0f} | {median(cpu):.3f}"


class Crew:
    """Threads that stand ready, so that starting them is not measured."""

    def __init__(self, count: int) -> None:
        self._gate = Barrier(count + 1)
        self._work: Callable[[int], None] | None = None
        self._threads = [Thread(target=self._serve, args=(number,)) for number in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._work = None
        self._gate.wait()
        for thread in self._threads:
            thread.join()

    def _serve(self, number: int) -> None:
        while True:
            self._gate.wait()
            if self._work is None:
                return
            self._work(number)
            self._gate.wait()

    def time(self, work: Callable[[int], None]) -> tuple[float, float]:
        """Wall and CPU seconds until every thread has done ``work(number)``."""
        self._work = work
        wall, cpu = time.perf_counter(), time.process_time()
        self._gate.wait()
        self._gate.wait()
        return time.perf_counter() - wall, time.process_time() - cpu


@dataclass(slots=True)
class Case:
    """A cipher, a sector size and a buffer size, with the runs so far."""

    cipher: Cipher
    sector_size: int
    buffer_bytes: int
    share_bytes: int
    """What each thread reads in a run."""
    volume: Read
    bare: Read
    alone: Meter = field(default_factory=Meter)
    together: Meter = field(default_factory=Meter)
    naked: Meter = field(default_factory=Meter)

    def run(self, one: Crew, two: Crew, buffers: list[memoryview]) -> None:
        for crew, threads, read, meter in (
            (one, 1, self.volume, self.alone),
            (two, 2, self.volume, self.together),
            (one, 1, self.bare, self.naked),
        ):
            wall_s, cpu_s = crew.time(lambda number, read=read: self._read(read, buffers[number]))  # type: ignore[misc]
            meter.add(threads * self.share_bytes, wall_s, cpu_s)

    def _read(self, read: Read, buffer: memoryview) -> None:
        """The same few stretches again and again, as if they came from the disk into a ring of buffers."""
        buffer = buffer[: self.buffer_bytes]
        for done in range(0, self.share_bytes, self.buffer_bytes):
            read(DATA_FROM + done % DATA_BYTES, buffer)

    def row(self) -> str:
        pairs = zip(self.together.megabytes_per_s, self.alone.megabytes_per_s, strict=True)
        ratio = median(two / one for two, one in pairs)
        head = f"{self.cipher} | {self.sector_size} | {self.buffer_bytes // 1024}"
        return f"| {head} | {self.alone} | {self.together} | {ratio:.2f} | {self.naked} |"


HEAD = """\
| cipher | sector | buffer KiB | MB/s | best | cpu-s/GB | 2 threads MB/s | best | cpu-s/GB | ratio \
| bare cipher MB/s | best | cpu-s/GB |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"""


def cases(only: str) -> Iterator[Case]:
    noise = np.random.default_rng(1).bytes(SIZE_BYTES)
    for cipher in Cipher:
        if only not in cipher:
            continue
        for sector_size in SECTOR_SIZES:
            volume = make_volume(cipher, sector_size, noise)
            bare = bare_cipher(cipher, sector_size)
            share_bytes = 4 * MIB if "elephant" in cipher else 16 * MIB
            for buffer_bytes in BUFFERS:
                yield Case(cipher, sector_size, buffer_bytes, share_bytes, volume.read_into, bare)


@click.command()
@click.option("--runs", default=7, show_default=True, help="Runs of each case.")
@click.option("--only", default="", help="Ciphers whose name holds this, such as xts.")
def main(runs: int, only: str) -> None:
    """Print the table: medians of the runs, and the best of them."""
    every = list(cases(only))
    buffers = [memoryview(bytearray(max(BUFFERS))) for _ in range(MAX_THREADS)]
    with Crew(1) as one, Crew(MAX_THREADS) as two:
        for case in every:
            case.run(one, two, buffers)
            case.alone, case.together, case.naked = Meter(), Meter(), Meter()
        for _ in range(runs):
            for case in every:
                case.run(one, two, buffers)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    click.echo(
        f"{runs} interleaved runs, {os.cpu_count()} CPUs, load {load}, NumPy {np.__version__}\n\n{HEAD}"
    )
    for case in every:
        click.echo(case.row())


if __name__ == "__main__":
    main()
