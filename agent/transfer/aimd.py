"""How many requests an account bears at once, and each drive's share of them: the rules, without clocks.

Additive increase, multiplicative decrease, as TCP shares a line (RFC 5681): while the limit is what
holds requests up, every round of answers raises it by one; a request that the service had no room for
lowers it to a part of what was under way, at most once for all requests that were under way together.
Below one request a drive it goes on as a gap between a drive's requests. Until something is lowered
there is no limit but ``ceiling``, a drive's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.transfer.board import Rows

KEEP = 0.7
"""Of the requests under way, this part is left by a decrease."""

GAIN = 1 / 16
"""A small limit is raised by an answer by no more than this part of itself."""

GAP_S = 0.1
LONGEST_GAP_S = 2.0
"""At half a request a drive the gap is GAP_S, at a third twice that, and so on up to the longest."""

LONGEST_RETRY_AFTER_S = 120.0
STALE_S = 3.0
"""A drive that told nothing for so long is gone, and its share is the others'."""

_LIMIT, _CUT_AT, _SHUT_UNTIL = range(3)
_BEAT, _UNDER_WAY, _WAITING, _CEILING = range(4)


@dataclass(frozen=True, slots=True)
class Needs:
    """A drive's requests now: under way, held up behind them, and its ceiling.

    ``answered`` of them got an answer since the last time while the limit held others up.
    ``refused_since`` is when the latest request began that the account had no room for; None for none.
    ``retry_after_s`` is what the service asked for then, or 0.
    """

    under_way: int
    waiting: int
    ceiling: int
    answered: int = 0
    refused_since: float | None = None
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Share:
    """Up to ``requests`` at once, of the account's ``limit`` (0: none).

    One begins ``gap_s`` after the other, and none before ``shut_until``.
    """

    requests: int
    limit: float
    shut_until: float
    gap_s: float = 0.0


def settle(rows: Rows, account: str, drive: str, needs: Needs, now: float) -> Share:
    """Tell a drive's needs, and learn its share. ``drive`` is a name that no other process uses."""
    prefix = f"drive {account} "
    me = prefix + drive
    for name in [name for name in rows if name.startswith(prefix) and now - rows[name][_BEAT] > STALE_S]:
        del rows[name]
    rows[me] = [now, needs.under_way, needs.waiting, needs.ceiling]
    drives = {name: row for name, row in rows.items() if name.startswith(prefix)}
    state = rows.setdefault(f"limit {account}", [0.0, -1.0, 0.0])
    _raise(state, needs.answered, sum(row[_CEILING] for row in drives.values()))
    if needs.refused_since is not None and needs.refused_since > state[_CUT_AT]:
        _lower(state, sum(row[_UNDER_WAY] for row in drives.values()), len(drives), now)
    asked_until = now + min(needs.retry_after_s, LONGEST_RETRY_AFTER_S)
    if needs.retry_after_s > 0:
        state[_SHUT_UNTIL] = max(state[_SHUT_UNTIL], asked_until)
    if not state[_LIMIT]:
        return Share(needs.ceiling, 0.0, state[_SHUT_UNTIL])
    names = sorted(drives)
    wanted = [int(min(drives[n][_UNDER_WAY] + drives[n][_WAITING], drives[n][_CEILING])) for n in names]
    part = shares(int(state[_LIMIT]), wanted)[names.index(me)]
    gap_s = GAP_S * max(0.0, len(drives) / state[_LIMIT] - 1)
    return Share(min(max(1, part), needs.ceiling), state[_LIMIT], state[_SHUT_UNTIL], gap_s)


def leave(rows: Rows, account: str, drive: str) -> None:
    """The drive is done; its share is the others'."""
    rows.pop(f"drive {account} {drive}", None)


def shares(limit: int, wanted: Sequence[int]) -> list[int]:
    """Max-min fair: nobody gets more than it wants, nor less than another that wants as much.

    What is left over goes to those who want most, so that a drive that comes to want more has room at
    once; nobody gets less than one.
    """
    given = [0] * len(wanted)
    left, heads = max(limit, len(wanted)), len(wanted)
    for index in sorted(range(len(wanted)), key=lambda index: wanted[index]):
        given[index] = max(1, min(wanted[index], left // heads))
        left, heads = max(left - given[index], heads - 1), heads - 1
    if wanted and left:
        given[max(range(len(wanted)), key=lambda index: wanted[index])] += left
    return given


def _raise(state: list[float], answered: int, ceilings: float) -> None:
    limit = state[_LIMIT]
    if answered and limit:
        state[_LIMIT] = min(limit + answered * min(1 / limit, limit * GAIN), max(ceilings, 1.0))


def _lower(state: list[float], under_way: float, drives: int, now: float) -> None:
    before = min(state[_LIMIT] or under_way, max(under_way, 1.0))
    state[_LIMIT] = max(before * KEEP, drives / (1 + LONGEST_GAP_S / GAP_S))
    state[_CUT_AT] = now
