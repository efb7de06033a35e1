"""The log as people, machines and the journal get it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from agent.cli import main
from agent.telemetry import Log, open_log


@pytest.fixture
def file(tmp_path: Path) -> Iterator[TextIO]:
    with (tmp_path / "log").open("w+", encoding="utf-8") as stream:
        yield stream


def _journal(file: TextIO) -> dict[str, str]:
    found = os.fstat(file.fileno())
    return {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}


def _lines(file: TextIO) -> list[str]:
    file.flush()
    return Path(file.name).read_text("utf-8").splitlines()


def _tell_all(log: Log) -> None:
    bound = log.bind(drive="WD-1", bay="3", job="box")
    bound.info("drive.begin")
    bound.warning("drive.paused", detail="no answer")
    bound.error("worker.lost", crashes=1)


def test_each_line_of_the_journal_has_its_priority_and_no_second_time(file: TextIO) -> None:
    _tell_all(open_log(as_json=False, stream=file, environment=_journal(file)))
    assert _lines(file) == [
        "<6>event=drive.begin job=box drive=WD-1 bay=3",
        '<4>event=drive.paused job=box drive=WD-1 bay=3 detail="no answer"',
        "<3>event=worker.lost job=box drive=WD-1 bay=3 crashes=1",
    ]


def test_json_in_the_journal_has_it_as_well(file: TextIO) -> None:
    _tell_all(open_log(as_json=True, stream=file, environment=_journal(file)))
    lines = _lines(file)
    assert [line[:3] for line in lines] == ["<6>", "<4>", "<3>"]
    told = json.loads(lines[1][3:])
    assert (told["event"], told["level"], told["drive"]) == ("drive.paused", "warning", "WD-1")


@pytest.mark.parametrize("environment", [{}, {"JOURNAL_STREAM": "1:2"}], ids=["none", "of another stream"])
def test_elsewhere_a_line_begins_with_the_time(file: TextIO, environment: dict[str, str]) -> None:
    _tell_all(open_log(as_json=False, stream=file, environment=environment))
    assert all(line.startswith("timestamp=20") for line in _lines(file))
    assert " level=warning event=drive.paused " in _lines(file)[1]


@pytest.mark.parametrize("as_json", [False, True])
def test_no_value_can_make_a_line_of_its_own(file: TextIO, as_json: bool) -> None:
    log = open_log(as_json=as_json, stream=file, environment=_journal(file))
    log.info("drive.left_alone", detail="name\n<0>event=forged\r<0>x", label="\x85\u2028<0>y")
    assert len(Path(file.name).read_bytes().splitlines()) == 1


def test_the_error_that_ends_a_command_is_an_error_in_the_journal(
    file: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", file)
    monkeypatch.setattr("sys.argv", ["ingest-agent", "--config", "/nowhere/agent.toml", "job", "list"])
    for name, value in _journal(file).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 5
    assert _lines(file)[0].startswith("<3>error: /nowhere/agent.toml cannot be read")
