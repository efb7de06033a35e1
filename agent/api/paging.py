"""What lists take: ``$top``, ``$filter`` and where to go on; and the way to the next page.

Source of the filter's grammar: the draft of the provider's description (``type eq``, ``state eq``,
``trackingnumber eq``, joined by ``and``); the published one says only that there is a filter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from agent.api.problems import ArmError
from agent.model.states import JobState

MAX_TOP = 100
MAX_FILTER_CHARS = 1000
_TERM = re.compile(
    r"\s*(?P<name>[A-Za-z]+)\s+(?P<how>[A-Za-z]+)\s+'(?P<value>(?:[^']|'')*)'\s*(?:(?P<and>and)\s+|(?P<end>\Z))",
    re.IGNORECASE,
)
_NAMES = ("type", "state", "trackingnumber")


@dataclass(frozen=True, slots=True)
class Filter:
    """None of a field: any."""

    kind: str | None = None
    state: JobState | None = None
    tracking_number: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Which jobs are wanted: at most ``size`` that fit ``wanted``, after the place ``after``."""

    size: int
    wanted: Filter
    after: str | None


def read_page(query: Mapping[str, str]) -> Page:
    """``query`` has lower-case names. Raises ArmError."""
    return Page(_top(query.get("$top")), _filter(query.get("$filter", "")), query.get("$skiptoken"))


def next_link(base: str, path: str, query: Mapping[str, str], after: str) -> str:
    """The page after ``after``, under the address that the client itself used."""
    kept = {name: query[name] for name in ("api-version", "$top", "$filter") if name in query}
    pairs = {**kept, "$skiptoken": after}
    told = "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs.items())
    return f"{base}{path}?{told}"


def _top(text: str | None) -> int:
    if text is None:
        return MAX_TOP
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= MAX_TOP):
        raise ArmError(400, "InvalidQueryParameter", f"$top must be a number from 1 to {MAX_TOP}", "$top")
    return int(text)


def _filter(text: str) -> Filter:
    if not text.strip():
        return Filter()
    if len(text) > MAX_FILTER_CHARS:
        raise _wrong(f"has more than {MAX_FILTER_CHARS} characters")
    if any(ch < " " or ch == "\x7f" for ch in text):
        raise _wrong("holds a control character")
    found: dict[str, str] = {}
    place = 0
    while place < len(text):
        term = _TERM.match(text, place)
        if term is None:
            raise _wrong(f"is not understood from character {place + 1} on")
        name = term["name"].lower()
        if name not in _NAMES or term["how"].lower() != "eq":
            raise _wrong(f"knows no {term['name'][:30]} {term['how'][:30]}")
        if name in found:
            raise _wrong(f"names {name} twice")
        found[name] = term["value"].replace("''", "'")
        place = term.end()
        if term["and"] and place >= len(text):
            raise _wrong("ends with 'and'")
    return Filter(_kind(found.get("type")), _state(found.get("state")), found.get("trackingnumber"))


def _kind(text: str | None) -> str | None:
    for kind in ("Import", "Export"):
        if text is not None and text.lower() == kind.lower():
            return kind
    if text is not None:
        raise _wrong(f"has type {text[:30]!r}, which is neither Import nor Export")
    return None


def _state(text: str | None) -> JobState | None:
    if text is None:
        return None
    for state in JobState:
        if state.value.lower() == text.lower():
            return state
    raise _wrong(f"has state {text[:30]!r}, which is none of {', '.join(JobState)}")


def _wrong(why: str) -> ArmError:
    grammar = "type eq 'Import', state eq 'STATE' and trackingnumber eq 'NUMBER', joined by and"
    return ArmError(400, "InvalidQueryParameter", f"$filter {why}; it takes {grammar}", "$filter")
