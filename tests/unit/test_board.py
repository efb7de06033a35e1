"""Rows that processes share: turns, kills, reboots, damage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.errors import StateUnusable
from agent.transfer.board import MAX_BYTES, Board, Rows, parse_rows

COUNTER = """
import sys, time
from pathlib import Path
from agent.transfer.board import Board
board = Board(Path(sys.argv[1]))
done = 0
print("begun", flush=True)
while done < int(sys.argv[2]):
    if board.change(lambda rows: rows.__setitem__("n", [rows.get("n", [0])[0] + 1]) or True):
        done += 1
"""

HOLDER = """
import sys, time
from pathlib import Path
from agent.transfer.board import Board
def hold(rows):
    print("held", flush=True)
    time.sleep(600)
Board(Path(sys.argv[1])).change(hold)
"""


def _set(name: str, value: float) -> object:
    def edit(rows: Rows) -> bool:
        rows[name] = [value]
        return True

    return edit


def _start(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def test_no_change_of_several_processes_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "state" / "pace.json"
    processes = [_start(COUNTER, str(path), "300") for _ in range(3)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert Board(path).change(lambda rows: rows["n"]) == [900]


def test_who_holds_the_turn_keeps_nobody_waiting_and_a_killed_one_loses_it(tmp_path: Path) -> None:
    path = tmp_path / "pace.json"
    holder = _start(HOLDER, str(path))
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        board = Board(path)
        assert board.change(lambda rows: True) is None
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.communicate(timeout=30)
    assert board.change(lambda rows: True) is True
    board.close()


def test_a_row_is_seen_by_another_board(tmp_path: Path) -> None:
    one, other = Board(tmp_path / "pace.json"), Board(tmp_path / "pace.json")
    one.change(_set("a", 1.5))  # type: ignore[arg-type]
    assert other.change(lambda rows: dict(rows)) == {"a": [1.5]}


def test_rows_that_become_fewer_leave_nothing_behind(tmp_path: Path) -> None:
    board = Board(tmp_path / "pace.json")
    for number in range(50):
        board.change(_set(f"row {number}", number))  # type: ignore[arg-type]
    board.change(lambda rows: rows.clear())
    assert board.change(lambda rows: dict(rows)) == {}


def test_rows_of_another_boot_count_as_none() -> None:
    data = json.dumps({"boot": "then", "rows": {"a": [1]}}).encode() + b"\n"
    assert parse_rows(data, "then") == {"a": [1]}
    assert parse_rows(data, "now") == {}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 100,
        b"{}",
        b"[]\n",
        b'{"boot":"b","rows":[]}\n',
        b'{"boot":"b","rows":{"a":1}}\n',
        b'{"boot":"b","rows":{"a":["1"]}}\n',
        b'{"boot":"b","rows":{"a":[NaN]}}\n',
        b'{"boot":"b","rows":{"a":[1e400]}}\n',
        b'{"boot":"b","rows":{"a":[true]}}\n',
        b'{"boot":"b","rows":{"a":[1,2,3,4,5,6,7,8,9]}}\n',
        b'{"boot":"b","rows":{"a":[' + b"9" * 5000 + b"]}}\n",
        b"[" * MAX_BYTES + b"\n",
    ],
)
def test_damaged_rows_count_as_none(data: bytes) -> None:
    assert parse_rows(data, "b") == {}


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / "pace.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateUnusable, match="cannot be opened"):
        Board(tmp_path / "pace.json")
