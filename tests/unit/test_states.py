"""The state tables, against an expectation written by hand from the service's documentation."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

import pytest

from agent.errors import MoveRefused
from agent.model.describe import main, states_markdown
from agent.model.moves import Move, NoOp, Refused, Row, table
from agent.model.states import (
    CANCELLABLE_JOBS,
    FINISHED_JOBS,
    OPEN_DRIVES,
    PROCESSABLE_JOBS,
    DriveEvent,
    DriveState,
    JobEvent,
    JobState,
    drive_outcome,
    job_outcome,
    move_drive,
    move_job,
)

# Every event in every state, spelled out here on purpose and not taken from the tables:
# a state to move to, "stays", "no-op", "refused", or "deleted".
JOB_LIFE = """
EVENT                     Creating  Shipping      Received      Transferring  Packaging     Completed  Closed   Faulted
UPDATE_DRIVES             stays     refused       refused       refused       refused       refused    refused  refused
UPDATE_OPTIONS            stays     stays         stays         refused       refused       refused    refused  refused
UPDATE_PAPERS             stays     stays         stays         stays         stays         refused    refused  stays
SHIP                      Shipping  no-op         no-op         no-op         no-op         refused    refused  no-op
LATE                      refused   stays         stays         stays         stays         refused    refused  stays
EXTEND                    stays     stays         stays         stays         stays         refused    refused  stays
UNANSWERED                refused   Closed        refused       refused       refused       refused    refused  refused
NOTHING_CAME              refused   Completed     refused       refused       refused       refused    refused  refused
ALL_RECEIVED              refused   Received      refused       refused       refused       refused    refused  refused
FIRST_BEGUN               refused   Transferring  Transferring  refused       refused       refused    refused  refused
ALL_PROCESSED             refused   refused       refused       Packaging     refused       refused    refused  refused
TURNED_UP                 refused   refused       refused       refused       Transferring  refused    refused  refused
SHIPPED_BACK_CLEAN        refused   refused       refused       refused       Completed     refused    refused  refused
SHIPPED_BACK_WITH_ERRORS  refused   refused       refused       refused       Closed        refused    refused  refused
CANCEL                    stays     stays         stays         stays         refused       refused    refused  stays
FAULT                     refused   Faulted       Faulted       Faulted       Faulted       refused    refused  no-op
RESOLVE_TO_SHIPPING       refused   refused       refused       refused       refused       refused    refused  Shipping
RESOLVE_TO_RECEIVED       refused   refused       refused       refused       refused       refused    refused  Received
RESOLVE_TO_TRANSFERRING   refused   refused       refused       refused       refused       refused    refused  Transferring
RESOLVE_TO_PACKAGING      refused   refused       refused       refused       refused       refused    refused  Packaging
EXPIRE                    deleted   refused       refused       refused       refused       deleted    deleted  refused
DELETE                    deleted   refused       refused       refused       refused       deleted    deleted  refused
"""  # noqa: E501

DRIVE_LIFE = """
EVENT                 Specified      NeverReceived  Received           Transferring       Completed    CompletedMoreInfo  ShippedBack  Faulted
ARRIVE                Received       Received       no-op              no-op              no-op        no-op              refused      no-op
MISS                  NeverReceived  no-op          refused            refused            refused      refused            refused      refused
BEGIN                 refused        refused        Transferring       refused            refused      refused            refused      refused
FINISH_CLEAN          refused        refused        refused            Completed          refused      refused            refused      refused
FINISH_WITH_FINDINGS  refused        refused        refused            CompletedMoreInfo  refused      refused            refused      refused
SHIP_BACK             refused        refused        refused            refused            ShippedBack  ShippedBack        no-op        refused
FAULT                 refused        refused        Faulted            Faulted            refused      refused            refused      no-op
RESOLVE               refused        refused        refused            refused            refused      refused            refused      Received
GIVE_UP               refused        refused        CompletedMoreInfo  refused            refused      refused            refused      CompletedMoreInfo
"""  # noqa: E501


def life(text: str) -> dict[tuple[str, str], str]:
    head, *rows = (line.split() for line in text.strip().splitlines())
    return {(state, row[0]): said for row in rows for state, said in zip(head[1:], row[1:], strict=True)}


def moves(text: str) -> dict[tuple[str, str], str]:
    """Those that lead to another state; "deleted" is one here."""
    rest = {"stays", "no-op", "refused"}
    return {pair: said for pair, said in life(text).items() if said not in rest}


def reached_from(first: str, ways: dict[tuple[str, str], str]) -> set[str]:
    seen: set[str] = set()
    waiting = [first]
    while waiting:
        state = waiting.pop()
        seen.add(state)
        waiting += [end for (start, _), end in ways.items() if start == state and end not in seen]
    return seen


def names(states: Iterable[str]) -> set[str]:
    return {str(state) for state in states}


def said(state: JobState | DriveState, outcome: object) -> str:
    match outcome:
        case Move(None):
            return "deleted"
        case Move(to):
            return "stays" if to is state else str(to)
        case NoOp(why) | Refused(why):
            assert why
            return "no-op" if isinstance(outcome, NoOp) else "refused"
    raise AssertionError(outcome)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(JobState, JobEvent)))
def test_job_moves_as_documented_or_is_refused(state: JobState, event: JobEvent) -> None:
    expected = life(JOB_LIFE)[state.value, event.name]
    assert said(state, job_outcome(state, event)) == expected
    if expected == "refused":
        with pytest.raises(MoveRefused, match=f"a job in {state} .*{re.escape(event)}"):
            move_job(state, event)
    else:
        after = {"deleted": None, "stays": state, "no-op": state}.get(expected, expected)
        assert move_job(state, event) == after


@pytest.mark.parametrize(("state", "event"), list(itertools.product(DriveState, DriveEvent)))
def test_drive_moves_as_documented_or_is_refused(state: DriveState, event: DriveEvent) -> None:
    expected = life(DRIVE_LIFE)[state.value, event.name]
    assert said(state, drive_outcome(state, event)) == expected
    if expected == "refused":
        with pytest.raises(MoveRefused, match=f"a drive in {state} .*{re.escape(event)}"):
            move_drive(state, event)
    else:
        assert move_drive(state, event) == (state if expected == "no-op" else expected)


def test_every_job_state_is_reached_from_creating() -> None:
    assert reached_from("Creating", moves(JOB_LIFE)) == names(JobState) | {"deleted"}


def test_every_drive_state_is_reached_from_specified() -> None:
    assert reached_from("Specified", moves(DRIVE_LIFE)) == names(DriveState)


def test_from_every_state_a_job_comes_to_its_end() -> None:
    for state in names(JobState):
        assert "deleted" in reached_from(state, moves(JOB_LIFE)), state
    for state in names(DriveState) - {"NeverReceived"}:
        assert "ShippedBack" in reached_from(state, moves(DRIVE_LIFE)), state


class Light(StrEnum):
    RED = "red"
    GREEN = "green"


class Switch(StrEnum):
    ON = "it is switched on"


def test_a_table_that_forgets_a_state_or_tells_of_one_twice_is_refused() -> None:
    whole = Row(Switch.ON, moves={Light.RED: Light.GREEN}, nothing={"is on": [Light.GREEN]})
    assert table(Light, Switch, [whole])[Light.RED, Switch.ON] == Move(Light.GREEN)
    with pytest.raises(ValueError, match="ON has no outcome in green"):
        table(Light, Switch, [Row(Switch.ON, stays=[Light.RED])])
    with pytest.raises(ValueError, match="green has two outcomes for ON"):
        table(Light, Switch, [whole, Row(Switch.ON, stays=[Light.GREEN])])


def test_states_are_spelled_as_on_the_wire() -> None:
    assert names(DriveState) - {"Faulted"} == {
        "Specified",
        "Received",
        "NeverReceived",
        "Transferring",
        "Completed",
        "CompletedMoreInfo",
        "ShippedBack",
    }


def test_groups_of_states_are_the_documented_ones() -> None:
    assert names(PROCESSABLE_JOBS) == {"Shipping", "Received", "Transferring", "Packaging"}
    assert names(FINISHED_JOBS) == {"Completed", "Closed"}
    assert names(CANCELLABLE_JOBS) == {"Creating", "Shipping", "Received", "Transferring", "Faulted"}
    assert names(DriveState) - names(OPEN_DRIVES) == {"Completed", "CompletedMoreInfo", "ShippedBack"}


def test_printed_page_is_the_one_in_docs() -> None:
    page = Path(__file__).parents[2] / "docs" / "states.md"
    assert page.read_text(encoding="utf-8") == states_markdown(), "print it again: agent.model.describe"


def test_page_shows_every_move_in_table_and_diagram() -> None:
    page = states_markdown()
    ways = [*moves(JOB_LIFE).items(), *moves(DRIVE_LIFE).items()]
    for (start, _), end in ways:
        assert f"    {start} --> {'[*]' if end == 'deleted' else end}: " in page
    # Besides: two beginnings, and the end of a drive that is shipped back.
    assert page.count(" --> ") == len(ways) + 3


@pytest.mark.parametrize(("text", "events"), [(JOB_LIFE, JobEvent), (DRIVE_LIFE, DriveEvent)])
def test_page_tells_the_outcome_of_every_event_in_every_state(
    text: str, events: type[JobEvent] | type[DriveEvent]
) -> None:
    page = states_markdown()
    states = JobState if events is JobEvent else DriveState
    for event in events:
        cells = [life(text)[state.value, event.name] for state in states]
        shown = [f"`{cell}`" if cell[0].isupper() else cell for cell in cells]
        assert f"| {event} | {' | '.join(shown)} |" in page


def test_describe_prints_the_page_and_refuses_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["states"]) == 0
    assert capsys.readouterr().out == states_markdown()
    assert main(["weather"]) == 2
    assert "usage" in capsys.readouterr().err
