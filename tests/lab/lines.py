"""Lines over a socket of QEMU, each with a deadline; for one thread."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.lab.trouble import LabTrouble

MOST_BYTES: Final = 64 << 20
"""Of one line: a file that is fetched comes in one."""
_LOOK_S: Final = 0.5
_PIECE: Final = 1 << 16


def connect(path: Path, check_alive: Callable[[], None], within_s: float) -> socket.socket:
    """To a socket that QEMU is about to make; ``check_alive`` raises when QEMU has ended."""
    deadline = time.monotonic() + within_s
    while True:
        made = socket.socket(socket.AF_UNIX)
        try:
            made.connect(str(path))
        except OSError as error:
            made.close()
            check_alive()
            if time.monotonic() > deadline:
                raise LabTrouble(f"{path.name}: {error.strerror}") from None
            time.sleep(0.02)
        else:
            return made


class Lines:
    """``check_alive`` is asked while nothing comes, and raises when nothing will."""

    def __init__(self, connection: socket.socket, check_alive: Callable[[], None]) -> None:
        self._connection, self._check_alive = connection, check_alive
        self._pending = bytearray()
        self._searched = 0

    def send(self, line: bytes) -> None:
        self._connection.settimeout(None)
        self._connection.sendall(line)

    def next(self, deadline: float) -> bytes:
        """The next line, without its end; raises LabTrouble at the deadline (monotonic clock)."""
        while (end := self._pending.find(b"\n", self._searched)) < 0:
            self._searched = len(self._pending)
            if self._searched > MOST_BYTES:
                raise LabTrouble(f"a line of more than {MOST_BYTES} bytes")
            self._receive(deadline)
        line = bytes(self._pending[:end])
        del self._pending[: end + 1]
        self._searched = 0
        return line

    def drop_pending(self) -> None:
        """Forget what came and was not read, also half a line."""
        self._connection.setblocking(False)
        with suppress(BlockingIOError):
            while self._connection.recv(_PIECE):
                pass
        self._pending.clear()
        self._searched = 0

    def close(self) -> None:
        self._connection.close()

    def _receive(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise LabTrouble("no answer in time")
        self._connection.settimeout(min(left, _LOOK_S))
        try:
            piece = self._connection.recv(_PIECE)
        except TimeoutError:
            self._check_alive()
            return
        if not piece:
            self._check_alive()
            raise LabTrouble("QEMU closed the connection")
        self._pending += piece
