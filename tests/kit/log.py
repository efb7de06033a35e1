"""A log that keeps what was said, in place of the service's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class KeptLog:
    """Lines of (event, fields); what was bound stands in the fields."""

    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    bound: dict[str, Any] = field(default_factory=dict)
    warned: set[str] = field(default_factory=set)
    """Names of events that were told as warnings or errors."""

    def bind(self, **fields: Any) -> KeptLog:
        return KeptLog(self.lines, self.bound | fields, self.warned)

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append((event, self.bound | fields))

    def warning(self, event: str, **fields: Any) -> None:
        self.warned.add(event)
        self.info(event, **fields)

    error = warning

    def named(self, event: str) -> list[dict[str, Any]]:
        """The fields of all lines of one event."""
        return [fields for name, fields in self.lines if name == event]
