"""Work in threads: what nobody may leave behind, and what nobody may be held up by."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def until_over(work: asyncio.Future[T]) -> T:
    """Its outcome. A cancellation is raised when the work is over, whatever came of it."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        if not work.cancelled():
            work.exception()
        raise


async def to_its_end(work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """As ``asyncio.to_thread``; a cancellation is raised when the work is over, or instead what it raised.

    For what changes the journal: that it could not be written is told, also to who is cancelled.
    """
    doing = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await until_over(doing)
    except asyncio.CancelledError:
        doing.result()
        raise


def in_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """Start ``work`` in a thread of its own, which nobody waits for when the program ends.

    For what a dying drive, or a name server, may hold up for minutes: threads of a pool would be joined
    then, and one that hangs would be missing in the pool. A future that is given up on is still set, when
    the kernel lets go.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - raised where the future is awaited
            failure = error
        try:
            loop.call_soon_threadsafe(settle, result, failure)
        except RuntimeError:
            return  # the loop is closed: the program has ended

    threading.Thread(target=run, name="drive", daemon=True).start()
    return future
