"""The state tables, against an expectation written by hand from the service's documentation."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

import pytest

from agent.errors import MoveRefused
from agent.model.describe import main, states_markdown
from agent.model.states import (
    CANCELLABLE_JOBS,
    OPEN_DRIVES,
    PROCESSABLE_JOBS,
    DriveEvent,
    DriveState,
    JobEvent,
    JobState,
    move_drive,
    move_job,
)

# state: what moves it, and where to. Spelled out here on purpose, not taken from the tables.
JOB_LIFE = """
Creating      SHIP                       Shipping
Shipping      ALL_RECEIVED               Received
Shipping      FIRST_BEGUN                Transferring
Shipping      UNANSWERED                 Closed
Received      FIRST_BEGUN                Transferring
Transferring  ALL_PROCESSED              Packaging
Transferring  FAULT                      Faulted
Faulted       RESOLVE                    Transferring
Packaging     SHIPPED_BACK_CLEAN         Completed
Packaging     SHIPPED_BACK_WITH_ERRORS   Closed
"""

DRIVE_LIFE = """
Specified          ARRIVE                Received
Specified          MISS                  NeverReceived
NeverReceived      ARRIVE                Received
Received           BEGIN                 Transferring
Transferring       FINISH_CLEAN          Completed
Transferring       FINISH_WITH_FINDINGS  CompletedMoreInfo
Transferring       FAULT                 Faulted
Faulted            RESOLVE               Received
Completed          SHIP_BACK             ShippedBack
CompletedMoreInfo  SHIP_BACK             ShippedBack
"""


def life(text: str) -> dict[tuple[str, str], str]:
    rows = [line.split() for line in text.strip().splitlines()]
    return {(start, event): end for start, event, end in rows}


def reached_from(first: str, moves: dict[tuple[str, str], str]) -> set[str]:
    seen: set[str] = set()
    waiting = [first]
    while waiting:
        state = waiting.pop()
        seen.add(state)
        waiting += [end for (start, _), end in moves.items() if start == state and end not in seen]
    return seen


def names(states: Iterable[str]) -> set[str]:
    return {str(state) for state in states}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(JobState, JobEvent)))
def test_job_moves_as_documented_or_is_refused(state: JobState, event: JobEvent) -> None:
    expected = life(JOB_LIFE).get((state.value, event.name))
    if expected is not None:
        assert move_job(state, event) == expected
        return
    with pytest.raises(MoveRefused, match=f"a job in {state}"):
        move_job(state, event)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(DriveState, DriveEvent)))
def test_drive_moves_as_documented_or_is_refused(state: DriveState, event: DriveEvent) -> None:
    expected = life(DRIVE_LIFE).get((state.value, event.name))
    if expected is not None:
        assert move_drive(state, event) == expected
        return
    with pytest.raises(MoveRefused, match=f"a drive in {state}"):
        move_drive(state, event)


def taken(states: Iterable[str], events: Iterable[str], move: object) -> dict[tuple[str, str], str]:
    assert callable(move)
    found: dict[tuple[str, str], str] = {}
    for state, event in itertools.product(states, events):
        try:
            found[str(state), event] = str(move(state, event))
        except MoveRefused:
            continue
    return found


def test_every_job_state_is_reached_from_creating() -> None:
    assert reached_from("Creating", taken(JobState, JobEvent, move_job)) == names(JobState)


def test_every_drive_state_is_reached_from_specified() -> None:
    assert reached_from("Specified", taken(DriveState, DriveEvent, move_drive)) == names(DriveState)


def test_only_completed_and_closed_jobs_and_drives_shipped_back_stay_as_they_are() -> None:
    jobs = {start for start, _ in taken(JobState, JobEvent, move_job)}
    drives = {start for start, _ in taken(DriveState, DriveEvent, move_drive)}
    assert names(JobState) - jobs == {"Completed", "Closed"}
    assert names(DriveState) - drives == {"ShippedBack"}


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
    assert names(PROCESSABLE_JOBS) == {"Shipping", "Received", "Transferring"}
    assert names(CANCELLABLE_JOBS) == {"Creating", "Shipping", "Received", "Transferring", "Faulted"}
    assert names(DriveState) - names(OPEN_DRIVES) == {"Completed", "CompletedMoreInfo", "ShippedBack"}


def test_printed_page_is_the_one_in_docs() -> None:
    page = Path(__file__).parents[2] / "docs" / "states.md"
    assert page.read_text(encoding="utf-8") == states_markdown(), "print it again: agent.model.describe"


def test_page_shows_every_move_in_table_and_diagram() -> None:
    page = states_markdown()
    for (start, _), end in (life(JOB_LIFE) | life(DRIVE_LIFE)).items():
        assert f"    {start} --> {end}: " in page
        assert f"| `{end}` |" in page
    assert page.count(" --> ") == len(life(JOB_LIFE)) + len(life(DRIVE_LIFE)) + 5


def test_describe_prints_the_page_and_refuses_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["states"]) == 0
    assert capsys.readouterr().out == states_markdown()
    assert main(["weather"]) == 2
    assert "usage" in capsys.readouterr().err
