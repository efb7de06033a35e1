"""Names that people and drives give: serial numbers, job names, containers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from agent.errors import MalformedInput

_JOB_NAME = re.compile(r"[a-z][a-z0-9-]{1,63}\Z", re.ASCII)
_CONTAINER = re.compile(r"(\$root|\$logs|[a-z0-9](?!.*--)[a-z0-9-]{1,61}[a-z0-9])\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class SerialNumber:
    """A drive's hardware serial number.

    Two serials are equal when they are equal without their blanks, as the service compares them
    ("without spaces"); ``shown`` keeps the form that was read, with one blank where there were any.
    """

    normal: str
    shown: str = field(compare=False)

    @classmethod
    def parse(cls, text: str) -> SerialNumber:
        """Accepts 1 to 64 printable ASCII characters besides blanks; raises MalformedInput."""
        shown = " ".join(text.split())
        normal = shown.replace(" ", "")
        if not normal:
            raise MalformedInput("the serial number is empty")
        if len(normal) > 64:
            raise MalformedInput(f"the serial number has {len(normal)} characters, at most 64 are allowed")
        if not all("!" <= ch <= "~" for ch in normal):
            raise MalformedInput("the serial number holds a character that is not printable ASCII")
        return cls(normal, shown)

    def __str__(self) -> str:
        return self.shown


@dataclass(frozen=True, slots=True, order=True)
class JobName:
    """2 to 64 lower-case letters, digits and hyphens, a letter first (the portal's rule)."""

    text: str

    @classmethod
    def parse(cls, text: str) -> JobName:
        """Raises MalformedInput."""
        if not _JOB_NAME.match(text):
            raise MalformedInput(
                f"job name {text!r} is not allowed: "
                "2 to 64 lower-case letters, digits and hyphens, a letter first"
            )
        return cls(text)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, order=True)
class ContainerName:
    """3 to 63 lower-case letters, digits and single hyphens, or ``$root``."""

    text: str

    @classmethod
    def parse(cls, text: str) -> ContainerName:
        """Raises MalformedInput."""
        if not _CONTAINER.match(text):
            raise MalformedInput(
                f"container name {text!r} is not allowed: "
                "3 to 63 lower-case letters, digits and single hyphens"
            )
        return cls(text)

    def __str__(self) -> str:
        return self.text
