"""What README.md and docs/*.md show can be typed, and README's figures are those that were measured."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from agent.cli.main import cli

CHECKOUT = Path(__file__).parents[2]
PRINTED = {"cli.md", "errors.md", "states.md"}
DOCUMENTS = [
    CHECKOUT / "README.md",
    *(path for path in sorted((CHECKOUT / "docs").glob("*.md")) if path.name not in PRINTED),
]
README = (CHECKOUT / "README.md").read_text("utf-8")
RESULTS = CHECKOUT / "benchmarks/results"
OURS, PAIR = "ours, BitLocker", "dislocker + ntfs-3g + AzCopy"


def _shown() -> Iterator[tuple[str, str]]:
    """Document and command line of each ``ingest-agent`` in a block of code, continued lines joined."""
    for path in DOCUMENTS:
        for block in re.findall(r"^```\n(.*?)^```", path.read_text("utf-8"), re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if found := re.search(r"(?:^|/| )ingest-agent( [a-z-].*)", line):
                    yield path.name, found[1].strip()


@pytest.mark.parametrize(("document", "line"), list(dict.fromkeys(_shown())))
def test_a_command_that_a_document_shows_exists_with_its_options(document: str, line: str) -> None:
    words = [word for word in shlex.split(line.partition(" > ")[0], comments=True) if word != "..."]
    command: click.Command = cli
    while isinstance(command, click.Group):
        assert words, f"{document}: {line} is no whole command"
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"{document}: there is no {words[0]}"
        command, words = found, words[1:]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_the_documents_show_commands() -> None:
    assert len(list(_shown())) > 30


def test_a_verb_of_make_that_a_document_shows_exists() -> None:
    verbs = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text("utf-8"), re.MULTILINE))
    shown = {
        verb for path in DOCUMENTS for verb in re.findall(r"(?:`|^)make ([a-z-]+)", path.read_text(), re.M)
    }
    assert {"demo", "test", "bench"} <= shown <= verbs


def _row(workload: str, party: str) -> list[str]:
    """Of the TLS sink: MB/s, files/s, s, cpu-s, in span, cpu-s/GB, carrying, cpu-µs/file, carrying."""
    text = (RESULTS / "transfer.md").read_text("utf-8")
    table = text.partition(f"## {workload} to the TLS sink\n")[2].partition("\n## ")[0]
    (row,) = (line for line in table.splitlines() if line.startswith(f"| {party} "))
    return [cell.strip() for cell in row.split("|")[2:-1]]


@pytest.mark.parametrize(
    ("told", "workload"),
    [
        ("one file of 1 GiB", "1 x 1,024 MiB"),
        ("64 files of 16 MiB", "64 x 16 MiB"),
        ("2,000 files of 64 KiB", "2,000 x 64 KiB"),
    ],
)
def test_the_rates_in_the_readme_are_those_measured(told: str, workload: str) -> None:
    ours, pair = (_row(workload, party) for party in (OURS, PAIR))
    cells = " | ".join(f"{row[0]} MB/s, {row[6]} cpu-s/GB" for row in (ours, pair))
    assert f"| {told} | {cells} |" in README


def test_the_figures_of_small_files_in_the_readme_are_those_measured() -> None:
    rows = (_row("10,000 x 4 KiB", party) for party in (OURS, PAIR))
    cells = " | ".join(f"{row[1]} files/s, {row[8]} cpu-µs a file" for row in rows)
    assert f"| 10,000 files of 4 KiB | {cells} |" in README


def _carried(bar: str) -> str:
    """What was measured of a bar over TLS, less the start."""
    text = (RESULTS / "transfer.md").read_text("utf-8").partition("## Bars, TLS sink\n")[2]
    (row,) = (line for line in text.partition("\n## ")[0].splitlines() if line.startswith(f"| {bar} "))
    return row.split("|")[3].strip()


@pytest.mark.parametrize(
    ("told", "bar"),
    [
        ("processor time a GB, to that of dislocker + ntfs-3g + AzCopy", f"cpu-s/GB, {OURS} / {PAIR}"),
        ("the same, to that of rclone", f"cpu-s/GB, {OURS} / rclone"),
        ("the same, to that of AzCopy", f"cpu-s/GB, {OURS} / AzCopy"),
        ("an MD5 of each file besides", f"cpu-s/GB, {OURS}, MD5 / AzCopy --put-md5"),
        ("an unencrypted drive", "cpu-s/GB, ours, not encrypted / AzCopy"),
    ],
)
def test_the_bars_in_the_readme_are_those_measured(told: str, bar: str) -> None:
    measured = ", ".join(_carried(f"{workload}: {bar}") for workload in ("1 x 1,024 MiB", "64 x 16 MiB"))
    (row,) = (line for line in README.splitlines() if line.startswith(f"| {told}"))
    assert row.split("|")[3].strip() == measured
