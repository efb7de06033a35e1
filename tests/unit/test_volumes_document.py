"""``docs/volumes.md`` says what the program says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.cli.volume_lines import listed
from agent.volume.ntfs import DamagedRecord, Entry, StreamKind, StreamRef

CHECKOUT = Path(__file__).parents[2]
DOCUMENT = (CHECKOUT / "docs/volumes.md").read_text("utf-8")
REFUSED = re.findall(r'"([^"]+)"', "".join(re.findall(r"^\| (\".*?) \|", DOCUMENT, re.MULTILINE)))
FIELDS = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`\w+`.*?) \|", DOCUMENT, re.MULTILINE))))


@pytest.fixture(scope="module")
def source() -> str:
    """All of the program, with texts that are broken over lines joined."""
    files = sorted((CHECKOUT / "agent").rglob("*.py"))
    text = "\n".join(path.read_text("utf-8") for path in files)
    return re.sub(r'"\s*\n\s*f?"', "", text)


@pytest.mark.parametrize("words", REFUSED)
def test_the_words_of_a_refusal_are_those_of_the_program(source: str, words: str) -> None:
    assert words in source


def test_all_refusals_of_the_table_are_checked() -> None:
    assert len(REFUSED) > 12


def test_every_field_of_a_line_is_told_and_every_told_field_is_printed() -> None:
    stream = StreamRef(40, 1, "a", StreamKind.WOF, 9, 9, 4096, ((4096, 4096),), "unsupported: x", 4096, 5)
    entry = Entry(40, 1, ("a:b",), False, 32, 0, 0, 0, 0, 1, False, (stream,), 0x80000017, "target")
    printed: set[str] = set()
    for each in listed([entry, DamagedRecord(41, "torn", ("c",))], metafiles=False):
        for line in each.lines(sha256="", unreadable=[], lost=[]):
            printed |= set(re.findall(r'"(\w+)": ', line))
    assert printed == FIELDS
