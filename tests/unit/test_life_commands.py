"""The verbs of operators as they are typed, and the check of the history."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent.cli.main import cli
from agent.errors import IngestError, MalformedInput, MoveRefused, SerialNotSpecified
from tests.kit.api import ADDRESS

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A command in a state directory of its own: what it prints. Raises the error that it ends with."""

    def command(*arguments: str) -> str:
        done = CliRunner().invoke(cli, list(arguments), env={"INGEST_AGENT_STATE": str(tmp_path / "state")})
        if isinstance(done.exception, IngestError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.output

    return command


@pytest.fixture
def filed(run: Run, tmp_path: Path) -> Run:
    """With a job of two drives, on its way."""
    body = {"properties": {"allowUnencrypted": True, "driveList": [{"driveId": "A"}, {"driveId": "B"}]}}
    request = tmp_path / "job.json"
    request.write_text(json.dumps(body))
    run("job", "create", "box", "--from", str(request), "--to", "data")
    return run


def states(run: Run) -> list[str]:
    found = json.loads(run("job", "show", "box", "--json"))["properties"]
    return [found["state"], *(drive["state"] for drive in found["driveList"])]


def test_a_box_is_received_and_its_drives_are_faulted_resolved_given_up_and_shipped_back(filed: Run) -> None:
    assert filed("job", "receive", "box", "--note", "dock 2") == "job box is Received\n"
    assert filed("drive", "fault", "A", "--note", "clicks") == "drive A is Faulted; job box is Faulted\n"
    assert "drive A is Received; job box is Received" in filed("drive", "resolve", "A", "--note", "new cable")
    for drive in ("A", "B"):
        filed("drive", "resolve", drive, "--give-up", "--note", "dead")
    assert states(filed) == ["Packaging", "CompletedMoreInfo", "CompletedMoreInfo"]
    back = filed("job", "ship-back", "box", "--carrier", "FedEx", "--tracking", "BACK1")
    assert back == "job box is Closed\n"
    assert "history stays" in filed("job", "delete", "box")
    told = filed("job", "history", "box")
    for word in (
        "dock 2",
        "clicks",
        "new cable",
        "dead",
        "command on",
        "Packaging > Closed",
        "Closed > deleted",
    ):
        assert word in told


def test_a_job_is_faulted_and_resolved_with_a_note(filed: Run) -> None:
    assert filed("job", "fault", "box", "--note", "no return address") == "job box is Faulted\n"
    assert "Faulted by operators: no return address" in filed("job", "show", "box")
    assert filed("job", "resolve", "box", "--note", "asked") == "job box is Shipping\n"
    with pytest.raises(MoveRefused, match="it is not Faulted"):
        filed("job", "resolve", "box", "--note", "again")


@pytest.mark.parametrize(
    "verb", [("job", "fault", "box"), ("drive", "fault", "A"), ("drive", "resolve", "A")]
)
def test_a_reason_is_asked_for(filed: Run, verb: tuple[str, ...]) -> None:
    with pytest.raises(AssertionError, match="Missing option '--note'"):
        filed(*verb)


def test_waiting_is_extended(filed: Run) -> None:
    before = filed("job", "show", "box")
    filed("job", "extend", "box", "--days", "300", "--note", "customs")
    after = filed("job", "show", "box")
    assert "waits until" in before
    assert "waits until" in after
    assert before != after
    with pytest.raises(MalformedInput, match="not by 0"):
        filed("job", "extend", "box", "--days", "0")


def test_a_drive_that_its_box_should_not_hold_is_an_extra_drive_until_it_is_given_back(filed: Run) -> None:
    assert "is an extra drive: it came with job box" in filed("drive", "receive", "X 9", "--job", "box")
    rows = json.loads(filed("drive", "list", "--json"))["value"]
    (extra,) = [row for row in rows if row["serial"] == "X 9"]
    assert extra["state"] is None
    assert extra["note"].startswith("came with job box; here since")
    assert filed("drive", "ship-back", "X9") == "extra drive X9 is given back\n"
    assert "X9" not in filed("drive", "list")
    with pytest.raises(SerialNotSpecified):
        filed("drive", "ship-back", "X9")


def test_a_drive_is_received_by_its_serial_alone(filed: Run) -> None:
    assert filed("drive", "receive", "A") == "drive A is Received; job box is Shipping\n"
    assert filed("drive", "never-received", "B") == "drive B is NeverReceived; job box is Received\n"
    with pytest.raises(SerialNotSpecified, match="found: none"):
        filed("drive", "receive", "Z")


def test_a_draft_ships_with_a_package_and_an_address_or_by_hand(run: Run, tmp_path: Path) -> None:
    address = tmp_path / "address.json"
    address.write_text(json.dumps(ADDRESS))
    draft = ("--drive", "A", "--to", "data", "--allow-unencrypted", "--draft")
    run("job", "create", "box", *draft)
    with pytest.raises(MalformedInput, match="needs both"):
        run("job", "ship", "box", "--carrier", "FedEx")
    package = ("--carrier", "FedEx", "--tracking", "TRK1")
    with pytest.raises(MoveRefused, match="no returnAddress"):
        run("job", "ship", "box", *package)
    assert "Shipping" in run("job", "ship", "box", *package, "--return-address", str(address))
    told = run("job", "history", "box")
    assert "deliveryPackage" in told
    assert "Person" not in told
    run("job", "create", "box-2", "--drive", "B", *draft[2:])
    assert "Shipping" in run("job", "ship", "box-2", "--by-hand")


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "JSON"), ("[]", "returnAddress"), ('{"city": 1}', "returnAddress"), ("null", "holds no address")],
)
def test_an_address_that_is_none_is_refused(filed: Run, tmp_path: Path, text: str, said: str) -> None:
    address = tmp_path / "address.json"
    address.write_text(text)
    with pytest.raises(MalformedInput, match=said):
        filed("job", "ship", "box", "--return-address", str(address))
    with pytest.raises(MalformedInput, match="cannot be read"):
        filed("job", "ship", "box", "--return-address", str(tmp_path / "none.json"))


