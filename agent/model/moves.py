"""Tables of states and events, in which every pair has an outcome."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

State = TypeVar("State", bound=StrEnum)
Event = TypeVar("Event", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Move(Generic[State]):
    """The event is taken. ``to`` may be the state itself; None: the record is deleted."""

    to: State | None


@dataclass(frozen=True, slots=True)
class NoOp:
    """Nothing is to be done, and nothing is written down. ``why`` completes "it ..."."""

    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The event is not taken. ``why`` completes "it ..."."""

    why: str


Outcome = Move[State] | NoOp | Refused
Table = Mapping[tuple[State, Event], Outcome[State]]


@dataclass(frozen=True, slots=True)
class Row(Generic[State, Event]):
    """One event, and what each state makes of it.

    ``stays`` are states that take it and stay. ``nothing`` and ``refused`` map a reason to its states.
    """

    event: Event
    moves: Mapping[State, State] = field(default_factory=dict)
    stays: Iterable[State] = ()
    deletes: Iterable[State] = ()
    nothing: Mapping[str, Iterable[State]] = field(default_factory=dict)
    refused: Mapping[str, Iterable[State]] = field(default_factory=dict)

    def outcomes(self) -> list[tuple[State, Outcome[State]]]:
        """Those of this event; a state may stand in it twice."""
        found: list[tuple[State, Outcome[State]]] = [(state, Move(to)) for state, to in self.moves.items()]
        found += [(state, Move(state)) for state in self.stays]
        found += [(state, Move(None)) for state in self.deletes]
        found += [(state, NoOp(why)) for why, states in self.nothing.items() for state in states]
        found += [(state, Refused(why)) for why, states in self.refused.items() for state in states]
        return found


def table(states: type[State], events: type[Event], rows: Iterable[Row[State, Event]]) -> Table[State, Event]:
    """Raises ValueError unless every state has exactly one outcome for every event."""
    made: dict[tuple[State, Event], Outcome[State]] = {}
    for row in rows:
        for state, outcome in row.outcomes():
            if (state, row.event) in made:
                raise ValueError(f"{state} has two outcomes for {row.event.name}")
            made[state, row.event] = outcome
    for event in events:
        missing = [state.value for state in states if (state, event) not in made]
        if missing:
            raise ValueError(f"{event.name} has no outcome in {', '.join(missing)}")
    return {(state, event): made[state, event] for event in events for state in states}
