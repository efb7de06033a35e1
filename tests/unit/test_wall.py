"""The screen on the wall: what a technician reads of each bay."""

from __future__ import annotations

import io
import os
import pty
import select
import signal
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from agent.cli.main import cli
from agent.cli.occupancy import BayRow
from agent.cli.wall import tiles
from agent.model.identity import SerialNumber
from agent.model.states import DriveState
from tests.kit import killing

NOW = datetime(2026, 11, 21, 18, 5, 23, tzinfo=UTC)
ROWS = [
    BayRow(
        "1",
        SerialNumber.parse("WD-1"),
        4_000_000_000_000,
        "contoso",
        DriveState.TRANSFERRING,
        62,
        "it is being copied: 183.2 MB/s, about 2 h 12 min left",
        "Nothing to do.",
    ),
    BayRow(
        "2", SerialNumber.parse("WD-2"), None, "contoso", DriveState.COMPLETED, 100, "all is there", "Go."
    ),
    BayRow("3"),
    BayRow("4", SerialNumber.parse("WD-4"), None, "fabrikam", DriveState.FAULTED, 12, "no key", "Ask.", NOW),
    BayRow("5", SerialNumber.parse("WD-5"), what="an extra drive\x1b[2J", next_step="File a job."),
]


def _shown(rows: list[BayRow], columns: int, trouble: str = "") -> list[str]:
    screen = Console(width=columns, file=io.StringIO(), highlight=False, markup=False, emoji=False)
    screen.print(tiles(rows, NOW, screen, trouble))
    file = screen.file
    assert isinstance(file, io.StringIO)
    return file.getvalue().splitlines()


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_each_bay_has_a_tile_that_says_all_of_its_drive_at_any_width(columns: int) -> None:
    lines = _shown(ROWS, columns)
    assert all(len(line) <= columns for line in lines)
    text = " ".join("\n".join(lines).replace("│", " ").split())
    for row in ROWS:
        assert f" {row.bay} " in text
        if row.serial is not None:
            assert row.serial.shown in text
    assert "Transferring 62 %" in text
    assert "Faulted 12 %" in text
    assert "\x1b" not in text


def test_the_head_tells_the_time_and_counts_what_is_to_be_done() -> None:
    assert _shown(ROWS, 80)[0] == "18:05:23  1 at work   1 to be taken out   2 with trouble   1 empty"


def test_the_bar_is_as_long_as_the_percent() -> None:
    (bar,) = [line for line in _shown(ROWS[:1], 54) if "░" in line]
    assert (bar.count("█"), bar.count("░")) == (31, 19)


def test_what_cannot_be_looked_at_stands_above_the_tiles_of_before() -> None:
    lines = _shown(ROWS[:1], 80, "the catalog is locked [station: CatalogBusy]. Try again.")
    assert "the catalog is locked" in lines[1]
    assert any("WD-1" in line for line in lines)


def test_without_bays_it_says_so() -> None:
    assert "no bay is configured" in "\n".join(_shown([], 80))


@pytest.mark.parametrize(
    ("more", "said"), [([], "--watch needs a terminal"), (["--json"], "--watch is for people")]
)
def test_it_is_refused_where_there_is_no_screen(tmp_path: Path, more: list[str], said: str) -> None:
    environment = {"INGEST_AGENT_STATE": str(tmp_path), "INGEST_AGENT_CONFIG": str(_settings(tmp_path))}
    done = CliRunner(env=environment).invoke(cli, ["bays", "--watch", *more])
    assert done.exit_code != 0
    assert said in str(done.exception or "") + done.output


def test_on_a_terminal_it_is_kept_up_to_date_until_it_is_interrupted(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        killing.command("--config", str(_settings(tmp_path)), "bays", "--watch"),
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
        start_new_session=True,
    ) as process:
        os.close(theirs)
        _read_until(ours, b"S-WALL")
        (tmp_path / "drive.img").unlink()
        _read_until(ours, b"no drive is attached")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == 130
    assert b"Traceback" not in said


def _settings(tmp_path: Path) -> Path:
    (tmp_path / "drive.img").write_bytes(bytes(4096))
    file = tmp_path / "agent.toml"
    file.write_text(
        f'state_dir = "{tmp_path}/state"\n[[image]]\npath = "{tmp_path}/drive.img"\nserial = "S-WALL"\n'
    )
    return file


def _read_until(terminal: int, wanted: bytes) -> None:
    seen, until = b"", time.monotonic() + 60
    while wanted not in seen:
        assert time.monotonic() < until, seen
        if select.select([terminal], [], [], 1.0)[0]:
            seen += os.read(terminal, 65536)


def test_a_catalog_that_cannot_be_read_makes_no_extra_drive_of_a_drive_of_a_job(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "catalog.sqlite").write_bytes(b"no database" * 100)
    done = CliRunner().invoke(cli, ["--config", str(_settings(tmp_path)), "bays"])
    assert done.exit_code == 0
    assert "S-WALL" in done.output
    assert "extra drive" not in done.output
    assert "[station: StateUnusable]" in done.output


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else for a while")
def test_who_may_not_look_into_the_catalog_sees_the_bays_and_that() -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)
        (folder / "state").mkdir(mode=0o700)
        (folder / "state/catalog.sqlite").write_bytes(b"no database" * 100)
        settings = _settings(folder)
        CliRunner().invoke(cli, ["--config", str(settings), "bays"])  # nobody may not import everything
        os.seteuid(65534)
        try:
            done = CliRunner().invoke(cli, ["--config", str(settings), "bays"])
        finally:
            os.seteuid(0)
    assert done.exit_code == 0, done.output
    assert "S-WALL" in done.output
    assert "Permission denied [station: StateUnusable]" in done.output
