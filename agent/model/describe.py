"""The state tables and the error tree as documents: ``python -m agent.model.describe states|errors``.

``docs/states.md`` and ``docs/errors.md`` are its output; a test holds them to it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import TypeVar

from agent.errors import IngestError, catalogue
from agent.model.moves import Move, NoOp, Outcome, Refused, Table
from agent.model.states import (
    CANCELLABLE_JOBS,
    DRIVE_LIFE,
    JOB_LIFE,
    OPEN_DRIVES,
    PROCESSABLE_JOBS,
    DriveState,
    JobState,
)
from agent.model.waiting import ANSWER_AWAITED, CREATING_KEPT, DRIVES_AWAITED, ENDED_KEPT, IDLE_DRIVE_KEPT

_State = TypeVar("_State", bound=StrEnum)
_Event = TypeVar("_Event", bound=StrEnum)

EXIT_CODES: Mapping[str, str] = {
    "0": "Completed: everything was done, verified and without findings",
    "1": "a bug in the agent: please report it",
    "2": "the command was called wrongly, or a value in it does not parse",
    "3": "done with findings (CompletedMoreInfo): the logs list them",
    "4": "the drive, or what is on it",
    "5": "the station: this machine, its settings or its state",
    "6": "the network: no way to the store; run again, and the transfer goes on where it stopped",
    "7": "the service: the store answered, and the answer is no",
    "8": "policy: the books say no",
    "130, 143": "interrupted (Ctrl-C, a stop of the service); the state is kept",
}


def states_markdown() -> str:
    """The life cycle of jobs and drives, from the tables that the program asks."""
    return "\n".join(
        [
            "# States of jobs and drives",
            "",
            "Printed from `agent/model/states.py`, the tables that the program itself asks. Every event has "
            "an outcome in every state: a move, *stays* (it is taken and written down, the state remains), "
            "*no-op* (there is nothing to do, and nothing is written), or *refused* (`MoveRefused`, exit "
            "code 8, with the reason that stands below).",
            "",
            "## Jobs",
            "",
            *_life(JOB_LIFE, JobState, JobState.CREATING),
            "",
            f"- Drives are processed while their job is in {_listed(JobState, PROCESSABLE_JOBS)}. "
            "In Packaging the one drive that can still come is one that was given up.",
            f"- A job can be cancelled in {_listed(JobState, CANCELLABLE_JOBS)}. Cancelling is a flag, not a "
            "state: a cancelled job skips the copy and walks the same states.",
            "- A job follows its drives by itself, in the same transaction as the drive's move. It ends as "
            "Closed when a drive ended with errors or never came, and as Completed otherwise or when it was "
            "cancelled; warnings and notes are no errors.",
            "- A job ships when it has a delivery package and a return address, or when its drives are "
            "brought by hand.",
            "",
            "### Clocks",
            "",
            *_table(("state", "after", "what happens"), _clocks()),
            "",
            "## Drives",
            "",
            *_life(DRIVE_LIFE, DriveState, DriveState.SPECIFIED),
            "",
            f"- A drive in {_listed(DriveState, OPEN_DRIVES)} still waits for its copy; until it was "
            "processed, no other open job may specify its serial number.",
            "- While its job is in Creating, or has ended, no event of a drive is taken.",
            "- A drive that no shipped job specifies has no state: it is an extra drive, which is written "
            "down with the job it came with, and returned.",
            "",
        ]
    )


def errors_markdown() -> str:
    """Every error of the agent and every exit code, from the classes themselves."""
    return "\n".join(
        [
            "# Errors and exit codes",
            "",
            "Printed from `agent/errors.py`. A message names the error in brackets, as in "
            "`[drive: BitLockerKeyInvalid]`.",
            "",
            "## Exit codes",
            "",
            *_table(("code", "meaning"), EXIT_CODES.items()),
            "",
            "## Errors",
            "",
            *_table(
                ("error", "side", "exit", "retried", "drive status", "meaning", "next step"),
                [_error(cls) for cls in catalogue() if cls is not IngestError],
            ),
            "",
        ]
    )


def _error(cls: type[IngestError]) -> tuple[str, ...]:
    return (
        f"`{cls.__name__}`",
        cls.side.value,
        str(cls.exit_code),
        "yes" if cls.retriable else "no",
        f"`{cls.status.value}`" if cls.status else "",
        " ".join((cls.__doc__ or "").split()),
        cls.next_step,
    )


def _life(life: Table[_State, _Event], states: type[_State], first: _State) -> list[str]:
    """The moves, their diagram, all outcomes, and the reasons of those that are none."""
    events = list(dict.fromkeys(event for _, event in life))
    outcomes = [(event.value, *(_cell(state, life[state, event]) for state in states)) for event in events]
    return [
        *_table(("from", "what happens", "to"), _moves(life)),
        "",
        *_diagram(life, first),
        "",
        "### Every event in every state",
        "",
        *_table(("event", *(f"`{state}`" for state in states)), outcomes),
        "",
        "### Why not",
        "",
        *_table(("event", "outcome", "states", "it ..."), _reasons(life, states, events)),
    ]


def _cell(state: _State, outcome: Outcome[_State]) -> str:
    match outcome:
        case Move(to):
            return "deleted" if to is None else "stays" if to is state else f"`{to}`"
        case NoOp():
            return "no-op"
        case Refused():
            return "refused"


def _moves(life: Table[_State, _Event]) -> list[tuple[str, ...]]:
    return [(f"`{start}`", event.value, _cell(start, outcome)) for start, event, outcome in _changes(life)]


def _changes(life: Table[_State, _Event]) -> list[tuple[_State, _Event, Move[_State]]]:
    """Moves that lead elsewhere, by the state where they begin."""
    found = [
        (start, event, outcome)
        for (start, event), outcome in life.items()
        if isinstance(outcome, Move) and outcome.to is not start
    ]
    order = list(dict.fromkeys(start for start, _ in life))
    return sorted(found, key=lambda change: order.index(change[0]))


def _reasons(
    life: Table[_State, _Event], states: type[_State], events: list[_Event]
) -> Iterable[tuple[str, ...]]:
    for event in events:
        why: dict[tuple[str, str], list[str]] = {}
        for state in states:
            outcome = life[state, event]
            if not isinstance(outcome, Move):
                why.setdefault((_cell(state, outcome), outcome.why), []).append(f"`{state}`")
        for (said, reason), where in why.items():
            yield event.value, said, ", ".join(where), reason


def _clocks() -> list[tuple[str, ...]]:
    def days(kept: timedelta) -> str:
        return f"{kept.days} days"

    return [
        ("`Creating`", days(CREATING_KEPT), "the job is deleted; every update begins the time anew"),
        (
            "`Shipping`",
            days(DRIVES_AWAITED),
            "drives that did not come are NeverReceived. The job goes on with the others; if none came, "
            "operators are told",
        ),
        ("`Shipping`, operators told", days(ANSWER_AWAITED), "the job is Closed, unless they wait longer"),
        ("`Completed`, `Closed`", days(ENDED_KEPT), "the job is deleted; its history stays"),
        ("a drive of no shipped job", days(IDLE_DRIVE_KEPT), "operators are told to return it"),
    ]


def _listed(order: type[_State], states: frozenset[_State]) -> str:
    names = [f"`{state}`" for state in order if state in states]
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [head, ("---",) * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines]


def _diagram(life: Table[_State, _Event], first: _State) -> list[str]:
    arrows = [
        f"    {start} --> {'[*]' if outcome.to is None else outcome.to}: {event.value}"
        for start, event, outcome in _changes(life)
    ]
    starts = {start for start, _, _ in _changes(life)}
    ends = dict.fromkeys(outcome.to for _, _, outcome in _changes(life) if outcome.to not in starts)
    last = [f"    {end} --> [*]" for end in ends if end is not None]
    return ["```mermaid", "stateDiagram-v2", f"    [*] --> {first}", *arrows, *last, "```"]


def main(arguments: list[str]) -> int:
    """Prints one document; 2 when called wrongly."""
    pages = {"states": states_markdown, "errors": errors_markdown}
    if len(arguments) != 1 or arguments[0] not in pages:
        sys.stderr.write("usage: python -m agent.model.describe states|errors\n")
        return 2
    sys.stdout.write(pages[arguments[0]]())
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
