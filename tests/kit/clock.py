"""An event loop whose clock is virtual: where it would sleep, its time jumps. An hour takes no time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

BEGIN_S = 1000.0


class _Jumping(selectors.SelectSelector):
    """Never sleeps; where there is nothing to do and nothing to wait for, that is a deadlock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGIN_S

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("everything waits for something that never comes")
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """``time()`` begins at BEGIN_S."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """As ``asyncio.run``, in virtual time. Nothing in it may use threads, processes or sockets."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