@pytest.mark.parametrize("text", ["\udcff", "1\n2", "1" * 10_000], ids=["no text", "two lines", "very long"])
@pytest.mark.parametrize("option", ["--carrier", "--tracking"])
def test_a_package_is_named_in_one_line_of_text(filed: Run, option: str, text: str) -> None:
    given = {"--carrier": "FedEx", "--tracking": "TRK1"} | {option: text}
    before = filed("job", "show", "box", "--json")
    with pytest.raises(MalformedInput, match=r"package\.(carrierName|trackingNumber): (holds|has)"):
        filed("job", "ship", "box", *[part for pair in given.items() for part in pair])
    assert filed("job", "show", "box", "--json") == before


def test_a_cancelled_box_needs_no_bay(filed: Run) -> None:
    filed("job", "cancel", "box", "--note", "wrong drives")
    assert filed("job", "receive", "box") == "job box is Packaging, cancel requested\n"
    assert filed("job", "ship-back", "box") == "job box is Completed, cancel requested\n"


def test_a_job_without_a_place_for_its_files_is_told_both_ways_to_name_one(run: Run) -> None:
    with pytest.raises(MalformedInput, match=r"--to CONTAINER.*or name a --manifest"):
        run("job", "create", "box", "--drive", "A1", "--allow-unencrypted")


def test_a_history_that_was_tampered_with_is_told_with_its_first_broken_link(
    filed: Run, tmp_path: Path
) -> None:
    said = filed("history", "verify")
    assert said.startswith("2 events, unbroken\nhead 2:")
    head = said.splitlines()[-1].removeprefix("head ")
    assert filed("history", "verify", "--head", head) == said
    filed("job", "receive", "box")
    assert "events, unbroken" in filed("history", "verify", "--head", head)
    connection = sqlite3.connect(tmp_path / "state/catalog.sqlite")
    connection.execute("DROP TRIGGER event_no_update")
    connection.execute("UPDATE event SET who = 'nobody' WHERE id = 3")
    connection.commit()
    connection.close()
    for arguments in ((), ("--json",)):
        told = CliRunner().invoke(
            cli, ["history", "verify", *arguments], env={"INGEST_AGENT_STATE": str(tmp_path / "state")}
        )
        assert told.exit_code == 5
        assert "the history is broken: event 3 (drive.arrive) was changed" in told.stderr
        assert told.stderr.startswith("error: " if not arguments else '{"error": {"code": "HistoryBroken", ')
    assert json.loads(told.stdout)["broken"].startswith("event 3 (drive.arrive) was changed")
    with pytest.raises(MalformedInput, match="no head of a history"):
        filed("history", "verify", "--head", "3")


def test_the_check_of_the_history_is_told_to_machines(filed: Run) -> None:
    told = json.loads(filed("history", "verify", "--json"))
    assert (told["events"], told["broken"], told["chainedLater"]) == (2, None, 0)
    events = json.loads(filed("job", "history", "box", "--json"))["value"]
    assert told["head"] == f"{events[-1]['id']}:{events[-1]['hash']}"
    assert (events[-1]["was"], events[-1]["now"]) == ("Creating", "Shipping")
    assert events[-1]["from"].startswith("command on ")
