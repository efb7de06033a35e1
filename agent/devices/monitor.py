"""Hears that disks came, went or changed, within the event loop."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Final

import pyudev

MAX_EVENTS_AT_ONCE: Final = 256
"""Read in one turn of the loop; the rest of a flood waits for the next."""
MAX_FAILURES: Final = 16


class UdevMonitor:
    """Calls ``on_news`` after events of block devices; what they say is not used, for events get lost.

    Events that overflow the socket are news as well. A monitor that keeps failing falls silent: who
    looks from time to time misses nothing.
    """

    def __init__(self, on_news: Callable[[], None]) -> None:
        self._on_news = on_news
        self._monitor = pyudev.Monitor.from_netlink(pyudev.Context())
        self._monitor.filter_by("block")
        self._failures = 0

    def __enter__(self) -> UdevMonitor:
        self._monitor.start()
        asyncio.get_running_loop().add_reader(self._monitor.fileno(), self._drain)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._silence()

    def _silence(self) -> None:
        asyncio.get_running_loop().remove_reader(self._monitor.fileno())

    def _drain(self) -> None:
        try:
            for _ in range(MAX_EVENTS_AT_ONCE):
                if self._monitor.poll(timeout=0) is None:
                    break
            self._failures = 0
        except (OSError, ValueError, OverflowError):
            self._recover()
        self._on_news()

    def _recover(self) -> None:
        """ENOBUFS stays on the socket, and makes each poll fail, until somebody asks for it."""
        self._failures += 1
        if self._failures > MAX_FAILURES:
            self._silence()
            return
        with socket.socket(fileno=os.dup(self._monitor.fileno())) as twin:
            twin.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
