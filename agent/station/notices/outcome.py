"""What became of one try to deliver a letter."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Result(StrEnum):
    """Also the label of the metric."""

    DELIVERED = "delivered"
    PUT_OFF = "put_off"
    """It is tried again."""
    GIVEN_UP = "given_up"
    """It stands among the dead letters."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """``why`` is one line without secrets; ``after_s`` is how long the receiver asks to wait."""

    result: Result
    why: str = ""
    after_s: float | None = None


DELIVERED = Outcome(Result.DELIVERED)


def put_off(why: str, after_s: float | None = None) -> Outcome:
    """Another try may help."""
    return Outcome(Result.PUT_OFF, why, after_s)


def given_up(why: str) -> Outcome:
    """Another try will not help."""
    return Outcome(Result.GIVEN_UP, why)
