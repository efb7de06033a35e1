"""QEMU's monitor (QMP): a JSON object a line, answers by id, events between them."""

from __future__ import annotations

import itertools
import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Self

from tests.lab.lines import Lines, connect
from tests.lab.trouble import LabTrouble

MOST_EVENTS: Final = 1000
GREETING_WITHIN_S: Final = 60.0


class QmpRefused(LabTrouble):
    """QEMU would not do it; the message is its own."""


def request(number: int, command: str, arguments: Mapping[str, object]) -> bytes:
    """A command as it goes over the wire."""
    said = {"execute": command, "id": number} | ({"arguments": dict(arguments)} if arguments else {})
    return json.dumps(said).encode() + b"\n"


def answer(message: Mapping[str, Any], number: int) -> tuple[bool, object]:
    """Whether this message answers that request, and with what; raises QmpRefused for an error."""
    if message.get("id") != number:
        return False, None
    if "error" in message:
        raise QmpRefused(f"{message['error'].get('class')}: {message['error'].get('desc')}")
    return True, message.get("return")


def is_event(message: Mapping[str, Any], name: str, data: Mapping[str, object]) -> bool:
    """Whether it is an event of this name with at least this data."""
    told = message.get("data", {})
    return message.get("event") == name and all(told.get(key) == value for key, value in data.items())


class Qmp:
    """One connection, used by one thread. Events that come before an answer are kept, the last ones."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._numbers = itertools.count(1)
        self._events: deque[Mapping[str, Any]] = deque(maxlen=MOST_EVENTS)

    @classmethod
    def connect(cls, path: Path, check_alive: Callable[[], None]) -> Self:
        """Once QEMU listens; ``check_alive`` raises when it has ended."""
        made = cls(Lines(connect(path, check_alive, GREETING_WITHIN_S), check_alive))
        made._next(time.monotonic() + GREETING_WITHIN_S)
        made.execute("qmp_capabilities", {}, GREETING_WITHIN_S)
        return made

    def close(self) -> None:
        self._lines.close()

    def execute(self, command: str, arguments: Mapping[str, object], within_s: float) -> object:
        """What QEMU returns; raises QmpRefused, or LabTrouble when no answer comes in time."""
        number = next(self._numbers)
        self._lines.send(request(number, command, arguments))
        deadline = time.monotonic() + within_s
        while True:
            message = self._next(deadline)
            if "event" in message:
                self._events.append(message)
                continue
            answered, value = answer(message, number)
            if answered:
                return value

    def wait_event(self, name: str, data: Mapping[str, object], within_s: float) -> Mapping[str, Any]:
        """The first event of this kind that was not taken yet; others are dropped."""
        deadline = time.monotonic() + within_s
        while True:
            message = self._events.popleft() if self._events else self._next(deadline)
            if is_event(message, name, data):
                return message

    def _next(self, deadline: float) -> Mapping[str, Any]:
        message = json.loads(self._lines.next(deadline))
        if not isinstance(message, dict):
            raise LabTrouble(f"QEMU said {message!r}")
        return message
