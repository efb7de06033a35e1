"""``results/drives.md``: each part is written by a run of its own, and stays until that is run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.markdown import table

RESULTS = Path(__file__).parent / "results" / "drives.md"
TITLE = "# Endurance: drives at once, memory, resume"
PARTS = ("Two drives at once", "Memory", "First byte", "Resume")


def part(
    about: Sequence[str], facts: Mapping[str, str], rows: Sequence[Sequence[str]], verdicts: Sequence[str]
) -> str:
    """The Markdown of a part below its heading; ``rows`` begin with their head."""
    known = "; ".join(f"{name}: {value}" for name, value in facts.items())
    bars = "\n".join(f"- {line}" for line in verdicts)
    return "\n\n".join(filter(None, [*about, table(rows), bars, f"Machine: {known}."]))


def with_part(document: str, title: str, body: str) -> str:
    """``document`` with this part, new or instead of the old one; parts are in the order of PARTS."""
    parts = {
        name: text.strip()
        for name, _, text in (piece.partition("\n") for piece in document.split("\n## ")[1:])
        if name in PARTS
    }
    parts[title] = body.strip()
    found = [f"## {name}\n\n{parts[name]}\n" for name in PARTS if name in parts]
    return "\n".join([TITLE + "\n", *found])


def save(path: Path, title: str, body: str) -> None:
    """Put a part into the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = path.read_text("utf-8") if path.exists() else ""
    path.write_text(with_part(document, title, body), "utf-8")
