"""Tells the service manager how the station is: sd_notify(3), one datagram a message.

Source: systemd, sd_notify(3) and sd_watchdog_enabled(3). A name that begins with ``@`` is an abstract
socket. Where there is no manager nothing is sent, and nothing fails.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

from agent.model.printable import printable

MAX_STATUS_CHARS = 400


class Notifier:
    """Sends to one socket, and never waits: a manager that does not listen misses a message."""

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        """``watchdog_s``: the manager restarts a service that is silent for so long; None: it does not."""
        self._address = _socket_address(address)
        self._watchdog_s = watchdog_s
        self._status = ""
        self._next_beat = 0.0

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Notifier:
        """Of NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID."""
        return cls(environment.get("NOTIFY_SOCKET"), _watchdog_s(environment))

    @property
    def beat_every_s(self) -> float | None:
        """How often ``beat`` is to be called at least; None: it need not."""
        return None if self._watchdog_s is None or self._address is None else self._watchdog_s / 3

    def ready(self) -> None:
        """Started, or done with a reload."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Settings are read anew; ``ready`` follows."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1")

    def extend(self, seconds: float) -> None:
        """The end needs so much longer, counted from now."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")

    def beat(self) -> None:
        """Alive. Called as often as one likes."""
        every = self.beat_every_s
        now = time.monotonic()
        if every is not None and now >= self._next_beat:
            self._next_beat = now + every / 2
            self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for people; sent when it is another one than before."""
        line = printable(" ".join(text.split()))
        if len(line) > MAX_STATUS_CHARS:
            line = line[: MAX_STATUS_CHARS - 1] + "…"
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def _send(self, *assignments: str) -> None:
        if self._address is None:
            return
        message = "\n".join(assignments).encode("utf-8", "replace")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.setblocking(False)
            try:
                out.sendto(message, self._address)
            except OSError:
                return


def _socket_address(named: str | None) -> str | None:
    if not named or named[0] not in "/@" or "\0" in named:
        return None
    return "\0" + named[1:] if named[0] == "@" else named


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """None where there is no watchdog, or it waits for another process."""
    interval, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID")
    if process is not None and process != str(os.getpid()):
        return None
    if not (interval.isascii() and interval.isdigit()) or int(interval) == 0:
        return None
    return int(interval) / 1_000_000
