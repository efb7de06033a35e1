"""Two drives at once, and the memory of a drive of many files: ``python -m benchmarks.drives``.

Against the null sink on loopback, in the clear, whose part of the processors is measured.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks.drives_figures import (
    HAUL_HEAD,
    MEMORY_HEAD,
    Haul,
    Way,
    at_once_verdict,
    memory_verdicts,
)
from benchmarks.drives_images import Drive, default_work, many_files, one_file
from benchmarks.drives_report import RESULTS, part, save
from benchmarks.drives_run import cores, haul, memory
from benchmarks.machine import facts
from benchmarks.processes import PartyFailed
from benchmarks.sink import SinkMissing

PARTS = ("two", "memory")
MIB_EACH, FILES, ONE_FILE_MIB = 4096, (1_000, 10_000, 100_000, 1_000_000), 16_384
QUICK_MIB_EACH, QUICK_FILES, QUICK_ONE_FILE_MIB = 1024, (1_000, 20_000), 2048
ONE, TWO, PINNED = "one", "two at once", "one, on one core"
_TWO_ABOUT = (
    "Each drive is a BitLocker volume (AES-XTS-128) with one file in 64 pieces, in the page cache. MB/s are "
    "of the span that the sink saw, of all drives together. Processor seconds are of all processes of the "
    "agent, less those of a run that moves next to nothing.",
    "`one, on one core`: the same command bound to one processor, the sink left free; what a second drive "
    "adds when each drive has a core of its own.",
)
_MEMORY_ABOUT = (
    "The most that reader and uploader ever had resident (`VmHWM`), each measured at its own peak and added; "
    "the ring that they share is counted once, libraries twice. One station process serves all drives of a "
    "station.",
)


@click.command()
@click.option("--work", type=click.Path(file_okay=False, path_type=Path), help="Where images are kept.")
@click.option("--part", "wanted", multiple=True, type=click.Choice(PARTS), help="Only these.  [default: all]")
@click.option("--mib-each", type=click.IntRange(min=64), help=f"Of two drives.  [default: {MIB_EACH}]")
@click.option("--files", type=click.IntRange(min=2), multiple=True, help="Of a drive whose memory is taken.")
@click.option("--one-file-mib", type=click.IntRange(min=64), help=f"[default: {ONE_FILE_MIB}]")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(min=1), help="Of two drives.")
@click.option("--quick", is_flag=True, help="Small drives, a minute.")
@click.option("--results", type=click.Path(dir_okay=False, path_type=Path), help="Where to put the results.")
def main(
    work: Path | None,
    wanted: tuple[str, ...],
    mib_each: int | None,
    files: tuple[int, ...],
    one_file_mib: int | None,
    rounds: int,
    quick: bool,
    results: Path | None,
) -> None:
    """Print a table and its bars for each part; a run of full size puts them into results/drives.md."""
    is_full = not (quick or mib_each or files or one_file_mib)
    folder, known = work or default_work(), facts()
    path = results or (RESULTS if is_full else None)
    try:
        if "two" in (wanted or PARTS):
            size = (mib_each or (QUICK_MIB_EACH if quick else MIB_EACH)) << 20
            _tell(path, "Two drives at once", _two(folder, size, min(rounds, 2) if quick else rounds, known))
        if "memory" in (wanted or PARTS):
            drives = [many_files(folder, count) for count in files or (QUICK_FILES if quick else FILES)]
            large = (one_file_mib or (QUICK_ONE_FILE_MIB if quick else ONE_FILE_MIB)) << 20
            _tell(path, "Memory", _memory(folder, [*drives, one_file(folder, large)], known))
    except (PartyFailed, SinkMissing) as error:
        click.echo(f"FAILED: {error}", err=True)
        sys.exit(1)


def _two(folder: Path, size_bytes: int, rounds: int, known: dict[str, str]) -> str:
    first = one_file(folder, size_bytes)
    second = one_file(folder / "second", size_bytes)
    nothing = one_file(folder, 1 << 20)
    ways: dict[str, list[Drive]] = {ONE: [first], TWO: [first, second], PINNED: [first]}
    hauls: dict[str, list[Haul]] = {name: [] for name in ways}
    # Not counted: it brings both drives into the page cache.
    haul(folder, [first, second])
    for number in range(rounds):
        start_cpu_s = haul(folder, [nothing]).cpu_s
        for name, drives in ways.items():
            found = haul(folder, drives, start_cpu_s * len(drives), is_pinned=name == PINNED)
            hauls[name].append(found)
            click.echo(f"round {number + 1}: {name}: {found.mb_s:,.0f} MB/s, {found.cores:.2f} cores")
    rows = {name: Way(name, tuple(found)) for name, found in hauls.items()}
    bound = rows[TWO].mb_s / rows[PINNED].mb_s
    lines = [
        at_once_verdict(rows[ONE], rows[TWO], cores()),
        f"two drives' MB/s to those of one drive on one core: {bound:.2f}",
    ]
    return part(_TWO_ABOUT, known, [HAUL_HEAD, *(way.cells() for way in rows.values())], lines)


def _memory(folder: Path, drives: Sequence[Drive], known: dict[str, str]) -> str:
    found = []
    for drive in drives:
        each = memory(folder, drive)
        click.echo(f"{each.about}: {each.pair >> 20} MiB, {each.wall_s:,.0f} s")
        found.append(each)
    rows = [MEMORY_HEAD, *(each.cells() for each in found)]
    return part(_MEMORY_ABOUT, known, rows, memory_verdicts(found))


def _tell(path: Path | None, title: str, body: str) -> None:
    click.echo(f"\n## {title}\n\n{body}\n")
    if path is not None:
        save(path, title, body)


if __name__ == "__main__":
    main()
