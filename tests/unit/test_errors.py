"""The error tree documents itself, and the document is printed from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import agent.errors as errors
from agent.errors import (
    DriveError,
    IngestError,
    NetworkError,
    PolicyError,
    ServiceError,
    Side,
    StationError,
    UnreadableSectors,
    catalogue,
)
from agent.model.describe import errors_markdown

SIDES = {
    DriveError: (Side.DRIVE, 4),
    StationError: (Side.STATION, 5),
    NetworkError: (Side.NETWORK, 6),
    ServiceError: (Side.SERVICE, 7),
    PolicyError: (Side.POLICY, 8),
}
LEAVES = [cls for cls in catalogue() if cls is not IngestError and cls not in SIDES]


def test_tree_as_drawn_is_the_tree_as_built() -> None:
    drawn: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([│ ]*(?:├── |└── )?)([A-Z]\w+)(?:\s|$)", line)
        if found:
            drawn.append((len(found[1]) // 4, found[2]))
    built: list[tuple[int, str]] = []

    def visit(cls: type[IngestError], depth: int) -> None:
        built.append((depth, cls.__name__))
        for child in cls.__subclasses__():
            visit(child, depth + 1)

    visit(IngestError, 0)
    assert drawn == built


@pytest.mark.parametrize("cls", LEAVES, ids=lambda cls: cls.__name__)
def test_every_error_says_whose_trouble_it_is_and_what_next(cls: type[IngestError]) -> None:
    base = next(base for base in SIDES if issubclass(cls, base))
    side, exit_code = SIDES[base]
    assert cls.side is side
    assert cls.exit_code == (2 if cls is errors.MalformedInput else exit_code)
    assert cls.next_step.endswith(".")
    assert (cls.__doc__ or "").startswith(tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))


def test_what_retrying_can_help_is_told_by_the_class() -> None:
    assert {cls.__name__ for cls in catalogue() if cls.retriable} == {
        "WorkerLost",
        "DriveBusy",
        "NetworkError",
        "StoreUnreachable",
        "StoreThrottled",
        "ChecksumMismatch",
    }


def test_line_is_one_line_with_detail_side_id_and_next_step() -> None:
    line = UnreadableSectors(4096, 512, "medium error").line()
    assert line == (
        "bytes 4096..4608 of the device cannot be read (medium error) [drive: UnreadableSectors]. "
        "The files that lie there are listed in the error log; ship them again."
    )


def test_printed_page_is_the_one_in_docs() -> None:
    page = Path(__file__).parents[2] / "docs" / "errors.md"
    assert page.read_text(encoding="utf-8") == errors_markdown(), "print it again: agent.model.describe"


def test_page_has_one_row_an_error_and_every_exit_code() -> None:
    page = errors_markdown()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) == len(catalogue()) - 1
    for cls in LEAVES:
        row = next(
            row for row in rows if row.startswith(f"| `{cls.__name__}` | {cls.side} | {cls.exit_code} |")
        )
        assert cls.next_step in row
        assert ("yes" if cls.retriable else "no") == row.split(" | ")[3]
    codes = [line.split(" | ")[0][2:] for line in page.splitlines() if re.match(r"\| \d", line)]
    assert codes == ["0", "1", "2", "3", "4", "5", "6", "7", "8", "130, 143"]
