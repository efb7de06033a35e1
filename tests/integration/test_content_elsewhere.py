"""Files whose bytes are not those of their stream: unpacked where that can be, else failed with a reason."""

from __future__ import annotations

import struct
from functools import lru_cache

import pytest

from agent.errors import NtfsDamaged
from agent.volume.block import BytesSource
from agent.volume.ntfs import DamagedRecord, Entry, NtfsVolume, StreamKind, StreamRef
from agent.volume.ntfs.geometry import read_geometry
from agent.volume.ntfs.wof import PACKED_STREAM
from fixtures.images import BaseImage, base_image

_WOF_TAG = 0x80000017


@lru_cache
def _image(name: str) -> BaseImage:
    return base_image(name)


def _find(volume: NtfsVolume, path: str) -> Entry:
    entry = volume.find(path.replace("/", "\\"))
    assert entry is not None, path
    return entry


def _fails(volume: NtfsVolume, ref: StreamRef, said: str) -> None:
    """With the reason in both places, and without a byte put out."""
    assert ref.unsupported is not None
    assert said in ref.unsupported
    buffer = bytearray(b"\xee" * min(ref.size, 4096))
    with pytest.raises(NtfsDamaged, match=f"record {ref.record}: .*cannot be read") as caught:
        volume.read_into(ref, 0, memoryview(buffer))
    assert said in caught.value.detail
    assert buffer == b"\xee" * len(buffer)


def test_packed_files_are_offered_as_their_content_only() -> None:
    image = _image("wof")
    volume = NtfsVolume.open(BytesSource(image.volume))
    packed = image.facts["packed_bytes"]
    assert len(packed) > 50
    for path, packed_bytes in packed.items():
        ref, *others = _find(volume, path).streams
        assert (ref.name, ref.kind, ref.packed_bytes) == ("", StreamKind.WOF, packed_bytes), path
        assert ref.valid_size == ref.size
        assert PACKED_STREAM not in [other.name for other in others]
    listed = {file.path: file.size for file in image.files}
    assert {path: _find(volume, path).streams[0].size for path in packed} == {
        path: listed[path] for path in packed
    }


def test_every_format_and_both_places_of_a_packed_stream_occur() -> None:
    image = _image("wof")
    volume = NtfsVolume.open(BytesSource(image.volume))
    refs = [_find(volume, path).streams[0] for path in image.facts["packed_bytes"]]
    for chunk in (4096, 8192, 16384, 32768):
        of_format = [ref for ref in refs if ref.unit_bytes == chunk]
        assert any(ref.size > 1 << 20 for ref in of_format)
        assert {not ref.extents for ref in of_format} == {True, False}
    assert any(len(ref.extents) > 5 for ref in refs)


def test_other_streams_of_a_packed_file_stay() -> None:
    image = _image("wof")
    entry = _find(NtfsVolume.open(BytesSource(image.volume)), "streams/setup.exe")
    names = [ref.name for ref in entry.streams]
    assert names == ["", *sorted(file.stream for file in image.files if file.names[-1] == "setup.exe")[1:]]
    assert len(names) > 30


def test_what_cannot_be_unpacked_fails_with_a_reason_and_shows_what_it_is_packed_in() -> None:
    image = _image("wof")
    volume = NtfsVolume.open(BytesSource(image.volume))
    kept = {file.names for file in image.files if file.stream == PACKED_STREAM}
    assert len(image.facts["unreadable"]) >= 8
    for path, said in image.facts["unreadable"].items():
        ref, *others = _find(volume, path).streams
        assert ref.unsupported is not None
        assert ref.unsupported.startswith("WOF-compressed (compact /exe)")
        _fails(volume, ref, said)
        assert [other.name for other in others] == [PACKED_STREAM] * (tuple(path.split("/")) in kept)


def test_a_packed_stream_that_was_written_in_part_only_is_damage() -> None:
    image = _image("wof")
    path = "xpress4k/text.txt"
    entry = _find(NtfsVolume.open(BytesSource(image.volume)), path)
    volume = bytearray(image.volume)
    place = _record_place(image.volume, entry.record)
    sizes = struct.pack("<2q", entry.streams[0].packed_bytes, entry.streams[0].packed_bytes)
    at = volume.index(sizes, place, place + 1024)
    struct.pack_into("<q", volume, at + 8, 100)
    reader = NtfsVolume.open(BytesSource(bytes(volume)))
    (ref, _) = _find(reader, path).streams
    _fails(reader, ref, "only 100 of the 27637 bytes")


def test_a_resident_packed_stream_that_is_gone_is_damage() -> None:
    image = _image("wof")
    ref = _find(NtfsVolume.open(BytesSource(image.volume)), "lzx/a hundred zeros.bin").streams[0]
    assert not ref.extents
    other = NtfsVolume.open(BytesSource(_image("nasty").volume))
    with pytest.raises(NtfsDamaged):
        other.read_into(ref, 0, memoryview(bytearray(10)))


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        (0x80000013, "deduplicated"),
        (0x9000001A, "cloud placeholder"),
        (0x9000F01A, "cloud placeholder"),
        (0xC0000004, "remote storage (HSM)"),
        (0x80000006, "remote storage (HSM2)"),
        (0x80000007, "single-instance storage"),
        (0x8000001E, "Azure File Sync"),
        (0x80000018, "container layer"),
        (0x9000001C, "ProjFS"),
        (0x40001234, "unknown kind"),
        (_WOF_TAG, "too short"),
    ],
)
def test_a_tag_that_leads_elsewhere_is_never_read_as_the_zeros_that_are_there(tag: int, said: str) -> None:
    image = _image("nasty")
    volume, path = bytearray(image.volume), "reparse/cloud.docx"
    entry = _find(NtfsVolume.open(BytesSource(image.volume)), path)
    assert entry.streams[0].extents[0][0] is None
    place = _record_place(image.volume, entry.record)
    at = volume.index(struct.pack("<I", 0x9000101A), place, place + 1024)
    struct.pack_into("<I", volume, at, tag)
    if tag == _WOF_TAG:
        struct.pack_into("<H", volume, at + 4, 12)
    reader = NtfsVolume.open(BytesSource(bytes(volume)))
    found = _find(reader, path)
    assert found.reparse_tag == tag
    _fails(reader, found.streams[0], said)


def test_files_encrypted_with_efs_fail_by_name() -> None:
    image = _image("nasty")
    volume = NtfsVolume.open(BytesSource(image.volume))
    for path, size in image.facts["encrypted"].items():
        (ref,) = _find(volume, path).streams
        assert ref.size == size
        _fails(volume, ref, "EFS")


def test_all_that_leads_elsewhere_on_the_volume_is_told_in_a_scan() -> None:
    image = _image("nasty")
    volume = NtfsVolume.open(BytesSource(image.volume))
    told = {}
    for entry in volume.scan():
        assert not isinstance(entry, DamagedRecord)
        told.update({"/".join(entry.path): ref.unsupported for ref in entry.streams if ref.unsupported})
    expected = [path for path in image.facts["reparse"] if path.endswith((".docx", ".vhd"))]
    assert set(told) == {*expected, *image.facts["encrypted"]}
    assert len(expected) == 2


def _record_place(volume: bytes, number: int) -> int:
    """The fixtures keep their whole table in one run."""
    geometry = read_geometry(BytesSource(volume))
    place = geometry.mft_offset + number * geometry.record_size
    assert volume[place : place + 4] == b"FILE"
    return place
