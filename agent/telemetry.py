"""The structured log: one event a line, a stable name, values as fields."""

from __future__ import annotations

import logging
import sys
from typing import Any, Protocol, Self, TextIO

import structlog


class Log(Protocol):
    """What the layers ask of a log."""

    def bind(self, **fields: Any) -> Self:
        """A log that adds these fields to every event."""
        ...

    def info(self, event: str, **fields: Any) -> Any:
        """Something happened."""
        ...

    def warning(self, event: str, **fields: Any) -> Any:
        """Somebody should know."""
        ...

    def error(self, event: str, **fields: Any) -> Any:
        """Somebody has to act."""
        ...


def open_log(*, as_json: bool, stream: TextIO = sys.stderr) -> Log:
    """A log to ``stream``: ``key=value`` for people, JSON for machines."""
    processors: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if as_json:
        processors.append(structlog.processors.JSONRenderer())
    else:
        order = ["timestamp", "level", "event", "job", "drive", "bay"]
        processors.append(structlog.processors.LogfmtRenderer(key_order=order, drop_missing=True))
    log: Log = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    return log


def silent_log() -> Log:
    """A log that says nothing, where a screen tells the story."""
    log: Log = structlog.wrap_logger(structlog.ReturnLogger(), processors=[_drop])
    return log


def _drop(_: object, __: str, event: Any) -> Any:
    raise structlog.DropEvent
