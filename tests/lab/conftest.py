"""Runs of the laboratory: the first scenarios only, if asked for; and a table of what became of each."""

from __future__ import annotations

import pytest

FIRST = "--first"
_OUTCOMES = ("passed", "failed", "error", "skipped")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(FIRST, type=int, metavar="N", help="only the first N scenarios")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    first = config.getoption(FIRST)
    if first is not None and len(items) > first:
        config.hook.pytest_deselected(items=items[first:])
        del items[first:]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line a scenario: how it ended, how long that took by this machine's clock, what it is about."""
    terminalreporter.section("scenarios")
    for outcome in _OUTCOMES:
        for report in terminalreporter.stats.get(outcome, []):
            terminalreporter.line(f"{outcome:8} {report.duration:6.1f} s  {_sentence(report.nodeid)}")
    shared = [each for each in terminalreporter.stats.get("", []) if each.when == "setup"]
    ready_s = sum(each.duration for each in shared)
    terminalreporter.line(f"{'':8} {ready_s:6.1f} s  to make all ready: guest, package, account, drives")


def _sentence(nodeid: str) -> str:
    return nodeid.split("::")[-1].removeprefix("test_").replace("_", " ")
