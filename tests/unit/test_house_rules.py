"""Linter, types and layers are tests like any other, and so is what the documents say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli.reference import cli_markdown
from agent.errors import IngestError, catalogue
from agent.model.describe import errors_markdown, states_markdown

CHECKOUT = Path(__file__).parents[2]


def _tool(*arguments: str) -> str:
    done = subprocess.run(
        [str(Path(sys.executable).parent / arguments[0]), *arguments[1:]],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments",
    [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",), ("lint-imports",)],
    ids=" ".join,
)
def test_the_code_passes(arguments: tuple[str, ...]) -> None:
    assert _tool(*arguments) == ""


@pytest.mark.parametrize(
    ("name", "text"),
    [("states.md", states_markdown()), ("errors.md", errors_markdown()), ("cli.md", cli_markdown())],
    ids=["states.md", "errors.md", "cli.md"],
)
def test_a_printed_document_is_what_the_code_prints(name: str, text: str) -> None:
    assert (CHECKOUT / "docs" / name).read_text("utf-8") == text


def test_the_error_tree_is_drawn_as_it_is() -> None:
    drawing = sys.modules[IngestError.__module__].__doc__ or ""
    drawn = re.findall(r"[├└]── (\w+)", drawing)
    assert sorted(drawn) == sorted(cls.__name__ for cls in catalogue() if cls is not IngestError)


def test_every_error_says_whose_side_it_is_on_and_what_to_do_next() -> None:
    concrete = [cls for cls in catalogue() if not cls.__subclasses__()]
    assert all(cls.next_step for cls in concrete)
    assert {cls.side for cls in concrete} == {"drive", "station", "network", "service", "policy"}


def test_what_pins_versions_holds_no_addresses() -> None:
    lock = (CHECKOUT / "fixtures/emulator/package-lock.json").read_text("utf-8")
    packages = json.loads(lock)["packages"].values()
    assert len(packages) > 100
    assert not [package for package in packages if "resolved" in package]
    assert "://" not in (CHECKOUT / "constraints.txt").read_text("utf-8")


def test_no_tracked_file_names_a_home_of_this_machine() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("this is no git checkout")
    names = [name for name in listed.stdout.split("\0") if name and not name.endswith((".xz", ".png"))]
    texts = {name: (CHECKOUT / name) for name in names if (CHECKOUT / name).is_file()}
    home = str(Path.home()) + "/"
    assert [name for name, path in texts.items() if home in path.read_text("utf-8", "replace")] == []
    assert len(texts) > 100
