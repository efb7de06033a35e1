"""What the agent's service wrote into the journal of the guest, line by line."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

UNIT: Final = "drive-ingest-agent.service"
WARNING: Final = 4
"""As syslog(3) numbers priorities."""
_FIELD: Final = re.compile(r'([A-Za-z0-9_.]+)(=)?(?:(?<==)"((?:[^"\\]|\\.)*)"|(?<==)(\S*))?(?:\s|\Z)')
_PRIORITY_OF_NONE: Final = 6


@dataclass(frozen=True, slots=True)
class Line:
    """One line: the event and its fields, if it is one of the agent's own."""

    at: datetime
    priority: int
    text: str
    fields: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def event(self) -> str:
        return self.fields.get("event", "")

    def is_one(self, event: str, fields: Mapping[str, str]) -> bool:
        """Whether it tells of this event, with these fields."""
        return self.event == event and fields.items() <= self.fields.items()

    def __str__(self) -> str:
        return f"{self.at:%H:%M:%S} <{self.priority}> {self.text}"


@dataclass(slots=True)
class Reading:
    """Goes on where it ended; a boot begins anew."""

    lines: list[Line] = field(default_factory=list)
    _cursor: str = ""

    def command(self) -> str:
        """Of the guest: gives what is new, for ``take``."""
        after = f"--after-cursor={shlex.quote(self._cursor)}" if self._cursor else "-b"
        return f"journalctl -q --no-pager -u {UNIT} -o json --output-fields=MESSAGE,PRIORITY {after}"

    def take(self, said: str) -> None:
        for text in said.splitlines():
            entry = json.loads(text)
            self._cursor = str(entry["__CURSOR"])
            self.lines.append(_line(entry))

    def begin_boot(self) -> None:
        """The guest booted: nobody knows how much of the boot before is left."""
        self._cursor = ""


def _line(entry: Mapping[str, object]) -> Line:
    message = entry.get("MESSAGE")
    # One that is no text comes as a list of bytes.
    text = message if isinstance(message, str) else bytes(message or ()).decode("utf-8", "replace")  # type: ignore[call-overload]
    return Line(
        at=datetime.fromtimestamp(int(str(entry["__REALTIME_TIMESTAMP"])) / 1e6, UTC),
        priority=int(str(entry.get("PRIORITY", _PRIORITY_OF_NONE))),
        text=text,
        fields=MappingProxyType(fields_of(text)),
    )


def fields_of(text: str) -> dict[str, str]:
    """``key=value key="a value" flag``, a flag as "true"; empty for a line of another program."""
    if not text.startswith("event="):
        return {}
    found = {}
    for key, has_value, quoted, bare in _FIELD.findall(text):
        found[key] = (re.sub(r"\\(.)", r"\1", quoted) or bare) if has_value else "true"
    return found
