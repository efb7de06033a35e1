"""How a run begins, cold and after ``kill -9`` at half of a drive: ``python -m benchmarks.resume``.

Against a store on loopback that remembers what a resume asks for: names, metadata, uncommitted blocks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from benchmarks.drives_images import Drive, default_work, many_files, one_file
from benchmarks.drives_report import RESULTS, part, save
from benchmarks.machine import facts
from benchmarks.processes import PartyFailed
from benchmarks.resume_figures import (
    RESUME_HEAD,
    START_HEAD,
    Resume,
    Start,
    resume_verdicts,
    start_rows,
)
from benchmarks.resume_run import watched

PART = 0.5
FILES, COLD_FILES, LARGE_MIB = 200_000, (1_000, 100_000, 1_000_000), 2048
QUICK_FILES, QUICK_COLD_FILES, QUICK_LARGE_MIB = 10_000, (1_000, 20_000), 512
_RESUME_ABOUT = (
    "A run is killed (`kill -9` of all its processes at once) when the store has half of the drive, and is "
    "begun again. *Sent again*: bodies that the store had answered before the kill. Seconds are from the "
    "start of the command; processor seconds are of all its processes until then.",
)
_START_ABOUT = (
    "A drive that was never seen: from the start of the command to the first byte that the store sees. The "
    "listing is complete before the first byte moves.",
)


@click.command()
@click.option("--work", type=click.Path(file_okay=False, path_type=Path), help="Where images are kept.")
@click.option(
    "--files", type=click.IntRange(min=2), help=f"Small files that are resumed.  [default: {FILES}]"
)
@click.option("--large-mib", type=click.IntRange(min=64), help=f"Of the large one.  [default: {LARGE_MIB}]")
@click.option("--cold-files", type=click.IntRange(min=2), multiple=True, help="Files of a cold start.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(min=1))
@click.option("--quick", is_flag=True, help="Small drives, a minute.")
@click.option("--results", type=click.Path(dir_okay=False, path_type=Path), help="Where to put the results.")
def main(
    work: Path | None,
    files: int | None,
    large_mib: int | None,
    cold_files: tuple[int, ...],
    rounds: int,
    quick: bool,
    results: Path | None,
) -> None:
    """Print two tables and their bars; a run of full size puts them into benchmarks/results/drives.md."""
    is_full = not (quick or files or large_mib or cold_files)
    folder = work or default_work()
    many = many_files(folder, files or (QUICK_FILES if quick else FILES))
    large = one_file(folder, (large_mib or (QUICK_LARGE_MIB if quick else LARGE_MIB)) << 20)
    cold = [many_files(folder, count) for count in cold_files or (QUICK_COLD_FILES if quick else COLD_FILES)]
    known = facts()
    try:
        starts = list(_starts(folder, cold, rounds))
        resumes = list(_resumes(folder, (large, many), rounds))
    except PartyFailed as error:
        click.echo(f"FAILED: {error}", err=True)
        sys.exit(1)
    path = results or (RESULTS if is_full else None)
    _tell(path, "First byte", part(_START_ABOUT, known, [START_HEAD, *start_rows(starts)], []))
    rows = [RESUME_HEAD, *(each.cells() for each in resumes)]
    _tell(path, "Resume", part(_RESUME_ABOUT, known, rows, resume_verdicts(resumes)))


def _starts(folder: Path, drives: Sequence[Drive], rounds: int) -> Iterator[Start]:
    for number in range(rounds):
        for drive in drives:
            with watched(folder, drive) as one:
                found = one.start_cold()
            click.echo(
                f"round {number + 1}: {drive.about}, cold: {found.wall_s:.2f} s, {found.cpu_s:.2f} cpu-s"
            )
            yield found


def _resumes(folder: Path, drives: Sequence[Drive], rounds: int) -> Iterator[Resume]:
    for number in range(rounds):
        for drive in drives:
            with watched(folder, drive) as one:
                found = one.resume(PART)
            start = found.start
            click.echo(
                f"round {number + 1}: {drive.about}, resumed: {start.wall_s:.2f} s, {start.cpu_s:.2f} cpu-s; "
                f"{found.again} sent again"
            )
            yield found


def _tell(path: Path | None, title: str, body: str) -> None:
    click.echo(f"\n## {title}\n\n{body}")
    if path is not None:
        save(path, title, body)


if __name__ == "__main__":
    main()
