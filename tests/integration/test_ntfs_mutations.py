"""Some damage on each real volume is told as what it is (``tests.fuzz`` has all other damage)."""

from __future__ import annotations

import lzma
import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import pytest

from agent.errors import IngestError, NtfsDamaged, UnreadableSectors
from agent.volume.block import check_range
from agent.volume.ntfs import DamagedRecord, Entry, NtfsVolume, StreamKind, StreamRef
from agent.volume.ntfs.geometry import read_geometry

_CHECKOUT = Path(__file__).parents[2]
_MAX_PACKED_BYTES = 200_000
"""Larger images take longer to unpack than to test."""

_START = {".img": 0, ".raw": 65536}


def _images() -> list[Path]:
    small = sorted((_CHECKOUT / "fixtures" / "images").glob("*.img.xz"))
    shared = (_CHECKOUT.parent / "shared" / "images" / "ntfs").glob("*.raw.xz")
    small += sorted(path for path in shared if path.stat().st_size <= _MAX_PACKED_BYTES)
    if "NTFS_TEST_IMAGES" in os.environ:
        small += sorted(Path(os.environ["NTFS_TEST_IMAGES"]).glob("*.img"))
    return small


@lru_cache(maxsize=1)
def _volume_bytes(path: Path) -> bytes:
    if path.suffix == ".img":
        return path.read_bytes()
    return lzma.decompress(path.read_bytes())[_START[path.with_suffix("").suffix] :]


if not _images():
    pytest.skip("no small image in fixtures/images or the shared folder", allow_module_level=True)


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


@pytest.fixture(scope="module", params=_images(), ids=lambda path: path.name)
def image(request: pytest.FixtureRequest) -> bytes:
    data = _volume_bytes(request.param)
    if data[3:11] != b"NTFS    ":
        pytest.skip(f"{request.param.name} is not bare NTFS")
    return data


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
