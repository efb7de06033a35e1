"""The results of ``make bench-volume`` as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.markdown import table
from benchmarks.volume_figures import (
    OWN,
    Case,
    Row,
    times_cheaper,
    times_faster,
    times_faster_once_open,
    verdicts,
)

HEAD = (
    "reader", "MB/s", "slowest to fastest", "MB/s once open", "cpu-s/GB", "reads", "peak MiB", "s", "digests",
)  # fmt: skip


def report(about: Sequence[str], facts: Mapping[str, str], cases: tuple[Case, ...]) -> str:
    """The whole document."""
    parts = ["# Reading BitLocker volumes\n", *(f"{line}\n" for line in about)]
    parts.append("\n".join(f"- {name}: {value}" for name, value in facts.items()) + "\n")
    parts += [f"## {case.title}\n\n{case_table(case)}\n\n{_ratios(case)}" for case in cases]
    lines = verdicts(cases)
    if lines:
        parts.append("## Bars\n\n" + "\n".join(f"- {line}" for line in lines) + "\n")
    return "\n".join(parts)


def case_table(case: Case) -> str:
    """One row a reader; a reader that could not run says why."""
    return table([HEAD, *map(_cells, case.rows)])


def _cells(row: Row) -> tuple[str, ...]:
    if not row.runs:
        return (row.party, *["-"] * (len(HEAD) - 2), row.problem or "not run")
    slowest, fastest = row.mb_s_range
    return (
        row.party,
        f"{row.mb_s:,.0f}",
        f"{slowest:,.0f}-{fastest:,.0f}",
        f"{row.open_mb_s:,.0f}",
        f"{row.cpu_s_per_gb:.2f}",
        f"{row.reads:,}" if row.reads is not None else "hidden",
        f"{row.peak_mib:,.0f}",
        f"{row.wall_s:.1f}",
        row.problem or "equal",
    )


def _ratios(case: Case) -> str:
    own = case.row(OWN)
    if own is None:
        return ""
    lines = [
        f"- {times_faster(own, peer):.1f} times the MB/s of {peer.party} "
        f"({times_faster_once_open(own, peer):.1f} times once open) for "
        f"1/{times_cheaper(own, peer):.1f} of its processor time"
        for row in case.rows
        if row.party != OWN and (peer := case.row(row.party)) is not None
    ]
    return "\n".join(lines) + "\n" if lines else ""
