"""How fast the table of an NTFS volume is listed, and in how much memory: ``python -m benchmarks.ntfs_scan``.

The volume is synthetic (``fixtures.synthetic_mft``): its records are made when they are read, so that ten
million files need no disk. What that takes is measured and left out of the rate. Each run is a process of
its own, so that its peak memory is its own; the scratch file is an unlinked temporary one.
"""

from __future__ import annotations

import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from typing import BinaryIO, cast

import click

from agent.volume.ntfs import NtfsVolume
from fixtures.synthetic_mft import SyntheticVolume

SIZES = (100_000, 1_000_000, 10_000_000)
RUNS = 3
PER_DIRECTORY = 200
READ_BYTES = 4 << 20
_RECORD_BYTES = 1024
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Figure:
    """One scan. Times are of the processor, in seconds; ``source_s`` of them went into making records."""

    entries: int
    cpu_s: float
    source_s: float
    reads: int
    scratch_bytes: int
    before_bytes: int
    peak_bytes: int

    @property
    def rate(self) -> float:
        """Entries a second of the processor's time, the making of records left out."""
        return self.entries / (self.cpu_s - self.source_s)


class _Timed(SyntheticVolume):
    """Knows how long its records took to make."""

    spent_s = 0.0

    def read_into(self, offset: int, buffer: memoryview) -> None:
        start = time.process_time()
        super().read_into(offset, buffer)
        self.spent_s += time.process_time() - start


def measure(files: int, per_directory: int) -> Figure:
    """Scan one volume in this process."""
    source = _Timed(files, per_directory)
    volume = NtfsVolume.open(source)
    source.spent_s, source.reads = 0.0, 0
    before = _peak_bytes()
    with tempfile.TemporaryFile() as scratch:
        start = time.process_time()
        entries = sum(1 for _ in volume.scan(cast(BinaryIO, scratch)))
        spent = time.process_time() - start
        size = scratch.seek(0, 2)
    return Figure(entries, spent, source.spent_s, source.reads, size, before, _peak_bytes())


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure_apart(files: int, per_directory: int) -> Figure:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.ntfs_scan", "--one"]
    command += ["--files", str(files), "--per-directory", str(per_directory)]
    done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE)
    return Figure(**json.loads(done.stdout))


def row(files: int, figures: list[Figure]) -> str:
    """A line of the table: medians, and the largest of the peaks."""
    reads = max(each.reads for each in figures)
    return "  ".join(
        (
            f"{files:>11,}",
            f"{statistics.median(each.rate for each in figures):>10,.0f}",
            f"{statistics.median(each.cpu_s - each.source_s for each in figures):>8,.1f}",
            f"{reads:>7,}",
            f"{math.ceil(files * _RECORD_BYTES / READ_BYTES):>9,}",
            f"{max(each.before_bytes for each in figures) / _MIB:>7,.0f}",
            f"{max(each.peak_bytes for each in figures) / _MIB:>9,.0f}",
            f"{max(each.scratch_bytes for each in figures) / _MIB:>12,.1f}",
        )
    )


HEAD = "      files   entries/s     cpu s    reads  4 MiB's   MiB before  MiB peak  MiB scratch"


@click.command(help=__doc__)
@click.option("--files", type=int, multiple=True, help="Files and directories together; may be repeated.")
@click.option("--per-directory", type=int, default=PER_DIRECTORY, help="1: all of them are directories.")
@click.option("--runs", type=click.IntRange(1), default=RUNS, help="Of which the median is shown.")
@click.option("--one", is_flag=True, hidden=True)
def main(files: tuple[int, ...], per_directory: int, runs: int, one: bool) -> None:
    """The command."""
    if one:
        click.echo(json.dumps(asdict(measure(files[0], per_directory))))
        return
    click.echo(HEAD)
    for count in files or SIZES:
        click.echo(row(count, [measure_apart(count, per_directory) for _ in range(runs)]))


if __name__ == "__main__":
    main()
