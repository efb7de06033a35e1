"""The chain of the history: each event carries the hash of the one before it, and its own.

The hash is SHA-256, in lower-case hex, of a JSON array in ASCII without blanks:
``[previous, id, at, who, origin, job, serial, what, was, now, detail]``, where ``at`` is UTC in ISO 8601 with
six digits of a second and ``+00:00``, and what is absent is ``null``. ``previous`` of the first event is
empty. So anybody can check a history with a few lines of any language.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from agent.errors import MalformedInput

NO_HASH = ""


class Linked(Protocol):
    """What an event tells, as its hash sees it."""

    @property
    def id(self) -> int: ...
    @property
    def at(self) -> datetime: ...
    @property
    def who(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def job(self) -> str | None: ...
    @property
    def serial(self) -> str | None: ...
    @property
    def what(self) -> str: ...
    @property
    def was(self) -> str | None: ...
    @property
    def now(self) -> str | None: ...
    @property
    def detail(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Head:
    """The last event of a history. Noted elsewhere, it tells later whether the history still holds it."""

    event_id: int
    hash: str

    @classmethod
    def parse(cls, text: str) -> Head:
        """``17:`` and 64 hex digits; raises MalformedInput."""
        number, _, digits = text.strip().partition(":")
        is_hash = len(digits) == 64 and all(ch in "0123456789abcdef" for ch in digits)
        if not number.isascii() or not number.isdecimal() or len(number) > 18 or not is_hash:
            raise MalformedInput(
                f"{text[:80]!r} is no head of a history: a number, a colon and 64 hex digits"
            )
        return cls(int(number), digits)

    def __str__(self) -> str:
        return f"{self.event_id}:{self.hash}"


NO_HEAD = Head(0, NO_HASH)
"""Of a history in which nothing stands yet."""


def link(previous: str, told: Linked) -> str:
    """The hash of an event that follows on ``previous``."""
    at = told.at.astimezone(UTC).isoformat(timespec="microseconds")
    parts = [previous, told.id, at, told.who, told.origin, told.job, told.serial, told.what]
    parts += [told.was, told.now, told.detail]
    text = json.dumps(parts, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()
