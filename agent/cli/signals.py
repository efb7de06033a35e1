"""SIGINT and SIGTERM end a command in order, and show in its exit code."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable


class Stopper:
    """Calls ``stop`` at the first signal; a second one changes nothing, the place is being kept."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self.received: signal.Signals | None = None
        self._stop = stop
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._take, number)

    def _take(self, number: signal.Signals) -> None:
        if self.received is None:
            self.received = number
            self._stop()

    @property
    def exit_code(self) -> int:
        """128 and the signal's number, as shells have it; 0 when there was none."""
        return 128 + self.received if self.received is not None else 0
