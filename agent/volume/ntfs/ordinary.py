"""Ordinary records, all of a chunk at once: most files of any volume, at a tenth of the price.

Ordinary is a record that is sound by the same tests that ``record``, ``facts`` and ``runlist`` make, and
has: times; one proper name, with or without an 8.3 alias; at most one $DATA, without a name, resident or
of one run, neither sparse nor packed nor encrypted; nothing that leads elsewhere (attribute list, reparse
point, logged utility stream). What is not of exactly that shape is not judged here: it goes the careful
way of ``scan``, and where both could go they give the same values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from agent.volume.entry import Entry, StreamKind, StreamRef
from agent.volume.ntfs.cursor import NAME_PLACE, VALUE_PLACE, Flags, Found, Ints, Views, find_attributes
from agent.volume.ntfs.geometry import Geometry
from agent.volume.ntfs.record import DIRECTORY, decode_name
from agent.volume.ntfs.table import Chunk
from agent.volume.ntfs.tree import Directory

_MAX_BYTES = 1 << 62
"""No sum of two numbers below it overflows; what is larger goes the careful way."""

_LOW_BYTES = np.array([(1 << 8 * size) - 1 for size in range(8)] + [-1], dtype=np.int64)
"""By the number of bytes: the mask that leaves these of eight."""


@dataclass(frozen=True, slots=True)
class Ordinary:
    """The ordinary records of one chunk, ascending; every column has one item for each of ``rows``.

    ``parents`` are references of directories. ``streams`` and ``columns`` are what ``entries`` is made of.
    """

    rows: list[int]
    parents: list[int]
    names: list[str]
    are_directories: list[bool]
    numbers: list[int]
    sequences: list[int]
    streams: list[tuple[StreamRef, ...]]
    columns: tuple[list[int], ...]

    def directories(self) -> list[tuple[int, Directory]]:
        """Those that are directories, each with its place in the columns."""
        return [
            (
                at,
                Directory(
                    self.numbers[at],
                    self.sequences[at],
                    self.parents[at],
                    self.names[at].encode("utf-16-le", "surrogatepass"),
                ),
            )
            for at, is_directory in enumerate(self.are_directories)
            if is_directory
        ]

    def entries(self, paths: Sequence[tuple[str, ...]], are_system: Sequence[bool]) -> list[Entry]:
        """One Entry for each of ``rows``, given where it lies and whether NTFS keeps it for itself."""
        attributes, created, modified, changed, accessed, links = self.columns
        columns = zip(
            self.numbers,
            self.sequences,
            paths,
            self.are_directories,
            attributes,
            created,
            modified,
            changed,
            accessed,
            links,
            are_system,
            self.streams,
            repeat(None),
            repeat(None),
            strict=False,
        )
        return list(map(Entry._make, columns))


@dataclass(frozen=True, slots=True)
class _Data:
    """The $DATA of each record, where it ``exists``; ``start`` and ``length`` are of its only extent, or
    ``length`` is 0 and ``start`` the record that it lies in."""

    exists: Flags
    size: Ints
    valid_size: Ints
    start: Ints
    length: Ints

    def of(self, rows: Flags) -> _Data:
        return _Data(
            self.exists[rows], self.size[rows], self.valid_size[rows], self.start[rows], self.length[rows]
        )


def read_ordinary(chunk: Chunk, geometry: Geometry, offsets: Ints) -> Ordinary | None:
    """The ordinary records of the chunk, None if it has none.

    ``offsets`` are the places of the chunk's records on the volume, in bytes.
    """
    if geometry.volume_bytes >= _MAX_BYTES:
        return None
    views = Views(chunk.buffer)
    found = find_attributes(chunk, views, geometry.record_size)
    rows = np.flatnonzero(found.complete)
    data, plain = _read_data(views, found.data[rows], offsets[rows], geometry)
    rows = rows[plain]
    return _build(chunk, views, found, rows, data, geometry.record_size) if len(rows) else None


def _build(
    chunk: Chunk, views: Views, found: Found, rows: NDArray[np.intp], data: _Data, record_size: int
) -> Ordinary:
    shorts = rows * (record_size // 2)
    numbers = (rows + chunk.first).tolist()
    sequences = views.shorts[shorts + 8].tolist()
    times = found.information[rows] + VALUE_PLACE >> 3
    name = np.where(found.name[rows] > 0, found.name[rows], found.alias[rows])
    return Ordinary(
        rows.tolist(),
        views.unsigned[name + VALUE_PLACE >> 3].tolist(),
        _read_names(views, name, chunk.buffer),
        (chunk.flags[rows] & DIRECTORY != 0).tolist(),
        numbers,
        sequences,
        _streams(numbers, sequences, data),
        (
            views.words[(times << 1) + 8].tolist(),
            *(views.unsigned[times + at].tolist() for at in range(4)),
            views.shorts[shorts + 9].tolist(),
        ),
    )


def _read_data(views: Views, at: Ints, offsets: Ints, geometry: Geometry) -> tuple[_Data, Flags]:
    """The $DATA at each of ``at`` (0: none) that is resident or one run, and which ones these are."""
    exists = at > 0
    size = views.words[(at >> 2) + 4].astype(np.int64)
    data = _Data(exists, size, size.copy(), offsets.copy(), np.zeros(len(at), dtype=np.int64))
    plain = np.ones(len(at), dtype=np.bool_)
    mapped = np.flatnonzero(exists & (views.bytes[at + 8] != 0))
    here = at[mapped]
    cluster, clusters, one = _only_run(views, here, geometry.total_clusters)
    first, last = views.longs[(here >> 3) + 2], views.longs[(here >> 3) + 3]
    size, valid_size = views.longs[(here >> 3) + 6], views.longs[(here >> 3) + 7]
    length = clusters * geometry.cluster_size
    plain[mapped] = one & (first == 0) & (clusters == last + 1) & (size <= length)
    data.size[mapped], data.valid_size[mapped] = size, np.minimum(size, valid_size)
    data.start[mapped], data.length[mapped] = cluster * geometry.cluster_size, length
    return data.of(plain), plain


def _only_run(views: Views, at: Ints, total_clusters: int) -> tuple[Ints, Ints, Flags]:
    """First cluster and number of clusters of the runlist of each attribute, and whether it is one run
    within the volume; where it is not, both are 0."""
    end = at + (views.longs[at >> 3] >> 32)
    # A runlist so near the end of the buffer that eight bytes do not follow is the careful way's.
    start = np.minimum(at + (views.longs[(at >> 3) + 4] & 0xFFFF), len(views.bytes) - 18)
    head = views.bytes[start].astype(np.int64)
    length_bytes, place_bytes = head & 15, head >> 4
    one = (start == at + (views.longs[(at >> 3) + 4] & 0xFFFF)) & (start < end)
    one &= (length_bytes > 0) & (length_bytes <= 8) & (place_bytes > 0) & (place_bytes <= 8)
    length_bytes, place_bytes = np.where(one, length_bytes, 1), np.where(one, place_bytes, 1)
    clusters = views.anywhere[start + 1] & _LOW_BYTES[length_bytes]
    unused_bits = 64 - 8 * place_bytes
    cluster = views.anywhere[start + 1 + length_bytes] << unused_bits >> unused_bits
    after = start + 1 + length_bytes + place_bytes
    one &= (after == end) | ((after < end) & (views.bytes[after] == 0))
    one &= (clusters > 0) & (cluster >= 0) & (cluster <= total_clusters)
    one &= clusters <= total_clusters - cluster
    return np.where(one, cluster, 0), np.where(one, clusters, 0), one


def _streams(numbers: list[int], sequences: list[int], data: _Data) -> list[tuple[StreamRef, ...]]:
    """() where there is no $DATA, else the unnamed stream."""
    starts, lengths = data.start.tolist(), data.length.tolist()
    columns = zip(
        numbers,
        sequences,
        repeat(""),
        [StreamKind.PLAIN if length else StreamKind.RESIDENT for length in lengths],
        data.size.tolist(),
        data.valid_size.tolist(),
        repeat(0),
        [((start, length),) if length else () for start, length in zip(starts, lengths, strict=True)],
        repeat(None),
        starts,
        repeat(0),
        strict=False,
    )
    made = map(StreamRef._make, columns)
    return [(each,) if exists else () for each, exists in zip(made, data.exists.tolist(), strict=True)]


def _read_names(views: Views, at: Ints, buffer: bytearray) -> list[str]:
    """The names of the $FILE_NAME attributes at ``at``."""
    characters = views.bytes[at + VALUE_PLACE + 64].astype(np.int64)
    start, ends = at + NAME_PLACE, np.cumsum(characters)
    shift = (start >> 1) - (ends - characters)
    units = views.shorts[np.arange(ends[-1]) + np.repeat(shift, characters)]
    if (units & 0xF800 == 0xD800).any():
        # Two code units may be one character, and places in the text are no longer those in the names.
        places = zip(start.tolist(), (start + 2 * characters).tolist(), strict=True)
        return [decode_name(buffer[first:end]) for first, end in places]
    text = units.tobytes().decode("utf-16-le")
    places = zip((ends - characters).tolist(), ends.tolist(), strict=True)
    return [text[first:end] for first, end in places]
