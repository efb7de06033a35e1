"""The results of ``make bench-volume`` as an SVG picture: bars of MB/s and of cpu-s/GB, case by case."""

from __future__ import annotations

from benchmarks.bar_chart import Column, Section, bar_chart
from benchmarks.volume_figures import OWN, Case


def chart(cases: tuple[Case, ...]) -> str:
    """An SVG document; of readers that ran."""
    return bar_chart([_section(case) for case in cases])


def _section(case: Case) -> Section:
    rows = [row for row in case.rows if row.runs]
    return Section(
        case.title,
        tuple(row.party for row in rows),
        frozenset({OWN}),
        (
            Column("MB/s (more is better)", "{:,.0f}", tuple(row.mb_s for row in rows)),
            Column("cpu-s/GB (less is better)", "{:.2f}", tuple(row.cpu_s_per_gb for row in rows)),
        ),
    )
