"""``make bench-volume``: our reader against two others on the same BitLocker volumes, in the same run."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import click

from benchmarks import volume_images as images
from benchmarks.machine import facts
from benchmarks.processes import PartyFailed
from benchmarks.volume_chart import chart
from benchmarks.volume_figures import Case, Row
from benchmarks.volume_images import Image, NoImage
from benchmarks.volume_measure import Run
from benchmarks.volume_parties import Party, Work, parties
from benchmarks.volume_table import case_table, report

RESULTS = Path(__file__).parent / "results"
FILES, TOTAL_MIB = 100_000, 1024
CASES = ("small", "large", "volume")
_PIPE_BYTES = 1 << 20


class WrongBytesError(Exception):
    """A reader gave other files or bytes than were written."""


@dataclass(slots=True)
class Contest:
    """One case while it runs: all parties do the same work in turn, round after round."""

    key: str
    title: str
    work: Work
    image: Image
    field_: tuple[Party, ...]
    is_cold: bool = False
    runs: dict[str, list[Run]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def work_bytes(self) -> int:
        """What a rate is about: bytes of files, or of the volume."""
        return self.image.file_bytes if self.work is Work.FILES else self.image.volume_bytes

    def go(self, rounds: int) -> Case:
        """A round that is not timed, in which programs are loaded and volumes checked, then ``rounds``."""
        for party in self.field_:
            missing = party.missing()
            if missing is not None:
                self.problems[party.name] = missing
        for number in range(rounds + 1):
            for party in self.field_:
                if party.name not in self.problems:
                    self._turn(party, is_timed=number > 0)
        rows = (
            Row(
                party.name,
                self.work_bytes,
                tuple(self.runs.get(party.name, ())),
                self.problems.get(party.name),
            )
            for party in self.field_
        )
        return Case(self.key, self.title, tuple(rows))

    def _turn(self, party: Party, *, is_timed: bool) -> None:
        if self.is_cold:
            images.forget(self.image.path)
        else:
            images.remember(self.image.path)
        try:
            run = self._checked(party, is_timed=is_timed)
        except (PartyFailed, WrongBytesError) as error:
            self.problems[party.name] = f"FAILED: {error}"
            self.runs.pop(party.name, None)
            click.echo(f"  {party.name}: FAILED: {error}", err=True)
            return
        said = f"{self.work_bytes / 1e6 / run.wall_s:,.0f} MB/s, {run.cpu_s:.1f} cpu-s"
        click.echo(f"  {party.name}: {said}{'' if is_timed else ' (not counted)'}")
        if is_timed:
            self.runs.setdefault(party.name, []).append(run)

    def _checked(self, party: Party, *, is_timed: bool) -> Run:
        """All hashes of every run are compared; a decrypted volume is in the round that is not timed."""
        if self.work is Work.FILES:
            return self._hashed(party)
        if is_timed:
            return party.run(self.work, self.image, subprocess.DEVNULL)
        run, sha256 = _digested(lambda out: party.run(self.work, self.image, out))
        _must_equal("the decrypted volume", sha256, self.image.plain_sha256)
        return run

    def _hashed(self, party: Party) -> Run:
        with tempfile.TemporaryFile() as out:
            run = party.run(self.work, self.image, out)
            out.seek(0)
            found = read_hashes(out)
        if len(found) != self.image.files:
            raise WrongBytesError(f"{len(found)} files were found, {self.image.files} were written")
        _must_equal("paths and hashes", images.listing_digest(found), self.image.listing)
        return run


def read_hashes(lines: Iterable[bytes]) -> list[tuple[str, str]]:
    """(path, SHA-256) of each JSON line; one without a hash is wrong. Raises WrongBytesError."""
    found = []
    for line in lines:
        each = json.loads(line)
        if "sha256" not in each:
            raise WrongBytesError(f"{each['path']} has no hash: {each.get('error')}")
        found.append((each["path"], each["sha256"]))
    return found


def _must_equal(what: str, found: str, expected: str) -> None:
    if found != expected:
        raise WrongBytesError(f"{what} have the digest {found[:16]}..., written was {expected[:16]}...")


def _digested(work: Callable[[int], Run]) -> tuple[Run, str]:
    """``work`` on the write end of a pipe, and the SHA-256 of what came out of it."""
    out, into = os.pipe()
    digest = hashlib.sha256()

    def drain() -> None:
        with open(out, "rb", buffering=0) as pipe:
            while part := pipe.read(_PIPE_BYTES):
                digest.update(part)

    thread = threading.Thread(target=drain)
    thread.start()
    try:
        run = work(into)
    finally:
        os.close(into)
        thread.join()
    return run, digest.hexdigest()


def _default_work() -> Path:
    return Path(tempfile.gettempdir()) / f"ingest-bench-volume-{os.getuid()}"


@click.command()
@click.option("--work", type=click.Path(file_okay=False, path_type=Path), help="Where images are kept.")
@click.option("--files", default=FILES, show_default=True, type=click.IntRange(min=1), help="Small files.")
@click.option(
    "--total-mib", default=TOTAL_MIB, show_default=True, type=click.IntRange(min=6), help="Of large files."
)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(min=1))
@click.option("--case", "wanted", multiple=True, type=click.Choice(CASES), help="Only these.  [default: all]")
@click.option("--cold", is_flag=True, help="Drop the image from the page cache before each run.")
@click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where volume.md and volume.svg go.  [default: benchmarks/results, for a run of full size]",
)
def main(
    work: Path | None,
    files: int,
    total_mib: int,
    rounds: int,
    wanted: tuple[str, ...],
    cold: bool,
    results: Path | None,
) -> None:
    """Print one table a case; docs/benchmarks.md tells how to read them.

    Exit code 1 when a reader failed or gave wrong bytes, 5 when an image cannot be made.
    """
    keys = wanted or CASES
    if results is None and (files, total_mib, cold, set(keys)) == (FILES, TOTAL_MIB, False, set(CASES)):
        results = RESULTS
    field_ = parties()
    known = _facts(field_)
    for name, value in known.items():
        click.echo(f"{name}: {value}")
    try:
        contests = list(_contests((work or _default_work()).resolve(), files, total_mib, keys, field_, cold))
    except NoImage as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(5)
    cases = tuple(_play(contest, rounds) for contest in contests)
    text = report(_about(rounds, cold, cases), known, cases)
    click.echo("\n" + text)
    if results is not None:
        _save(results, text, cases)
    if any(contest.problems[name].startswith("FAILED") for contest in contests for name in contest.problems):
        sys.exit(1)


def _facts(field_: tuple[Party, ...]) -> dict[str, str]:
    return facts() | {party.name: party.missing() or party.versions() for party in field_}


def _contests(
    work: Path, files: int, total_mib: int, keys: Iterable[str], field_: tuple[Party, ...], cold: bool
) -> Iterable[Contest]:
    if "small" in keys:
        image = images.small_files(work, files)
        yield Contest("small", f"Small files: {image.about}", Work.FILES, image, field_, cold)
    if "large" in keys or "volume" in keys:
        image = images.large_files(work, total_mib)
        if "large" in keys:
            yield Contest("large", f"Large files: {image.about}", Work.FILES, image, field_, cold)
        if "volume" in keys:
            title = (
                f"The volume of the large files, decrypted and not hashed: {image.volume_bytes >> 20:,} MiB"
            )
            yield Contest("volume", title, Work.VOLUME, image, field_, cold)


def _play(contest: Contest, rounds: int) -> Case:
    click.echo(f"\n{contest.title}")
    case = contest.go(rounds)
    click.echo(case_table(case))
    return case


def _about(rounds: int, cold: bool, cases: tuple[Case, ...]) -> list[str]:
    cache = "dropped from the page cache before each run" if cold else "in the page cache"
    lines = [
        f"Medians of {rounds} rounds in turn, the image {cache}. Each run is a whole one, with process start "
        "and unlocking by password. docs/benchmarks.md tells what each column is."
    ]
    strayed = [row.party for case in cases for row in case.rows if not row.is_warm]
    if strayed and not cold:
        lines.append(f"The page cache did not hold the image for {', '.join(sorted(set(strayed)))}.")
    return lines


def _save(folder: Path, text: str, cases: tuple[Case, ...]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "volume.md").write_text(text, "utf-8")
    (folder / "volume.svg").write_text(chart(cases), "utf-8")
    click.echo(f"written to {folder}")


if __name__ == "__main__":
    main()
