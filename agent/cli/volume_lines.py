"""What `volume list` and `volume hash` print: one JSON line a name of a file or of a stream."""

from __future__ import annotations

import json
import marshal
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

from agent.transfer.listing import DAMAGED
from agent.volume.ntfs import ORPHAN, DamagedRecord, Entry, StreamKind, StreamRef

_FIRST_DAY = date(1601, 1, 1)
_DAY_S = 86_400
_TICKS_PER_S = 10_000_000
_LAST_FILETIME = 2_650_467_744_000_000_000
"""The year 10,000, which no ISO date of four digits reaches."""
_DAMAGED = "damaged"
_KINDS = {kind.value: kind for kind in StreamKind}

Names = tuple[str, ...]


class Listed(NamedTuple):
    """One stream (or a link without any, or a damaged record), under each of its names.

    ``facts`` are the fields that all its lines share; ``stream`` is None when there are no bytes to read.
    """

    paths: tuple[Names, ...]
    facts: Mapping[str, Any]
    stream: StreamRef | None

    @property
    def error(self) -> str | None:
        """Why its bytes cannot be had, as far as is known before they are read."""
        error: str | None = self.facts.get("error")
        return error

    @property
    def is_damaged(self) -> bool:
        """Whether the volume contradicts itself there; False for what merely is of an unsupported kind."""
        return _DAMAGED in self.facts["flags"]

    def lines(self, **more: object) -> Iterator[str]:
        """One a name, with ``more`` fields. Lone surrogates are ``\\ud800`` escapes, so a line is ASCII."""
        stream = self.stream
        name = stream.name if stream is not None else ""
        for path in self.paths:
            yield json.dumps({**_named(path, name), **_measured(stream), **self.facts, **more}) + "\n"


class ToRead(NamedTuple):
    """A stream whose bytes are still to be read, with its lines as far as they are known by then."""

    openings: tuple[str, ...]
    stream: StreamRef

    @classmethod
    def of(cls, listed: Listed) -> ToRead:
        """What is listed has a stream."""
        assert listed.stream is not None
        return cls(tuple(line.removesuffix("}\n") for line in listed.lines()), listed.stream)

    def lines(self, **more: object) -> Iterator[str]:
        """As those of ``Listed``."""
        end = "".join(f', "{name}": {json.dumps(value)}' for name, value in more.items())
        for opening in self.openings:
            yield f"{opening}{end}}}\n"

    def to_row(self) -> bytes:
        """For a scratch file of our own; ``from_row`` trusts it."""
        stream = self.stream
        return marshal.dumps((self.openings, *stream[:3], stream.kind.value, *stream[4:]))

    @classmethod
    def from_row(cls, row: bytes) -> ToRead:
        """Of what ``to_row`` gave."""
        # A fifth of the price of JSON; nobody else can write to a scratch file without a name.
        openings, record, sequence, name, kind, *rest = marshal.loads(row)  # noqa: S302
        return cls(openings, StreamRef(record, sequence, name, _KINDS[kind], *rest))


def listed(entries: Iterable[Entry | DamagedRecord], *, metafiles: bool) -> Iterator[Listed]:
    """Files and streams in the order of ``entries`` (those of one file follow each other).

    Directories show only through what lies in them, through streams of their own and as links; NTFS's
    own files ($MFT, $Extend and the like) only with ``metafiles``.
    """
    for _, group in groupby(entries, key=_number):
        for each in _of_one_record(list(group)):
            if metafiles or "metafile" not in each.facts["flags"]:
                yield each


def _number(entry: Entry | DamagedRecord) -> int:
    return entry.number if isinstance(entry, DamagedRecord) else entry.record


def _of_one_record(group: list[Entry | DamagedRecord]) -> Iterator[Listed]:
    """Names of one file have their streams in common. Some may be NTFS's own and others not."""
    if len(group) == 1 and isinstance(group[0], Entry):
        yield from _of_file([group[0]])
        return
    for own in (False, True):
        entries = [each for each in group if isinstance(each, Entry) and each.is_system is own]
        if entries:
            yield from _of_file(entries)
    for each in group:
        if isinstance(each, DamagedRecord):
            yield _of_damage(each)


def _of_file(entries: list[Entry]) -> Iterator[Listed]:
    entry = entries[0]
    paths = tuple(each.path for each in entries)
    facts = _facts(entry)
    is_link = entry.target is not None
    for stream in entry.streams:
        if is_link and not stream.name and not stream.size:
            continue
        flags = [*facts["flags"], *(["stream"] if stream.name else [])]
        if stream.unsupported is None:
            yield Listed(paths, {**facts, "flags": flags}, stream)
        else:
            flags.append(_DAMAGED if stream.unsupported.startswith(_DAMAGED) else "unsupported")
            yield Listed(paths, {**facts, "flags": flags, "error": stream.unsupported}, stream)
    if is_link:
        yield Listed(paths, facts, None)
    elif not entry.streams and not entry.is_directory:
        flags = [*facts["flags"], _DAMAGED]
        yield Listed(paths, {**facts, "flags": flags, "error": "the file has no data stream"}, None)


def _facts(entry: Entry) -> dict[str, Any]:
    flags = []
    if entry.is_system:
        flags.append("metafile")
    if entry.is_directory:
        flags.append("directory")
    if entry.target is not None:
        flags.append("link")
    if entry.path and entry.path[0] == ORPHAN:
        flags.append("orphan")
    facts: dict[str, Any] = {
        "flags": flags,
        "record": entry.record,
        "modified": iso_time(entry.modified),
        "attributes": entry.attributes,
        "links": entry.link_count,
    }
    if entry.target is not None:
        facts["target"] = entry.target
    if entry.reparse_tag is not None:
        facts["reparseTag"] = f"{entry.reparse_tag:#010x}"
    return facts


def _of_damage(damage: DamagedRecord) -> Listed:
    """It has no place in the tree, so its path is its number, and a name if one could be made out."""
    paths = tuple((DAMAGED, str(damage.number), name) for name in damage.names)
    facts = {"flags": [_DAMAGED], "record": damage.number, "error": damage.why}
    return Listed(paths or ((DAMAGED, str(damage.number)),), facts, None)


def _named(path: Names, stream: str) -> dict[str, object]:
    """A slash or a colon within a name makes ``path`` ambiguous; ``names`` then says them one by one."""
    shown = "/".join(path)
    named: dict[str, object] = {"path": f"{shown}:{stream}" if stream else shown}
    if stream:
        named["stream"] = stream
    if ":" in shown or shown.count("/") >= max(1, len(path)):
        named["names"] = path
    return named


def _measured(stream: StreamRef | None) -> dict[str, object]:
    if stream is None:
        return {}
    measured: dict[str, object] = {
        "size": stream.size,
        "kind": stream.kind.value,
        "extents": stream.extents,
    }
    if stream.packed_bytes:
        measured["packed"] = stream.packed_bytes
    return measured


def iso_time(filetime: int) -> str | None:
    """UTC with the seven decimals of a FILETIME; None for what no calendar holds."""
    if not 0 <= filetime < _LAST_FILETIME:
        return None
    seconds, ticks = divmod(filetime, _TICKS_PER_S)
    days, second = divmod(seconds, _DAY_S)
    return f"{_date(days)}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.{ticks:07}Z"


@lru_cache(maxsize=4096)
def _date(days: int) -> str:
    """A calendar is dear, and a drive has far fewer days than files."""
    return (_FIRST_DAY + timedelta(days=days)).isoformat()
