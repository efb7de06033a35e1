"""The state tables and the error tree as documents: ``python -m agent.model.describe states|errors``.

``docs/states.md`` and ``docs/errors.md`` are its output; a test holds them to it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TypeVar

from agent.errors import IngestError, catalogue
from agent.model.states import (
    CANCELLABLE_JOBS,
    DRIVE_MOVES,
    JOB_MOVES,
    OPEN_DRIVES,
    PROCESSABLE_JOBS,
    DriveState,
    JobState,
)

_State = TypeVar("_State", bound=StrEnum)
_Event = TypeVar("_Event", bound=StrEnum)
_Moves = Mapping[tuple[_State, _Event], _State]

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
            "Printed from `agent/model/states.py`, the tables that the program itself asks. "
            "A move that is not listed is refused (`MoveRefused`, exit code 8).",
            "",
            "## Jobs",
            "",
            *_table(("from", "what happens", "to"), _moves(JOB_MOVES)),
            "",
            *_diagram(JOB_MOVES, JobState.CREATING),
            "",
            f"- Drives are processed while their job is in {_listed(JobState, PROCESSABLE_JOBS)}.",
            f"- A job can be cancelled in {_listed(JobState, CANCELLABLE_JOBS)}. Cancelling is a flag, not a "
            "state: a cancelled job skips the copy and walks the same states.",
            "- A job follows its drives by itself, in the same transaction as the drive's move. It ends as "
            "Closed when a drive ended with errors, and as Completed otherwise or when it was cancelled; "
            "warnings and notes are no errors.",
            "",
            "## Drives",
            "",
            *_table(("from", "what happens", "to"), _moves(DRIVE_MOVES)),
            "",
            *_diagram(DRIVE_MOVES, DriveState.SPECIFIED),
            "",
            f"- A drive in {_listed(DriveState, OPEN_DRIVES)} still waits for its copy; until it was "
            "processed, no other open job may specify its serial number.",
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


def _moves(moves: _Moves[_State, _Event]) -> list[tuple[str, ...]]:
    return [(f"`{start}`", event.value, f"`{end}`") for (start, event), end in moves.items()]


def _listed(order: type[_State], states: frozenset[_State]) -> str:
    names = [f"`{state}`" for state in order if state in states]
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [head, ("---",) * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines]


def _diagram(moves: _Moves[_State, _Event], first: _State) -> list[str]:
    arrows = [f"    {start} --> {end}: {event.value}" for (start, event), end in moves.items()]
    starts = {start for start, _ in moves}
    ends = [f"    {end} --> [*]" for end in dict.fromkeys(moves.values()) if end not in starts]
    return ["```mermaid", "stateDiagram-v2", f"    [*] --> {first}", *arrows, *ends, "```"]


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
