"""Why an attached drive is not to be touched, whatever the jobs say: a value, for it is expected."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agent.errors import Side


class HindranceKind(StrEnum):
    """What is the matter; the name under which the log tells it."""

    IN_USE = "DriveInUse"
    SERIAL_UNKNOWN = "SerialUnknown"
    SERIAL_DOUBTFUL = "SerialDoubtful"
    NOT_DESCRIBED = "DriveNotDescribed"
    NOT_ANSWERING = "DriveNotAnswering"


NEXT_STEPS = {
    HindranceKind.IN_USE: "If it is a customer's drive, unmount it and keep other programs off it; "
    "a disk of this station stays as it is.",
    HindranceKind.SERIAL_UNKNOWN: "Attach the drive to a SATA bay directly, without an adapter.",
    HindranceKind.SERIAL_DOUBTFUL: "Attach the drive to a SATA bay directly, "
    "and compare with the serial on its label.",
    HindranceKind.NOT_ANSWERING: "Nothing to do if it has just been put in; else reseat the drive.",
    HindranceKind.NOT_DESCRIBED: "Check that systemd-udevd runs: `udevadm control --ping`.",
}
"""What to do about it, for the technician."""

SIDES = {
    HindranceKind.IN_USE: Side.STATION,
    HindranceKind.SERIAL_UNKNOWN: Side.DRIVE,
    HindranceKind.SERIAL_DOUBTFUL: Side.DRIVE,
    HindranceKind.NOT_ANSWERING: Side.DRIVE,
    HindranceKind.NOT_DESCRIBED: Side.STATION,
}
"""Whose trouble it is."""


@dataclass(frozen=True, slots=True)
class Hindrance:
    """``detail`` is one sentence for the technician. One that is no news goes away by itself, as a rule."""

    kind: HindranceKind
    detail: str
    is_news: bool = True

    @property
    def id(self) -> str:
        """The stable name under which it is told, as errors have one."""
        return self.kind.value

    @property
    def side(self) -> Side:
        """Whose trouble it is."""
        return SIDES[self.kind]

    @property
    def next_step(self) -> str:
        """What to do about it."""
        return NEXT_STEPS[self.kind]

    def line(self) -> str:
        """One line: what, whose side, what next."""
        return f"{self.detail} [{self.side}: {self.id}]. {self.next_step}"
