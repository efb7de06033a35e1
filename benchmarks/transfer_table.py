"""The results of ``make bench`` as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from benchmarks import transfer_figures as figures
from benchmarks.markdown import table
from benchmarks.transfer_bars import HEAD as BARS_HEAD
from benchmarks.transfer_bars import OWN, verdicts
from benchmarks.transfer_copies import COPIES, COPIES_HEAD, COPIES_NOTE
from benchmarks.transfer_figures import Cell, Row, quiet

HEAD = (
    "party", "MB/s", "files/s", "s", "cpu-s", "in span", "cpu-s/GB", "carrying", "cpu-µs/file", "carrying",
    "peak MiB", "requests", "quiet",
)  # fmt: skip
_PARTS = {"agent.transfer.reader": "reader", "agent.transfer.uploader": "uploader"}


def report(
    about: Sequence[str], facts: Mapping[str, str], starts: Sequence[Cell], cells: Sequence[Cell]
) -> str:
    """The whole document."""
    parts = ["# Carrying files to a Blob service\n", *(f"{line}\n" for line in about)]
    parts.append("\n".join(f"- {name}: {value}" for name, value in facts.items()) + "\n")
    parts += [f"## {cell.workload.title} to the {cell.target}\n\n{cell_table(cell)}\n" for cell in cells]
    for target in dict.fromkeys(cell.target for cell in cells if _is_a_sink(cell)):
        parts.append(f"## Bars, {target}\n\n{table([BARS_HEAD, *verdicts(cells, target)])}\n")
    parts.append(f"## The start\n\nOne empty file: what is paid once a drive.\n\n{_starts(starts)}\n")
    parts.append(f"## Where our processor time goes\n\n{_processes(starts, cells)}\n")
    parts.append(f"## Copies of each byte\n\n{COPIES_NOTE}\n\n{table([COPIES_HEAD, *COPIES])}\n")
    parts.append(f"## What is checked on the way\n\n{_integrity([*starts, *cells])}\n")
    return "\n".join(parts)


def _is_a_sink(cell: Cell) -> bool:
    """Where the client is what is measured."""
    return any(run.span_s is not None for row in cell.rows for run in row.runs)


def cell_table(cell: Cell) -> str:
    """One row a party; one that could not run says why."""
    return table([HEAD, *map(_cells, cell.rows)])


def _cells(row: Row) -> tuple[str, ...]:
    if not row.runs:
        return (row.party, *["-"] * (len(HEAD) - 2), row.problem or "not run")
    requests = [run.requests for run in row.runs if run.requests is not None]
    still = sum(not run.is_disturbed for run in row.runs)
    return (
        row.party,
        f"{row.median(figures.mb_s):,.0f}",
        f"{row.median(figures.files_s):,.0f}",
        f"{row.median(figures.wall_s):.2f}",
        f"{row.median(lambda run: run.cpu_s):.2f}",
        f"{row.median(lambda run: run.span_cpu_s or 0.0):.2f}" if requests else "-",
        f"{row.median(figures.cpu_s_gb):.2f}",
        f"{row.median(figures.carrying_cpu_s_gb):.2f}",
        f"{row.median(figures.cpu_us_file):,.0f}",
        f"{row.median(figures.carrying_cpu_us_file):,.0f}",
        f"{row.median(lambda run: run.peak_bytes) / (1 << 20):,.0f}",
        f"{median(requests):,.0f}" if requests else "-",
        row.problem or f"{still} of {len(row.runs)}",
    )


def _starts(starts: Iterable[Cell]) -> str:
    head = ("party", "target", "s", "cpu-s", "peak MiB")
    rows = [
        (
            row.party,
            cell.target,
            f"{row.median(figures.wall_s):.2f}",
            f"{row.median(lambda run: run.cpu_s):.2f}",
            f"{row.median(lambda run: run.peak_bytes) / (1 << 20):,.0f}",
        )
        for cell in starts
        for row in cell.rows
        if row.runs
    ]
    return table([head, *rows])


def _processes(starts: Iterable[Cell], cells: Iterable[Cell]) -> str:
    head = ("workload", "target", "main", "reader", "uploader", "peak MiB: main", "reader", "uploader")
    rows = [
        (cell.workload.title, cell.target, *_parts(row))
        for cell in (*starts, *cells)
        if (row := cell.row(OWN)) is not None
    ]
    note = "Processor seconds and peak memory of each process of ours from BitLocker, as last looked at.\n\n"
    return note + table([head, *rows])


def _parts(row: Row) -> Iterable[str]:
    cpu: dict[str, list[float]] = {"main": [], "reader": [], "uploader": []}
    peak: dict[str, list[float]] = {name: [] for name in cpu}
    for run in quiet(row.runs):
        for member in run.members:
            part = next((name for text, name in _PARTS.items() if text in member.command), "main")
            cpu[part].append(member.cpu_s)
            peak[part].append(member.peak_bytes / (1 << 20))
    yield from (f"{median(values):.2f}" if values else "-" for values in cpu.values())
    yield from (f"{median(values):.0f}" if values else "-" for values in peak.values())


def _integrity(cells: Iterable[Cell]) -> str:
    known = {row.party: row.integrity for cell in cells for row in cell.rows}
    return "\n".join(f"- {party}: {integrity}" for party, integrity in known.items())
