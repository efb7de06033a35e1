"""The screen on the wall: a tile a bay, to be read from across the room."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from agent.cli.context import console
from agent.cli.occupancy import BayRow
from agent.errors import IngestError, MalformedInput
from agent.model.printable import printable
from agent.model.states import DriveState

if TYPE_CHECKING:
    from rich.console import RenderableType

LOOK_EVERY_S = 2.0
TILE_COLUMNS = 38
"""At the least; what is left over is shared out."""

_STYLES = {
    DriveState.TRANSFERRING: "cyan",
    DriveState.COMPLETED: "green",
    DriveState.SHIPPED_BACK: "green",
    DriveState.COMPLETED_MORE_INFO: "yellow",
    DriveState.FAULTED: "red",
}


def wall(look: Callable[[], Sequence[BayRow]]) -> None:
    """Until Ctrl-C. What cannot be looked at is said above the tiles, which then are of before.

    Raises MalformedInput when standard output is no terminal.
    """
    if not sys.stdout.isatty():
        raise MalformedInput("--watch needs a terminal")
    screen, rows = console(), list(look())
    with Live(tiles(rows, datetime.now(), screen), console=screen, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(LOOK_EVERY_S)
            trouble = ""
            try:
                rows = list(look())
            except IngestError as error:
                trouble = error.line()
            live.update(tiles(rows, datetime.now(), screen, trouble), refresh=True)


def tiles(rows: Sequence[BayRow], now: datetime, screen: Console, trouble: str = "") -> RenderableType:
    """All of the screen; ``now`` shows that it is not of yesterday."""
    head = Text(f"{now:%H:%M:%S}  {_summary(rows)}", style="bold")
    if trouble:
        head.append(f"\n{trouble}", style="bold white on red")
    if not rows:
        return Group(head, Text("\nno drive is attached, and no bay is configured"))
    across = max(1, min(len(rows), screen.width // TILE_COLUMNS))
    width = screen.width // across
    return Group(head, Text(), Columns([_tile(row, width) for row in rows], padding=0, width=width))


def _summary(rows: Sequence[BayRow]) -> str:
    def count(*states: DriveState) -> int:
        return sum(row.state in states for row in rows)

    at_work = count(DriveState.TRANSFERRING)
    done = count(DriveState.COMPLETED, DriveState.COMPLETED_MORE_INFO)
    wrong = sum(_style(row) == "red" for row in rows)
    empty = sum(row.serial is None for row in rows)
    return f"{at_work} at work   {done} to be taken out   {wrong} with trouble   {empty} empty"


def _tile(row: BayRow, width: int) -> Panel:
    style = _style(row)
    title = Text(f" {row.bay} ", style=f"bold reverse {style}")
    return Panel(Group(*_lines(row, style, width - 4)), title=title, title_align="left", border_style=style)


def _lines(row: BayRow, style: str, width: int) -> list[RenderableType]:
    if row.serial is None:
        return [Text("empty", style="dim")]
    lines: list[RenderableType] = [Text(row.serial.shown, style="bold")]
    if row.job is not None:
        lines.append(Text(f"job {row.job}"))
    if row.state is not None:
        lines.append(Text(f"{row.state}  {row.percent} %", style=f"bold {style}"))
        lines.append(_bar(row.percent or 0, width, style))
    since = f" (since {row.since:%H:%M} UTC)" if row.since is not None else ""
    lines.append(Text(printable(f"{row.what}{since}")))
    lines.append(Text(printable(row.next_step), style="bold"))
    return lines


def _bar(percent: int, width: int, style: str) -> Text:
    done = width * percent // 100
    return Text("█" * done, style=style).append("░" * (width - done), style="bright_black")


def _style(row: BayRow) -> str:
    """The state's word stands in the tile too: nobody has to tell colours apart."""
    if row.serial is None:
        return "bright_black"
    if row.state is None:
        return "red"
    if row.since is not None and row.state is not DriveState.FAULTED:
        return "yellow"
    return _STYLES.get(row.state, "white")
