"""Tidings as server-sent events (HTML standard, "Server-sent events")."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from agent.api.answers import event_to_json
from agent.api.feed import Begun, Moved, Tiding, Went
from agent.model.roles import Role


def about(tiding: Tiding) -> str | None:
    """The name of the job; None where it is of none."""
    match tiding:
        case Moved(event):
            return event.job
        case Went(job, _):
            return job
    return None


def sent(tiding: Tiding, role: Role) -> str:
    """One message of the stream."""
    if isinstance(tiding, Begun):
        # Without data it is no event to a listener, which keeps the number for when it comes again.
        return _field("id", str(tiding.after)) + "\n"
    if isinstance(tiding, Moved):
        event = tiding.event
        return _field("id", str(event.id)) + _message(event.what, event_to_json(event, role))
    return _message("progress", tiding.body)


def _message(kind: str, body: Mapping[str, Any]) -> str:
    return _field("event", kind) + _field("data", json.dumps(body)) + "\n"


def _field(name: str, value: str) -> str:
    return f"{name}: {value}\n"


async def joined(first: str, rest: AsyncGenerator[str, None]) -> AsyncIterator[str]:
    """One after the other; ``rest`` comes to its end with this."""
    async with aclosing(rest):
        yield first
        async for one in rest:
            yield one
