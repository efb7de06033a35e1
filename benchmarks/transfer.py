"""``make bench``: our command against AzCopy, rclone, dislocker and the SDK, in the same run."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.machine import facts
from benchmarks.others import load
from benchmarks.sink import SinkMissing
from benchmarks.transfer_bars import AZCOPY_MD5, OWN, OWN_MD5, OWN_PLAIN
from benchmarks.transfer_chart import chart
from benchmarks.transfer_contest import Contest
from benchmarks.transfer_images import NOTHING, Workload, material
from benchmarks.transfer_parties import AzCopy, Own, Pair, Party, Rclone, Sdk
from benchmarks.transfer_table import report
from benchmarks.transfer_targets import Target, azurite_target, sink_target
from benchmarks.volume_images import NoImage
from fixtures.azurite import AzuriteMissing

RESULTS = Path(__file__).parent / "results"
MIB = 1 << 20
FULL = (
    Workload("large", 1, 1024 * MIB),
    Workload("medium", 64, 16 * MIB),
    Workload("small", 2_000, 64 << 10),
    Workload("tiny", 10_000, 4 << 10),
)
QUICK = (
    Workload("large", 1, 256 * MIB),
    Workload("medium", 16, 16 * MIB),
    Workload("small", 1_000, 64 << 10),
    Workload("tiny", 4_000, 4 << 10),
)
EMULATED = (Workload("large", 1, 64 * MIB), Workload("tiny", 500, 4 << 10))
"""What Azurite can take in seconds: it makes 70 to 300 MB/s, whoever sends."""
TARGETS = ("tls", "plain", "azurite")
BUDGET_S = 12 * 60
"""On a machine that is busy with other things, fewer rounds; each target has at least one."""
_BY_THEN = {"tls": 0.6, "plain": 0.95, "azurite": 1.0}
"""The share of it after which no round to this target is begun."""


def parties(workload: Workload) -> tuple[Party, ...]:
    """Who carries it. Whole-file MD5 is for large files, and the SDK for small ones."""
    md5 = "MD5 of each file stored, not compared"
    by_md5: tuple[Party, ...] = (Own(OWN_MD5, has_md5=True), AzCopy(AZCOPY_MD5, ("--put-md5",), md5))
    everybody: tuple[Party, ...] = (
        Own(OWN), Own(OWN_PLAIN, is_encrypted=False), AzCopy(), Rclone(), Pair(),
    )  # fmt: skip
    if workload.key in ("large", "medium"):
        return everybody + by_md5
    if workload.key == "tiny":
        return (*everybody, Sdk())
    return everybody


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run measures."""

    cache: Path
    workloads: Sequence[Workload]
    targets: Sequence[str]
    rounds: int


def contests(plan: Plan, target: Target) -> Iterator[Contest]:
    """The start first, by everybody who is in any of the others."""
    workloads = EMULATED if target.sink is None else plan.workloads
    fields = {workload: parties(workload) for workload in workloads}
    everybody = {party.name: party for field_ in fields.values() for party in field_}
    start = Contest(material(plan.cache, NOTHING), target, tuple(everybody.values()))
    yield start
    for workload, field_ in fields.items():
        yield Contest(material(plan.cache, workload), target, field_, start)


def measure(plan: Plan) -> list[Contest]:
    """All rounds to all targets, those of one target interleaved. A target that is missing is told."""
    done: list[Contest] = []
    begun = time.monotonic()
    for name in plan.targets:
        with ExitStack() as stack:
            try:
                target = _opened(name, stack)
            except (SinkMissing, AzuriteMissing) as missing:
                click.echo(f"{name}: skipped: {missing}", err=True)
                continue
            here = list(contests(plan, target))
            rounds = 1 if target.sink is None else plan.rounds
            until = begun + BUDGET_S * _BY_THEN[name]
            for number in range(rounds + 1):
                if number > 1 and time.monotonic() > until:
                    click.echo(f"{target.name}: {number - 1} rounds: the time is over")
                    break
                # What is carried in round 0 only has programs loaded, which the start does as well.
                for contest in here if number else here[:1]:
                    _announce(contest, number)
                    contest.round(number)
            done += here
    return done


def _opened(name: str, stack: ExitStack) -> Target:
    if name == "azurite":
        return stack.enter_context(azurite_target())
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    return stack.enter_context(sink_target(folder, is_tls=name == "tls"))


def _announce(contest: Contest, number: int) -> None:
    click.echo(f"round {number}: {contest.material.workload.title} to the {contest.target.name}")


def _default_work() -> Path:
    memory = Path("/dev/shm")
    return (memory if memory.is_dir() else Path(tempfile.gettempdir())) / "ingest-bench-transfer"


@click.command()
@click.option("--quick", is_flag=True, help="About two minutes: smaller, one round, over TLS only.")
@click.option("--rounds", type=click.IntRange(min=1), help="[default: 3; 1 with --quick]")
@click.option("--target", "targets", multiple=True, type=click.Choice(TARGETS), help="[default: all]")
@click.option("--workload", "keys", multiple=True, type=click.Choice([each.key for each in FULL]))
@click.option("--work", type=click.Path(file_okay=False, path_type=Path), help="Where files are kept.")
@click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where transfer.md and transfer.svg go.  [default: benchmarks/results, for a full run]",
)
def main(
    quick: bool,
    rounds: int | None,
    targets: tuple[str, ...],
    keys: tuple[str, ...],
    work: Path | None,
    results: Path | None,
) -> None:
    """Print one table a workload and target, and the bars; docs/benchmarks.md tells how to read them.

    Exit code 1 when a party failed or other blobs arrived than were to, 5 when images cannot be made.
    """
    if results is None and not (quick or targets or keys):
        results = RESULTS
    workloads = [each for each in (QUICK if quick else FULL) if not keys or each.key in keys]
    plan = Plan(
        (work or _default_work()).resolve(),
        workloads,
        targets or (("tls",) if quick else TARGETS),
        rounds or (1 if quick else 3),
    )
    begun = time.monotonic()
    known = facts() | _versions(workloads)
    try:
        done = measure(plan)
    except NoImage as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(5)
    starts = [contest.cell() for contest in done if contest.start is None]
    cells = [contest.cell() for contest in done if contest.start is not None]
    known |= {"load after the run": load(), "took": f"{time.monotonic() - begun:.0f} s"}
    text = report(_about(plan), known, starts, cells)
    click.echo("\n" + text)
    if results is not None:
        results.mkdir(parents=True, exist_ok=True)
        (results / "transfer.md").write_text(text, "utf-8")
        (results / "transfer.svg").write_text(chart(cells), "utf-8")
    if any(why.startswith("FAILED") for contest in done for why in contest.problems.values()):
        sys.exit(1)


def _versions(workloads: Sequence[Workload]) -> dict[str, str]:
    known = {party.name: party for workload in workloads for party in parties(workload)}
    return {
        party.name: party.missing() or party.versions()
        for party in known.values()
        if party.name not in (OWN_PLAIN, OWN_MD5, AZCOPY_MD5)
    }


def _about(plan: Plan) -> list[str]:
    return [
        f"Medians of up to {plan.rounds} interleaved rounds (one to Azurite), ratios within a round. All "
        f"of it lies in memory ({plan.cache.parent}). A run during which others took more than 20 % of its "
        "time is disturbed, and left out where at least half of the runs are quiet. docs/benchmarks.md "
        "tells what each column is.",
    ]


if __name__ == "__main__":
    # Mounts and servers are taken down then, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main()
