"""The mapfile of GNU ddrescue, in which people exchange what is known of a drive's bytes.

The format: manual of GNU ddrescue 1.27, chapter "Mapfile structure". A comment runs from ``#`` to the
end of its line. The first other line is the status of the copy (position, a letter, a pass); each
further one is a range (position, size, a letter), in ascending order and without gaps. Numbers are
decimal, ``0x`` hexadecimal or ``0`` octal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent.errors import MalformedInput
from agent.volume.drivemap import MAX_RANGES, DriveMap, State, Stretch

_MAX_POSITION: Final = 1 << 63
_MAX_DIGITS: Final = 24
_PASS_STATES: Final = frozenset("?*/-FG+")
_BY_LETTER: Final = {state.value: state for state in State}


def to_text(drive: DriveMap, remarks: Sequence[str] = (), *, show_finished: bool = False) -> str:
    """A mapfile that ddrescue takes; ``remarks`` become comments at its head.

    Finished ranges are written as non-tried unless ``show_finished``: nobody holds an image of what
    was read here, and a ddrescue that begins with this map would leave them out of its own.
    """
    lines = ["# Mapfile. Created by drive-ingest-agent"]
    lines += ["# " + _one_line(remark) for remark in (*remarks, *drive.remarks)]
    lines += ["# current_pos  current_status  current_pass", "0x00000000     ?               1"]
    lines.append("#      pos        size  status")
    found = drive.stretches() if show_finished else drive.without_finished()
    lines += [f"0x{each.start:08X}  0x{each.length:08X}  {each.state}" for each in found if each.length]
    return "\n".join(lines) + "\n"


def _one_line(remark: str) -> str:
    return " ".join(remark.split()).encode("ascii", "backslashreplace").decode("ascii")


def parse(text: str, size_bytes: int, max_ranges: int = MAX_RANGES) -> DriveMap:
    """The map that a mapfile tells of a drive of ``size_bytes``; what it leaves out is non-tried.

    Raises MalformedInput, naming the line, for what ddrescue would not take either, and for anything
    but non-tried past the end of the drive.
    """
    found = DriveMap(size_bytes, max_ranges)
    position: int | None = None
    status_seen = False
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        if not status_seen:
            status_seen = _check_status(number, fields)
            continue
        stretch = _stretch(number, fields)
        if position is not None and stretch.start != position:
            raise MalformedInput(
                f"line {number} of the mapfile begins at {stretch.start}; the one before ends at {position}"
            )
        position = stretch.end
        if stretch.state is State.NON_TRIED:
            continue
        if stretch.end > size_bytes:
            raise MalformedInput(
                f"line {number} of the mapfile reaches to byte {stretch.end} of a drive of {size_bytes}"
            )
        found.mark(stretch.start, stretch.length, stretch.state)
    if position is None:
        raise MalformedInput("the mapfile has no ranges")
    return found


def _check_status(number: int, fields: list[str]) -> bool:
    if len(fields) not in (2, 3) or fields[1] not in _PASS_STATES:
        raise MalformedInput(f"line {number} of the mapfile is no status line")
    _number(number, fields[0])
    return True


def _stretch(number: int, fields: list[str]) -> Stretch:
    if len(fields) != 3 or fields[2] not in _BY_LETTER:
        raise MalformedInput(f"line {number} of the mapfile is not position, size and one of ?*/-+")
    start, length = _number(number, fields[0]), _number(number, fields[1])
    if not length or start + length >= _MAX_POSITION:
        raise MalformedInput(f"line {number} of the mapfile has a range of {length} bytes at {start}")
    return Stretch(start, start + length, _BY_LETTER[fields[2]])


def _number(line: int, text: str) -> int:
    """C's notation: 0x for hexadecimal, 0 for octal."""
    base = 16 if text[:2] in ("0x", "0X") else 8 if text[:1] == "0" else 10
    digits = text[2:] if base == 16 else text
    if not (digits.isascii() and digits.isalnum() and len(digits) <= _MAX_DIGITS):
        raise MalformedInput(f"line {line} of the mapfile has no number where one is due")
    try:
        return int(digits, base)
    except ValueError:
        raise MalformedInput(f"line {line} of the mapfile has no number where one is due") from None
