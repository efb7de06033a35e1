"""The results of ``make bench-volume`` as an SVG picture: bars of MB/s and of cpu-s/GB, case by case."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from xml.sax.saxutils import escape

from benchmarks.volume_figures import OWN, Case, Row

_WIDTH, _LEFT, _BAR, _GAP, _HEAD = 860, 170, 18, 6, 44
_HALF = (_WIDTH - _LEFT) // 2
_ROOM = 60
"""Right of a bar, for its figure."""
_OWN_COLOUR, _PEER_COLOUR = "#1f6f8b", "#b8b8b8"


def chart(cases: tuple[Case, ...]) -> str:
    """An SVG document; of readers that ran."""
    body: list[str] = []
    top = 10
    for case in cases:
        rows = [row for row in case.rows if row.runs]
        body += _case(case, rows, top)
        top += _HEAD + len(rows) * (_BAR + _GAP) + 16
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top}" '
        f'viewBox="0 0 {_WIDTH} {top}" font-family="sans-serif" font-size="12">\n'
        '<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _case(case: Case, rows: list[Row], top: int) -> Iterator[str]:
    yield _text(10, top + 14, case.title, 'font-weight="bold"')
    yield _text(_LEFT, top + 34, "MB/s (more is better)")
    yield _text(_LEFT + _HALF, top + 34, "cpu-s/GB (less is better)")
    for index, row in enumerate(rows):
        yield _text(10, top + _HEAD + index * (_BAR + _GAP) + 13, row.party)
    yield from _bars(rows, lambda row: row.mb_s, "{:,.0f}", _LEFT, top + _HEAD)
    yield from _bars(rows, lambda row: row.cpu_s_per_gb, "{:.2f}", _LEFT + _HALF, top + _HEAD)


def _bars(rows: list[Row], value: Callable[[Row], float], form: str, left: int, top: int) -> Iterator[str]:
    longest = max(map(value, rows), default=1.0)
    for index, row in enumerate(rows):
        at = top + index * (_BAR + _GAP)
        width = max(1.0, (_HALF - _ROOM) * value(row) / longest)
        colour = _OWN_COLOUR if row.party == OWN else _PEER_COLOUR
        yield f'<rect x="{left}" y="{at}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>'
        yield _text(left + width + 4, at + 13, form.format(value(row)))


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(text)}</text>'
