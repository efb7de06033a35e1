"""Texts that others wrote, such as drives, for a terminal, a log or a status line."""

from __future__ import annotations


def printable(text: str) -> str:
    """One line that moves no cursor: what does not print is spelled as an escape."""
    if text.isprintable():
        return text
    return "".join(ch if ch.isprintable() else repr(ch)[1:-1] for ch in text)
