"""What a technician sees of a running transfer."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from agent.cli.screen import duration
from agent.cli.watching import Watching, progress_text

NOTHING = [0, 0]


def _progress(percent: int, done: list[int], **more: Any) -> dict[str, Any]:
    tally = {"discovered": [1000, 10**10], "done": done, "failed": NOTHING, "skipped": NOTHING}
    return {"event": "progress", "percent": percent, "tally": tally, "waiting": None, **more}


def _finished(**more: Any) -> dict[str, Any]:
    return _progress(0, [1000, 10**10], **more) | {"event": "finished"}


def test_a_line_says_how_far_how_fast_how_long_and_why() -> None:
    event = _progress(
        23,
        [200, 2 * 10**9],
        through_bytes=2_300_000_000,
        bytes_per_s=85_400_000,
        seconds_left=5000,
        limited_by="drive",
    )
    assert progress_text(event) == (
        "200 of 1000 files, 2.3 GB of 10.0 GB, 85.4 MB/s, about 1 h 23 min left, held up by the drive"
    )


def test_what_is_not_known_is_not_said() -> None:
    assert progress_text(_progress(0, NOTHING)) == "0 of 1000 files, 0 B of 10.0 GB"
    unknown = {"bytes_per_s": None, "seconds_left": None, "limited_by": None, "throttled_requests": 0}
    assert progress_text(_progress(0, NOTHING, **unknown)) == "0 of 1000 files, 0 B of 10.0 GB"


def test_weather_is_told_and_no_end_is_promised_in_an_outage() -> None:
    event = _progress(
        10,
        [1, 10**9],
        seconds_left=10,
        bytes_per_s=1,
        waiting="acct.blob: timed out",
        throttled_requests=12,
        cut_requests=1,
    )
    assert progress_text(event) == (
        "1 of 1000 files, 1.0 GB of 10.0 GB, waiting: acct.blob: timed out, "
        "the service answered 503 to 12 requests, 1 request cut off unanswered and sent again"
    )


def test_with_all_files_through_the_logs_are_what_is_left() -> None:
    event = _progress(99, [1000, 10**10], seconds_left=0, bytes_per_s=5, limited_by="cap")
    assert progress_text(event) == "1000 of 1000 files, 10.0 GB of 10.0 GB, finishing"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "1 h 0 min"),
        (12_000, "3 h 20 min"),
        (90_000, "1 day 1 h"),
    ],
)
def test_durations_are_told_roughly(seconds: int, said: str) -> None:
    assert duration(seconds) == said


def _said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_elsewhere_than_on_a_terminal_a_line_comes_each_ten_percent_or_each_minute(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = 0.0
    with Watching(quiet=False, seconds=lambda: now) as screen:
        for second in range(130):
            now = float(second)
            screen.take(_progress(0 if second < 125 else 15, NOTHING))
        screen.take(_finished())
    assert [line[:5] for line in _said(capsys)] == ["  0 %", "  0 %", "  0 %", " 15 %", "100 %"]


def test_nobody_is_told_100_percent_before_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    with Watching(quiet=False) as screen:
        screen.take(_progress(99, [1000, 10**10]))
        assert "100 %" not in capsys.readouterr().err
        screen.take(_finished(throttled_requests=2))
    (line,) = _said(capsys)
    assert line == "100 %  1000 of 1000 files, 10.0 GB of 10.0 GB, the service answered 503 to 2 requests"


def test_a_drive_that_could_not_be_opened_is_at_no_percent(capsys: pytest.CaptureFixture[str]) -> None:
    event = _finished()
    event["tally"] = dict.fromkeys(event["tally"], NOTHING)
    with Watching(quiet=False) as screen:
        screen.take(event)
    assert _said(capsys) == []


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_a_bar_counts_and_ends_at_100(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    for event in ({"event": "inventory", "files": 12_345}, _finished()):
        with Watching(quiet=False) as screen:
            screen.take(event)
    assert "counting: 12345 files so far" in terminal.getvalue()
    assert "100 %" in terminal.getvalue()


def test_machines_are_told_nothing_on_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    with Watching(quiet=True) as screen:
        screen.take(_progress(50, NOTHING))
        screen.take(_finished())
    assert _said(capsys) == []
