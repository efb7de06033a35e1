"""A drive may call itself anything: what that does to a screen, a status line and a history."""

from __future__ import annotations

import io
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.catalog import Event
from agent.cli.screen import show_drives, show_events
from agent.cli.watching import Watching
from agent.errors import DeviceUnavailable
from agent.model.identity import SerialNumber
from agent.station.notify import Notifier
from tests.kit.manager import listening

EVIL = "[/]\x1b]0;owned\x07[bold]:smile:\u202e"
AT = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize("blank", ["\n", "\r\n", "\x0b", "\x1c", "\x85", "\u2028", " " * 4096])
def test_a_serial_is_shown_in_one_line_of_bounded_length(blank: str) -> None:
    serial = SerialNumber.parse(f"WD{blank}READY=1")
    assert serial.shown == "WD READY=1"
    assert serial == SerialNumber.parse("WDREADY=1")


def test_brackets_and_escapes_of_a_drive_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    show_events([Event(AT, "station", None, "WD[/x]:smile:", "drive.left_alone", EVIL)], as_json=False)
    row = {"bay": "[/a]", "job": None, "state": None, "percentComplete": None, "note": EVIL}
    show_drives([{"serial": "[/b]", **row}])
    said = capsys.readouterr().out
    assert "WD[/x]:smile:" in said
    assert "[/a]" in said
    assert "[/b]" in said
    assert said.count(r"[/]\x1b]0;owned\x07[bold]:smile:\u202e") == 2
    assert said.replace("\n", "").isprintable()


def test_a_status_moves_no_cursor_and_assigns_nothing_else(tmp_path: Path) -> None:
    with listening(str(tmp_path / "notify")) as manager:
        Notifier(manager.address).status(f"trouble: {EVIL}\nMAINPID=1")
        manager.listen()
    assert manager.said == [{"STATUS": r"trouble: [/]\x1b]0;owned\x07[bold]:smile:\u202e MAINPID=1"}]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_shows_brackets_and_escapes_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(sys, "stderr", terminal := _Terminal())
    nothing = [0, 0]
    tally = {"discovered": [10, 100], "done": nothing, "failed": nothing, "skipped": nothing}
    with Watching(quiet=False) as screen:
        screen.take({"event": "progress", "percent": 10, "tally": tally, "waiting": f"[Errno 111] {EVIL}"})
        screen.take({"event": "waiting", "detail": EVIL})
    said = terminal.getvalue()
    assert r"waiting: [Errno 111] [/]\x1b]0;owned\x07[bold]:smile:\u202e" in said
    assert r"waiting: [/]\x1b]0;owned\x07[bold]:smile:" in said
    assert "\x1b]0" not in said


def test_an_error_is_told_in_one_line() -> None:
    said = DeviceUnavailable(f"{EVIL}\nis gone").line()
    assert said.isprintable()
    assert "[station: DeviceUnavailable]" in said
