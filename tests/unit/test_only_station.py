"""One station a state directory."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent.cli.main import cli
from agent.errors import StateUnusable, StationRunning
from agent.station.alone import only_station


def test_a_second_station_of_a_state_directory_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    state = tmp_path / "new" / "state"
    with only_station(state):
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        with pytest.raises(StationRunning, match="another station runs"), only_station(state):
            pass
    with only_station(state):
        pass


def test_what_a_station_raises_is_not_taken_for_another_station(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError), only_station(tmp_path):
        raise BlockingIOError


def test_a_state_directory_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(StateUnusable, match="cannot be held"), only_station(tmp_path / "state"):
        pass


def test_run_says_so_and_opens_no_socket(tmp_path: Path) -> None:
    settings = tmp_path / "agent.toml"
    settings.write_text(
        f'state_dir = "{tmp_path}/state"\n[metrics]\nlisten = "{tmp_path}/m.sock"\n'
        f'[[image]]\npath = "{settings}"\nserial = "S1"\n'
    )
    with only_station(tmp_path / "state"):
        done = CliRunner().invoke(cli, ["--config", str(settings), "run"])
    assert isinstance(done.exception, StationRunning)
    assert done.exception.exit_code == 5
    assert not (tmp_path / "m.sock").exists()
