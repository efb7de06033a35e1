"""The structured log: one event a line, a stable name, values as fields."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any, Protocol, Self, TextIO

from agent.model.printable import printable


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


PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""Levels as the system's log numbers them (syslog(3))."""


def open_log(
    *, as_json: bool, stream: TextIO = sys.stderr, environment: Mapping[str, str] = os.environ
) -> Log:
    """A log to ``stream``: ``key=value`` for people, JSON for machines.

    In the journal, which knows the time itself, each line begins with its priority as ``<4>`` instead.
    """
    import structlog  # here, for it brings rich along: as much to load as the rest of a command

    in_journal = is_journal(stream, environment)
    processors: list[Any] = [structlog.processors.add_log_level]
    if as_json or not in_journal:
        processors.append(structlog.processors.TimeStamper(fmt="iso", utc=True))
    if as_json:
        processors.append(structlog.processors.JSONRenderer())
    else:
        order = ["timestamp", "level", "event", "job", "drive", "bay"]
        processors.append(_escaped)
        processors.append(structlog.processors.LogfmtRenderer(key_order=order, drop_missing=True))
    if in_journal:
        processors[-1] = _prioritised(processors[-1], keeps_level=as_json)
    log: Log = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    return log


def is_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether what is written there goes to the journal: JOURNAL_STREAM names its device and inode."""
    named = environment.get("JOURNAL_STREAM")
    if not named:
        return False
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{found.st_dev}:{found.st_ino}"


def _escaped(_: object, __: str, event: Any) -> Any:
    """No value of a drive breaks a line or moves a terminal's cursor."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = printable(value)
    return event


def _prioritised(render: Any, *, keeps_level: bool) -> Any:
    """A line of the journal: the manager takes the prefix for the priority, and off the line."""

    def with_priority(logger: Any, method: str, event: Any) -> str:
        priority = PRIORITIES[event["level"]]
        if not keeps_level:
            del event["level"]
        return f"<{priority}>{render(logger, method, event)}"

    return with_priority


class SilentLog:
    """A log that says nothing, where a screen tells the story."""

    def bind(self, **fields: Any) -> Self:
        """See Log."""
        return self

    def info(self, event: str, **fields: Any) -> None:
        """See Log."""

    def warning(self, event: str, **fields: Any) -> None:
        """See Log."""

    def error(self, event: str, **fields: Any) -> None:
        """See Log."""


def raised_at(error: Exception) -> str:
    """File and line of a surprise; its text could hold anything, so it is not told."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "nowhere"
