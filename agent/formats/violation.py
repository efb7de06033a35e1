"""How a reader of a format says what is wrong with a text of the drive."""

from __future__ import annotations

_SHOWN_CHARS = 80


class Violation(Exception):
    """A rule of the format is broken; who reads adds line and element and raises the caller's error."""


def clip(text: str, chars: int = _SHOWN_CHARS) -> str:
    """Text of the drive, quoted on one line and cut to a length fit for a message."""
    return repr(text if len(text) <= chars else text[:chars] + "...")
