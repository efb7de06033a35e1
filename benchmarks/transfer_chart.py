"""The results of ``make bench`` as an SVG picture, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import transfer_figures as figures
from benchmarks.bar_chart import Column, Section, bar_chart
from benchmarks.transfer_bars import OWN, OWN_MD5, OWN_PLAIN
from benchmarks.transfer_figures import Cell
from benchmarks.transfer_images import SMALL_FILE_BYTES


def chart(cells: Sequence[Cell]) -> str:
    """An SVG document; of parties that ran."""
    return bar_chart([_section(cell) for cell in cells if any(row.runs for row in cell.rows)])


def _section(cell: Cell) -> Section:
    rows = [row for row in cell.rows if row.runs]
    is_small = cell.workload.file_bytes <= SMALL_FILE_BYTES
    rate = ("files/s of the span", figures.files_s) if is_small else ("MB/s of the span", figures.mb_s)
    cost = (
        ("cpu-µs/file, start left out", "{:,.0f}", figures.carrying_cpu_us_file)
        if is_small
        else ("cpu-s/GB, start left out", "{:.2f}", figures.carrying_cpu_s_gb)
    )
    return Section(
        f"{cell.workload.title} to the {cell.target}",
        tuple(row.party for row in rows),
        frozenset({OWN, OWN_MD5, OWN_PLAIN}),
        (
            Column(f"{rate[0]} (more is better)", "{:,.0f}", tuple(row.median(rate[1]) for row in rows)),
            Column(f"{cost[0]} (less is better)", cost[1], tuple(row.median(cost[2]) for row in rows)),
        ),
    )
