"""What the command says when the system refuses it something."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import click
import pytest

from agent.cli import main as main_module
from agent.errors import BitLockerKeyInvalid, IngestError, catalogue

PROGRAM = "import sys; from agent.cli.main import main; sys.exit(main())"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_an_output_that_is_full_is_told_as_such() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "bays"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 5
    assert done.stderr == "error: the output cannot be written: No space left on device [station].\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "error: Too many open files [station].\n"),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/var/lib/x"),
            "error: /var/lib/x: No space left on device [station].\n",
        ),
        (TimeoutError(), "error: TimeoutError [station].\n"),
    ],
)
def test_another_refusal_is_not_taken_for_one_of_the_output(
    error: OSError, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(**_: Any) -> None:
        raise error

    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    monkeypatch.setattr(main_module.cli, "main", refuse)
    with pytest.raises(SystemExit) as ended:
        main_module.main()
    assert ended.value.code == 5
    assert capsys.readouterr().err == said


def test_a_bug_is_told_in_a_line_and_shows_its_place_to_who_asks_for_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stumble(**_: Any) -> None:
        raise ZeroDivisionError("of a secret")

    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    monkeypatch.delenv("INGEST_AGENT_DEBUG", raising=False)
    monkeypatch.setattr(main_module.cli, "main", stumble)
    with pytest.raises(SystemExit) as ended:
        main_module.main()
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: this is a bug of ingest-agent (ZeroDivisionError) [station]. ")
    assert "INGEST_AGENT_DEBUG=1" in line
    monkeypatch.setenv("INGEST_AGENT_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main_module.main()


def _told(error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def refuse(**_: Any) -> None:
        raise error

    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    monkeypatch.setattr(main_module.cli, "main", refuse)
    monkeypatch.setattr(sys, "argv", ["ingest-agent", "replay", "x", "--json"])
    with pytest.raises(SystemExit) as ended:
        main_module.main()
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    told = json.loads(line)
    assert list(told) == ["error"]
    return {**told["error"], "exit": ended.value.code}


def test_with_json_an_error_is_one_object_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = _told(BitLockerKeyInvalid("it opens\nnone"), monkeypatch, capsys)
    assert told == {
        "code": "BitLockerKeyInvalid",
        "side": "drive",
        "message": "it opens\nnone",
        "next": BitLockerKeyInvalid.next_step,
        "exit": 4,
    }


@pytest.mark.parametrize(
    ("error", "code", "side", "exit_code"),
    [
        (click.UsageError("No such option: --jsn"), "Usage", "policy", 2),
        (KeyboardInterrupt(), "Interrupted", "station", 130),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/var/lib/x"), "OSError", "station", 5),
        (ZeroDivisionError(), "Bug", "station", 1),
    ],
)
def test_with_json_whatever_ends_a_command_is_an_object(
    error: BaseException,
    code: str,
    side: str,
    exit_code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = _told(error, monkeypatch, capsys)
    assert (told["code"], told["side"], told["exit"]) == (code, side, exit_code)
    assert told["message"]


def test_the_codes_of_what_is_no_ingest_error_are_those_of_none() -> None:
    assert not {error.__name__ for error in catalogue()} & {"Usage", "Interrupted", "OSError", "Bug"}
    assert IngestError in catalogue()


def test_every_command_has_an_answer_for_machines() -> None:
    """``volume list`` and ``hash`` print JSON lines as they are, ``decrypt`` a volume."""
    without = {" ".join(path) for path, one in _commands(main_module.cli, ()) if not _takes_json(one)}
    assert without == {"volume decrypt", "volume hash", "volume list"}


def _commands(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        one = group.get_command(context, name)
        assert one is not None
        if isinstance(one, click.Group):
            yield from _commands(one, (*path, name))
        else:
            yield (*path, name), one


def _takes_json(command: click.Command) -> bool:
    return any("--json" in option.opts for option in command.params)
