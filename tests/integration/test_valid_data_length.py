"""Streams whose end was never written: plain, sparse and compressed ones, cut anywhere, against libfsntfs."""

from __future__ import annotations

import io
from functools import lru_cache

import pytest

from agent.volume.block import BytesSource
from agent.volume.ntfs import NtfsVolume, StreamKind, StreamRef
from fixtures.images import BaseImage, base_image
from fixtures.ntfs_patch import Records

pyfsntfs = pytest.importorskip("pyfsntfs")


@lru_cache
def _nasty() -> BaseImage:
    return base_image("nasty")


def _stream(volume: NtfsVolume, path: str) -> StreamRef:
    entry = volume.find(path.replace("/", "\\"))
    assert entry is not None
    (ref,) = entry.streams
    return ref


def _read(volume: NtfsVolume, ref: StreamRef, offset: int, length: int) -> bytes:
    buffer = bytearray(b"\xee" * length)
    volume.read_into(ref, offset, memoryview(buffer))
    return bytes(buffer)


_CASES = [
    ("sizes/0065536.bin", StreamKind.PLAIN),
    ("sparse/islands.bin", StreamKind.SPARSE),
    ("sparse/all hole.bin", StreamKind.SPARSE),
    ("compressed/text.txt", StreamKind.COMPRESSED),
    ("compressed/zeros.bin", StreamKind.COMPRESSED),
    ("compressed/mixed.bin", StreamKind.COMPRESSED),
]


@pytest.mark.parametrize("valid", [0, 1, 4096, 30_001, 65_535, 65_536, 65_537])
@pytest.mark.parametrize(("path", "kind"), _CASES, ids=[path for path, _ in _CASES])
def test_what_was_never_written_is_zeros(path: str, kind: StreamKind, valid: int) -> None:
    image = _nasty()
    whole_volume = NtfsVolume.open(BytesSource(image.volume))
    ref = _stream(whole_volume, path)
    whole = _read(whole_volume, ref, 0, ref.size)
    valid = min(valid, ref.size)
    patched = bytearray(image.volume)
    Records(patched).limit_valid_data(ref.record, valid)
    volume = NtfsVolume.open(BytesSource(bytes(patched)))
    cut = _stream(volume, path)
    assert (cut.kind, cut.valid_size, cut.size) == (kind, valid, ref.size)
    expected = whole[:valid] + bytes(ref.size - valid)
    assert _read(volume, cut, 0, cut.size) == expected
    for offset in (max(0, valid - 5), min(valid, cut.size - 1), min(valid + 3, cut.size - 1)):
        length = min(5000, cut.size - offset)
        assert _read(volume, cut, offset, length) == expected[offset : offset + length]
    if kind is StreamKind.COMPRESSED and not valid:
        return  # libfsntfs takes a valid size of 0 of a compressed stream for none given.
    theirs = pyfsntfs.volume()
    theirs.open_file_object(io.BytesIO(bytes(patched)))
    entry = theirs.get_file_entry_by_path("\\" + path.replace("/", "\\"))
    assert entry.read_buffer(entry.size) == expected


def test_a_unit_that_two_ranges_share_is_unpacked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from agent.volume.ntfs import content

    unpacked = []

    def counting(data: bytearray, size: int) -> bytearray:
        unpacked.append(size)
        return decompress(data, size)

    decompress = content.decompress
    monkeypatch.setattr(content, "decompress", counting)
    volume = NtfsVolume.open(BytesSource(_nasty().volume))
    ref = _stream(volume, "compressed/text.txt")
    parts = [_read(volume, ref, at, min(7000, ref.size - at)) for at in range(0, ref.size, 7000)]
    (listed,) = (file for file in _nasty().files if file.path == "compressed/text.txt")
    assert len(b"".join(parts)) == listed.size
    assert len(unpacked) == -(-ref.size // 65536)
