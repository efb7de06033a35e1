"""Some damage on each real volume is told as what it is (``tests.fuzz`` has all other damage)."""

from __future__ import annotations

from contextlib import suppress

import pytest

from agent.errors import IngestError, NtfsDamaged, UnreadableSectors
from agent.volume.block import check_range
from agent.volume.ntfs import DamagedRecord, Entry, NtfsVolume, StreamKind, StreamRef
from agent.volume.ntfs.geometry import read_geometry
from tests.kit.ntfs_images import bare_ntfs, image_files

_MAX_PACKED_BYTES = 200_000
"""Larger images take longer to unpack than to test."""


class _Damaged:
    """A volume with some bytes replaced and a range that cannot be read."""

    sector_size = 512

    def __init__(self, data: bytes, changes: dict[int, bytes], bad: range = range(0)) -> None:
        self.size_bytes = len(data)
        self._data = data
        self._changes = changes
        self._bad = bad

    def read_into(self, offset: int, buffer: memoryview) -> None:
        check_range(self, offset, len(buffer))
        end = offset + len(buffer)
        if offset < self._bad.stop and self._bad.start < end:
            raise UnreadableSectors(self._bad.start, len(self._bad))
        buffer[:] = self._data[offset:end]
        for place, change in self._changes.items():
            for index, byte in enumerate(change):
                if offset <= place + index < end:
                    buffer[place + index - offset] = byte


@pytest.fixture(scope="module", params=image_files(_MAX_PACKED_BYTES), ids=lambda path: path.name)
def image(request: pytest.FixtureRequest) -> bytes:
    return bare_ntfs(request.param)


def _exercise(source: _Damaged) -> list[Entry | DamagedRecord]:
    """All that callers do, with every expected error taken; any other one fails the test."""
    try:
        volume = NtfsVolume.open(source)
        found = list(volume.scan())
    except IngestError:
        return []
    for entry in found[:200]:
        if isinstance(entry, DamagedRecord):
            assert entry.why
            continue
        for ref in entry.streams:
            _read_ends(volume, ref)
        with suppress(IngestError):
            volume.find("\\".join(entry.path))
    return found


def _read_ends(volume: NtfsVolume, ref: StreamRef) -> None:
    length = min(ref.size, 70_000)
    for offset in {0, ref.size - length}:
        with suppress(IngestError):
            volume.read_into(ref, offset, memoryview(bytearray(length)))


def test_sectors_of_the_table_that_cannot_be_read_are_told(image: bytes) -> None:
    start = read_geometry(_Damaged(image, {})).mft_offset + 65536
    there = {each.record for each in _entries(_exercise(_Damaged(image, {})))}
    found = _exercise(_Damaged(image, {}, range(start, start + 4096)))
    lost = {each.number for each in found if isinstance(each, DamagedRecord)}
    kept = {each.record for each in _entries(found)}
    assert there <= kept | lost
    assert not kept & lost


def test_a_first_record_that_is_damaged_is_taken_from_the_mirror(image: bytes) -> None:
    start = read_geometry(_Damaged(image, {})).mft_offset
    whole = _entries(_exercise(_Damaged(image, {})))
    found = _exercise(_Damaged(image, {start: b"BAAD"}))
    assert [each.number for each in found if isinstance(each, DamagedRecord)] == [0]
    assert _entries(found) == [each for each in whole if each.record != 0]


def _entries(found: list[Entry | DamagedRecord]) -> list[Entry]:
    assert found
    return [each for each in found if isinstance(each, Entry)]


def test_an_encrypted_file_is_told_and_not_read(image: bytes) -> None:
    whole = _entries(_exercise(_Damaged(image, {})))
    ref = next(
        (
            ref
            for entry in whole
            for ref in entry.streams
            if ref.kind is StreamKind.RESIDENT and not entry.is_system and not entry.is_directory
        ),
        None,
    )
    if ref is None:
        pytest.skip("no resident file on this image")
    start = ref.first_offset
    information = start + int.from_bytes(image[start + 20 : start + 22], "little")
    source = _Damaged(image, {information + 24 + 33: b"\x40"})
    volume = NtfsVolume.open(source)
    entry = next(each for each in volume.scan() if isinstance(each, Entry) and each.record == ref.record)
    assert all(stream.unsupported and "EFS" in stream.unsupported for stream in entry.streams)
    with pytest.raises(NtfsDamaged, match="EFS"):
        volume.read_into(entry.streams[0], 0, memoryview(bytearray(entry.streams[0].size)))
