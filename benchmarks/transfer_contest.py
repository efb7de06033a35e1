"""The rounds of the transfer benchmark: in each, all parties carry the same files one after the other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median

import click

from benchmarks.others import Others
from benchmarks.processes import Member, PartyFailed, family
from benchmarks.transfer_figures import Cell, Row, Run, files_s
from benchmarks.transfer_images import NOTHING, Material
from benchmarks.transfer_parties import Party, Spent
from benchmarks.transfer_targets import Target


@dataclass(slots=True)
class Contest:
    """One workload to one target. ``start`` is the contest of one empty file to the same target."""

    material: Material
    target: Target
    field_: Sequence[Party]
    start: Contest | None = None
    runs: dict[str, list[Run]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def round(self, number: int) -> None:
        """Everybody once; round 0 is not counted, as it loads programs and fills caches."""
        for party in self.field_:
            missing = self.problems.get(party.name) or party.missing()
            if missing is not None:
                self.problems[party.name] = missing
                continue
            try:
                run = self._run(party, number)
            except PartyFailed as error:
                self.problems[party.name] = f"FAILED: {error}"
                click.echo(f"  {party.name}: FAILED: {error}", err=True)
                continue
            if number:
                self.runs.setdefault(party.name, []).append(run)
            self._tell(party.name, run, number)

    def _run(self, party: Party, number: int) -> Run:
        self.target.clear()
        files = party.files(self.material)
        servers = family(os.getpid())[1:]
        before = Others.now(servers)
        spent = party.run(self.material, self.target)
        others_s = Others.now(servers).since(before)
        run = Run(
            round=number,
            files=files,
            total_bytes=files * self.material.workload.file_bytes,
            wall_s=spent.wall_s,
            span_s=None,
            cpu_s=spent.cpu_s,
            peak_bytes=spent.peak_bytes,
            requests=None,
            span_cpu_s=None,
            others_cpu_s=others_s,
            members=_members(spent),
        )
        return self._checked(run, spent)

    def _checked(self, run: Run, spent: Spent) -> Run:
        """Raises PartyFailed unless just the right number of blobs and bytes arrived."""
        if self.target.sink is None:
            found = self.target.found()
        else:
            seen = self.target.sink.figures()
            found = (seen.blobs, seen.blob_bytes)
            ended = seen.begun + seen.span_s
            in_span_s = sum(cost.cpu_s_between(seen.begun, ended) for cost in spent.costs)
            run = replace(run, span_s=seen.span_s, requests=seen.requests, span_cpu_s=in_span_s)
        if found != (run.files, run.total_bytes):
            raise PartyFailed(
                f"{found[0]} blobs of {found[1]} bytes arrived, and {run.files} of {run.total_bytes} were to"
            )
        return run

    def constant_cpu_s(self, party: str) -> float:
        """What the party took, over all rounds; of a contest of nothing, its start."""
        return median([run.cpu_s for run in self.runs.get(party, [])] or [0.0])

    def cell(self) -> Cell:
        """What came of it."""
        rows = (
            Row(
                party.name,
                party.integrity,
                tuple(self._with_start(party.name)),
                self.problems.get(party.name),
            )
            for party in self.field_
        )
        return Cell(self.material.workload, self.target.name, tuple(rows))

    def _with_start(self, party: str) -> list[Run]:
        """The start is the median of all rounds, so it is known at the end only."""
        start_cpu_s = self.start.constant_cpu_s(party) if self.start else 0.0
        return [replace(run, start_cpu_s=start_cpu_s) for run in self.runs.get(party, [])]

    def _tell(self, name: str, run: Run, number: int) -> None:
        said = f"{run.wall_s:.2f} s, {run.cpu_s:.2f} cpu-s"
        if self.material.workload is not NOTHING:
            said += f", {run.total_bytes / 1e6 / run.timed_s:,.0f} MB/s, {files_s(run):,.0f} files/s"
        notes = [
            text for text, is_so in (("disturbed", run.is_disturbed), ("not counted", not number)) if is_so
        ]
        noted = f" ({', '.join(notes)})" if notes else ""
        click.echo(f"  {name}: {said}{noted}")


def _members(spent: Spent) -> tuple[Member, ...]:
    return tuple(member for cost in spent.costs for member in cost.members)
