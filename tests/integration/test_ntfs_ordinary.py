"""The two ways of the scan, all records at once and each with care, give the same values: on every
image as it is, and on every image with every record of its table broken in some place or another.

The careful way is ``scan(..., careful_only=True)``, which takes no record for an ordinary one.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import pytest

from agent.volume.block import BytesSource, read
from agent.volume.entry import DamagedRecord, Entry
from agent.volume.ntfs import table as table_module
from agent.volume.ntfs.geometry import read_geometry
from agent.volume.ntfs.scan import scan
from agent.volume.ntfs.table import MasterFileTable
from tests.kit.ntfs_images import bare_ntfs, image_files

_ROUNDS = 16

_SYSTEM_RECORDS = 24
_TIDY = 8
"""One of so many records is left as it is, so that the table stays readable and paths have ends."""


@pytest.fixture(scope="module", params=image_files(), ids=lambda path: path.name)
def image(request: pytest.FixtureRequest) -> bytes:
    return bare_ntfs(request.param)


class _Changed:
    """A volume of which some stretches read otherwise."""

    sector_size = 512

    def __init__(self, data: bytes, changes: dict[int, bytes]) -> None:
        self._inner = BytesSource(data)
        self._changes = sorted(changes.items())
        self.size_bytes = len(data)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self._inner.read_into(offset, buffer)
        for place, change in self._changes:
            first, end = max(place, offset), min(place + len(change), offset + len(buffer))
            if first < end:
                buffer[first - offset : end - offset] = change[first - place : end - place]


def _both_ways(source: BytesSource | _Changed) -> tuple[list[Entry], list[DamagedRecord]]:
    table = MasterFileTable(source, read_geometry(source))
    quick, careful = list(scan(table)), list(scan(table, careful_only=True))
    # The text tells a number of numpy from a number, which are equal.
    assert sorted(map(repr, quick)) == sorted(map(repr, careful))
    return (
        [each for each in quick if isinstance(each, Entry)],
        [each for each in quick if isinstance(each, DamagedRecord)],
    )


def test_both_ways_give_the_same_of_an_image_as_it_is(image: bytes) -> None:
    entries, damaged = _both_ways(BytesSource(image))
    assert len(entries) > 20
    assert not damaged


@pytest.mark.parametrize("seed", range(_ROUNDS))
def test_both_ways_give_the_same_of_records_that_are_broken(
    image: bytes, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    source = BytesSource(image)
    table = MasterFileTable(source, read_geometry(source))
    changes = dict(_broken(table, source, chance))
    whole = _both_ways(_Changed(image, changes))
    assert len(whole[0]) + len(whole[1]) > len(changes) // 8
    # In small pieces of the table directories often come later than what lies in them.
    monkeypatch.setattr(table_module, "CHUNK_BYTES", 16 * 1024)
    pieces = _both_ways(_Changed(image, changes))
    for one, other in zip(whole, pieces, strict=True):
        assert sorted(map(repr, one)) == sorted(map(repr, other))


def _broken(
    table: MasterFileTable, source: BytesSource, chance: random.Random
) -> Iterator[tuple[int, bytes]]:
    """Most records in use, each broken in one to three places where structures lie."""
    for number in range(_SYSTEM_RECORDS, table.record_count):
        offset = table.offset(number)
        stored = bytearray(read(source, offset, table.geometry.record_size))
        if stored[:4] != b"FILE" or not stored[22] & 1 or not chance.randrange(_TIDY):
            continue
        for _ in range(chance.randrange(1, 4)):
            _break(stored, chance)
        yield offset, bytes(stored)


def _break(stored: bytearray, chance: random.Random) -> None:
    """A field of the record's head or of an attribute becomes one of those that look right and are not."""
    places = [(16, 32), *_attributes(stored)]
    start, length = chance.choice(places)
    inside = chance.randrange(min(length, 96) if chance.randrange(4) else length)
    at = min(start + inside, len(stored) - 8)
    width = chance.choice((1, 1, 1, 2, 4, 8))
    near = int.from_bytes(stored[at : at + width], "little")
    value = chance.choice(
        (
            0,
            1,
            2,
            0x80,
            (1 << 8 * width) - 1,
            (1 << 8 * width - 1) - 1,
            near + 1,
            near - 1,
            near ^ 8,
            near + 8,
        )
    )
    stored[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, "little")


def _attributes(stored: bytearray) -> Iterator[tuple[int, int]]:
    at = struct.unpack_from("<H", stored, 20)[0]
    while at + 8 <= len(stored):
        kind, length = struct.unpack_from("<II", stored, at)
        if kind == 0xFFFFFFFF or not 0 < length <= len(stored) - at:
            yield at, 8
            return
        yield at, length
        at += length
