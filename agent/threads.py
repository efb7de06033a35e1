"""Work in threads that nobody leaves behind: who goes on after a cancellation finds it over."""

from __future__ import annotations

import asyncio
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
