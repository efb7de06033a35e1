"""The end of the history: a row of its own, signed with the catalog's key at every event.

Whoever can write the file but has not the key cannot put another end there. An end that was not good is
never made good by what follows on it: the work goes on, and ``history verify`` goes on to tell.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import insert, select, update

from agent.catalog import schema
from agent.catalog.chain import NO_HASH, Head
from agent.catalog.connection import Connection
from agent.catalog.keybox import KeyBox
from agent.errors import StateUnusable

CHAINED = "history.chained"
"""The event of the migration, which has no key to sign with: an end there may be without a signature."""

_ROW = 1


@dataclass(frozen=True, slots=True)
class End:
    """On what the next event follows. ``is_whole``: the head and the last event are the same one."""

    event_id: int
    hash: str
    signature: str | None
    is_whole: bool
    is_stored: bool
    may_be_unsigned: bool


async def load(connection: Connection) -> End:
    """For an event to follow on it, in a transaction of a writer: writers take turns, so it stays the end."""
    event = schema.event
    query = select(event.c.id, event.c.hash, event.c.what).order_by(event.c.id.desc()).limit(1)
    kept = (await connection.execute(select(schema.history_head))).first()
    last = (await connection.execute(query)).first()
    if kept is None:
        empty = last is None
        event_id, digest = (0, NO_HASH) if last is None else (last.id, last.hash)
        return End(event_id, digest, None, is_whole=empty, is_stored=False, may_be_unsigned=empty)
    if last is not None and last.id > kept.event_id:
        return End(last.id, last.hash, None, is_whole=False, is_stored=True, may_be_unsigned=False)
    is_whole = last is not None and (last.id, last.hash) == (kept.event_id, kept.hash)
    chained = last is not None and last.what == CHAINED
    return End(kept.event_id, kept.hash, kept.signature, is_whole, is_stored=True, may_be_unsigned=chained)


async def advance(connection: Connection, box: KeyBox, end: End, event_id: int, digest: str) -> None:
    """To the event that follows on ``end``."""
    good = is_good(end, box)
    if not good:
        await _refuse_a_key_of_before(connection, box)
    signature = box.sign(str(Head(event_id, digest))) if good else None
    values = {"event_id": event_id, "hash": digest, "signature": signature}
    if end.is_stored:
        await connection.execute(update(schema.history_head).values(values))
    else:
        await connection.execute(insert(schema.history_head).values(id=_ROW, **values))


async def _refuse_a_key_of_before(connection: Connection, box: KeyBox) -> None:
    """A station that another one's rotation went past would seal with a key that nobody has any more."""
    mark = (await connection.execute(select(schema.key_mark.c.mark))).scalar()
    if mark is not None and mark != box.mark:
        raise StateUnusable("the key of the catalog was changed meanwhile: start again with the new one")


async def resign(connection: Connection, end: End, old: KeyBox, new: KeyBox) -> None:
    """The same end, vouched for by the new key if it was by the old one."""
    if end.is_stored and is_good(end, old):
        signature = new.sign(str(Head(end.event_id, end.hash)))
        await connection.execute(update(schema.history_head).values(signature=signature))


def is_good(end: End, box: KeyBox) -> bool:
    """The end is where this catalog left it."""
    if not end.is_whole:
        return False
    if end.signature is None:
        return end.may_be_unsigned
    return box.has_signed(str(Head(end.event_id, end.hash)), end.signature)
