"""Commands to the guest: a JSON object a line over a virtio-serial port; ``files/control.py`` answers."""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from tests.lab.lines import Lines, connect
from tests.lab.trouble import CommandFailed, LabTrouble

CONNECT_WITHIN_S: Final = 60.0
LATE_S: Final = 60.0
"""What an answer may take beyond the time that the command itself had."""
PIECE: Final = 384 << 10
"""Of a file that is sent: one request."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    command: str
    code: int
    out: str
    err: str

    def checked(self) -> Self:
        """Itself, if it ended well."""
        if self.code:
            raise CommandFailed(f"{self.command}\nended with {self.code}:\n{self.out}{self.err}")
        return self


def message(line: bytes) -> Mapping[str, Any]:
    """A line as an object; an empty one for noise, such as half a line from before a reset."""
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def pieces(path: str, data: bytes, mode: int) -> Iterator[Mapping[str, object]]:
    """Requests that write a file, at least one."""
    for start in range(0, max(len(data), 1), PIECE):
        text = base64.b64encode(data[start : start + PIECE]).decode("ascii")
        yield {"put": path, "data": text, "mode": mode, "append": start > 0}


class Channel:
    """One connection, used by one thread. An answer that came too late for its request is dropped."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._numbers = itertools.count(1)

    @classmethod
    def connect(cls, path: Path, check_alive: Callable[[], None]) -> Self:
        return cls(Lines(connect(path, check_alive, CONNECT_WITHIN_S), check_alive))

    def close(self) -> None:
        self._lines.close()

    def forget(self) -> None:
        """What the guest said before it is reset."""
        self._lines.drop_pending()

    def wait_hello(self, within_s: float) -> None:
        """Until the guest, booting, says that it listens."""
        deadline = time.monotonic() + within_s
        while "hello" not in message(self._lines.next(deadline)):
            pass

    def run(self, command: str, timeout_s: float) -> Done:
        """A bash command line, as root; code 124 when it was ended after that time."""
        said = self._ask({"sh": command, "timeout": timeout_s}, timeout_s + LATE_S)
        return Done(command, int(said["code"]), str(said.get("out", "")), str(said.get("err", "")))

    def put(self, path: str, data: bytes, mode: int) -> None:
        for piece in pieces(path, data, mode):
            self._checked(f"put {path}", self._ask(piece, LATE_S))

    def get(self, path: str) -> bytes:
        said = self._checked(f"get {path}", self._ask({"get": path}, LATE_S))
        return base64.b64decode(str(said["data"]), validate=True)

    @staticmethod
    def _checked(what: str, said: Mapping[str, Any]) -> Mapping[str, Any]:
        if said["code"]:
            raise CommandFailed(f"{what}: {said.get('err')}")
        return said

    def _ask(self, request: Mapping[str, object], within_s: float) -> Mapping[str, Any]:
        number = next(self._numbers)
        self._lines.send(json.dumps({**request, "id": number}).encode() + b"\n")
        deadline = time.monotonic() + within_s
        while (said := message(self._lines.next(deadline))).get("id") != number:
            if "hello" in said:
                raise LabTrouble("the guest has booted anew")
        return said
