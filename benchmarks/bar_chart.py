"""Benchmarks as an SVG picture: sections of bars, one row a party."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _LEFT, _BAR, _GAP, _HEAD = 1000, 210, 16, 5, 44
_ROOM = 60
"""Right of a bar, for its figure."""
_OWN_COLOUR, _PEER_COLOUR = "#1f6f8b", "#b8b8b8"


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of all rows of a section, with how it is written."""

    title: str
    form: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """Bars of the parties ``names``; ``own`` are those in colour."""

    title: str
    names: tuple[str, ...]
    own: frozenset[str]
    columns: tuple[Column, ...]


def bar_chart(sections: Sequence[Section]) -> str:
    """An SVG document."""
    body: list[str] = []
    top = 10
    for section in sections:
        body += _section(section, top)
        top += _HEAD + len(section.names) * (_BAR + _GAP) + 16
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top}" '
        f'viewBox="0 0 {_WIDTH} {top}" font-family="sans-serif" font-size="12">\n'
        '<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _section(section: Section, top: int) -> Iterator[str]:
    yield _text(10, top + 14, section.title, 'font-weight="bold"')
    for index, name in enumerate(section.names):
        yield _text(10, top + _HEAD + index * (_BAR + _GAP) + 12, name)
    width = (_WIDTH - _LEFT) // max(1, len(section.columns))
    for index, column in enumerate(section.columns):
        left = _LEFT + index * width
        yield _text(left, top + 34, column.title)
        yield from _bars(section, column, left, width - _ROOM, top + _HEAD)


def _bars(section: Section, column: Column, left: int, room: int, top: int) -> Iterator[str]:
    longest = max(column.values, default=0.0) or 1.0
    for index, (name, value) in enumerate(zip(section.names, column.values, strict=True)):
        at, width = top + index * (_BAR + _GAP), max(1.0, room * value / longest)
        colour = _OWN_COLOUR if name in section.own else _PEER_COLOUR
        yield f'<rect x="{left}" y="{at}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>'
        yield _text(left + width + 4, at + 12, column.form.format(value))


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(text)}</text>'
