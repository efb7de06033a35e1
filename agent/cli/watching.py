"""A running transfer on the screen of who started it: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from agent.cli.screen import going, size, weather
from agent.model.printable import printable
from agent.transfer.doubts import doubts_of
from agent.transfer.events import read_going, read_tally
from agent.volume.manner import USUAL

if TYPE_CHECKING:
    from rich.progress import Progress

TOLD_EVERY_PERCENT = 10
TOLD_EVERY_S = 60.0
"""Elsewhere than on a terminal; whichever comes first."""


def progress_text(event: Mapping[str, Any]) -> str:
    """Where a ``progress`` or ``finished`` event says that the transfer stands, without its percent."""
    tally = read_tally(event)
    done, whole = tally.accounted, tally.discovered
    through_bytes = event.get("through_bytes", done.bytes)
    waiting, told = event.get("waiting"), read_going(event)
    parts = [f"{done.files} of {whole.files} files", f"{size(through_bytes)} of {size(whole.bytes)}"]
    if waiting:
        parts.append(f"waiting: {waiting}")
    elif done != whole:
        parts += going(told)
    elif event["event"] == "progress":
        parts.append("finishing")
    return ", ".join([*parts, *weather(told)])


class Watching:
    """Shows the events of an uploader on standard error; nothing when ``quiet``."""

    def __init__(self, *, quiet: bool, seconds: Callable[[], float] = time.monotonic) -> None:
        self._quiet, self._seconds = quiet, seconds
        self._told_percent = -TOLD_EVERY_PERCENT
        self._told_at = float("-inf")
        self._bar: Progress | None = None
        if sys.stderr.isatty() and not quiet:
            self._bar = _bar()
            self._task = self._bar.add_task("opening", total=None)

    def __enter__(self) -> Watching:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def take(self, event: Mapping[str, Any]) -> None:
        """An event of the uploader."""
        if self._quiet:
            return
        match event["event"]:
            case "opened":
                self._opened(event)
            case "inventory":
                self._counting(event["files"])
            case "manifest.warning" | "log.kept" | "waiting" | "drive.changed" | "drive.unreadable":
                self._line(f"{event['event']}: {event['detail']}")
            case "progress":
                self._progress(event["percent"], event, is_due=self._is_due(event["percent"]))
            case "finished" if event["tally"]["discovered"][0]:
                self._progress(100, event, is_due=True)

    def _opened(self, event: Mapping[str, Any]) -> None:
        self._line(f"opened: {event['choice']}; {event['protection']}; volume {event['volume']}")
        self._line(f"reader: {event['confinement']}")
        if event.get("reading") not in (None, USUAL.sentence):
            self._line(f"the drive is failing: {event['reading']}")
        for why in doubts_of(event):
            self._line(f"warning: {why}")

    def _counting(self, files: int) -> None:
        text = f"counting: {files} files so far"
        if self._bar is not None:
            self._bar.update(self._task, description=text)
        elif self._seconds() - self._told_at >= TOLD_EVERY_S:
            self._told_at = self._seconds()
            self._line(text)

    def _is_due(self, percent: int) -> bool:
        return (
            percent >= self._told_percent + TOLD_EVERY_PERCENT
            or self._seconds() - self._told_at >= TOLD_EVERY_S
        )

    def _progress(self, percent: int, event: Mapping[str, Any], *, is_due: bool) -> None:
        if self._bar is not None:
            self._bar.update(
                self._task, total=100, completed=percent, description=printable(progress_text(event))
            )
        elif is_due:
            self._told_percent, self._told_at = percent, self._seconds()
            self._line(f"{percent:3d} %  {progress_text(event)}")

    def _line(self, told: str) -> None:
        text = printable(told)
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            click.echo(text, err=True)


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        BarColumn(20),
        TextColumn("{task.percentage:3.0f} %"),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=Console(stderr=True, emoji=False),
    )
