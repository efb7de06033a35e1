"""How the laboratory reads the service's lines in the journal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.telemetry import open_log
from tests.lab.scene_journal import Reading, fields_of


@pytest.mark.parametrize(
    "value",
    ["plain", "two words", 'a "quoted" one', r"\photos\2024", "a=b", "", r"ends in \"", "34 °C; pending 8"],
)
def test_a_field_is_read_as_it_was_logged(tmp_path: Path, value: str) -> None:
    with (tmp_path / "journal").open("w+", encoding="utf-8") as stream:
        status = os.fstat(stream.fileno())
        log = open_log(
            as_json=False, stream=stream, environment={"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        )
        log.bind(drive="WD-1", bay="3").warning("drive.told", detail=value, proven=True, other=False, count=2)
        stream.seek(0)
        line = stream.read()
    assert line.startswith("<4>")
    assert fields_of(line[3:].rstrip("\n")) == {
        "event": "drive.told",
        "drive": "WD-1",
        "bay": "3",
        "detail": value,
        "proven": "true",
        "other": "false",
        "count": "2",
    }


def test_lines_of_others_have_no_fields_and_reading_goes_on_where_it_ended() -> None:
    reading = Reading()
    assert "-b" in reading.command()
    reading.take('{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1700000000000000","MESSAGE":"Started it."}\n')
    reading.take(
        '{"__CURSOR":"s=2","__REALTIME_TIMESTAMP":"1700000001000000","PRIORITY":"4","MESSAGE":"event=a b=1"}'
    )
    assert [(line.event, line.priority) for line in reading.lines] == [("", 6), ("a", 4)]
    assert "--after-cursor=s=2" in reading.command()
    reading.begin_boot()
    assert "-b" in reading.command()
