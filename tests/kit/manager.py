"""A service manager as a daemon sees it: the socket on which it listens."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

WAIT_S = 120.0


class Manager:
    """Keeps every message, as a dictionary of its assignments, in ``said``."""

    def __init__(self, listener: socket.socket, address: str) -> None:
        self._listener, self.address = listener, address
        self.said: list[dict[str, str]] = []

    def values(self, name: str) -> list[str]:
        """What was assigned to a name, in order."""
        return [message[name] for message in self.said if name in message]

    def until(self, reached: Callable[[], bool]) -> None:
        """Listen until that is so; fails when it never is."""
        deadline = time.monotonic() + WAIT_S
        while not reached():
            assert time.monotonic() < deadline, self.said
            self.listen()

    def until_said(self, name: str, value: str | None = None, count: int = 1) -> None:
        """Listen until a name was assigned a value (or any) so many times."""
        self.until(lambda: sum(value in (None, found) for found in self.values(name)) >= count)

    def listen(self, seconds: float = 0.05) -> None:
        """Take what comes within that time."""
        self._listener.settimeout(seconds)
        try:
            while data := self._listener.recv(65_536):
                lines = data.decode("utf-8").split("\n")
                self.said.append({name: value for name, _, value in (line.partition("=") for line in lines)})
        except TimeoutError:
            return


@contextmanager
def listening(address: str) -> Iterator[Manager]:
    """On a path, or on an abstract name that begins with ``@``."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + address[1:] if address.startswith("@") else address)
        yield Manager(listener, address)


def unheard_of() -> str:
    """An abstract name that nobody else has."""
    return f"@drive-ingest-test-{os.getpid()}-{time.monotonic_ns()}"
