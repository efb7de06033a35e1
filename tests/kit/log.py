"""A log that keeps what was said, in place of the service's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class KeptLog:
    """Lines of (event, fields); what was bound stands in the fields."""

    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    bound: dict[str, Any] = field(default_factory=dict)

    def bind(self, **fields: Any) -> KeptLog:
        return KeptLog(self.lines, self.bound | fields)

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append((event, self.bound | fields))

    warning = error = info

    def named(self, event: str) -> list[dict[str, Any]]:
        """The fields of all lines of one event."""
        return [fields for name, fields in self.lines if name == event]
