"""Our NTFS reader against libfsntfs and against lists of hashes made by Windows' own images."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agent.model.naming import decode
from agent.volume.block import BytesSource
from agent.volume.ntfs import DamagedRecord, Entry, NtfsVolume, StreamKind, StreamRef
from tests.kit.images import IMAGES
from tests.kit.ntfs_images import MADE_BY_WINDOWS, bare_ntfs, image_files, volume_bytes

pyfsntfs = pytest.importorskip("pyfsntfs")

_STEP_BYTES = 512 * 1024
_REPARSE_POINT, _ENCRYPTED = 0x400, 0x4000
_WOF = 0x80000017
_LZX_CHUNK = 32768
_SMALLEST_PACKED = 4
"""libfsntfs reads four bytes of any packed stream; smaller ones are compared with the listing only."""


@pytest.fixture(scope="module", params=image_files(), ids=lambda path: path.name)
def image(request: pytest.FixtureRequest) -> bytes:
    return bare_ntfs(request.param)


def _entries(volume: NtfsVolume) -> dict[tuple[str, ...], Entry]:
    found: dict[tuple[str, ...], Entry] = {}
    for each in volume.scan():
        assert not isinstance(each, DamagedRecord), each
        assert each.path not in found
        found[each.path] = each
    return found


def _digest(size: int, read: Callable[[int, int], bytes], *, without_tails: bool = False) -> str:
    digest = hashlib.sha256()
    for offset in range(0, size, _STEP_BYTES):
        part = read(offset, min(_STEP_BYTES, size - offset))
        digest.update(_without_tails(part) if without_tails else part)
    return digest.hexdigest()


def _without_tails(data: bytes) -> bytes:
    """libfsntfs translates x86 calls in the last ten bytes of LZX chunks too; [MS-PATCH] 2.2.2 does not."""
    chunks = (data[at : at + _LZX_CHUNK] for at in range(0, len(data), _LZX_CHUNK))
    return b"".join(chunk[:-10] + bytes(min(10, len(chunk))) for chunk in chunks)


def _own_digest(volume: NtfsVolume, ref: StreamRef, *, without_tails: bool = False) -> str:
    def read(offset: int, length: int) -> bytes:
        buffer = bytearray(b"\xee" * length)
        volume.read_into(ref, offset, memoryview(buffer))
        return bytes(buffer)

    return _digest(ref.size, read, without_tails=without_tails)


def _their_streams(entry: pyfsntfs.file_entry) -> dict[str, object]:
    """The unnamed stream is the entry itself, which reads as a file object of its own."""
    streams: dict[str, object] = {"": entry} if entry.has_default_data_stream() else {}
    streams.update((stream.name, stream) for stream in entry.alternate_data_streams)
    return streams


def _their_extents(stream: object) -> list[tuple[int | None, int]]:
    count = stream.get_number_of_extents()  # type: ignore[attr-defined]
    extents = (stream.get_extent(index) for index in range(count))  # type: ignore[attr-defined]
    return [(None if flags & 1 else offset, size) for offset, size, flags in extents]


def _canonical(name: str) -> str:
    """libfsntfs gives names with lone surrogates in a form that equals no other text."""
    return name.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _their_entries(data: bytes) -> Iterator[tuple[tuple[str, ...], pyfsntfs.file_entry]]:
    volume = pyfsntfs.volume()
    volume.open_file_object(io.BytesIO(data))
    waiting = [((), volume.get_root_directory())]
    while waiting:
        path, entry = waiting.pop()
        yield path, entry
        for index in range(entry.number_of_sub_file_entries):
            # A file packed in a way that it does not know is one that libfsntfs does not even list.
            with suppress(OSError):
                child = entry.get_sub_file_entry(index)
                waiting.append(((*path, _canonical(child.name)), child))


def test_names_streams_extents_and_bytes_equal_those_of_libfsntfs(image: bytes) -> None:
    volume = NtfsVolume.open(BytesSource(image))
    own = _entries(volume)
    seen = set()
    for path, theirs in _their_entries(image):
        mine = own[path]
        seen.add(path)
        streams = _their_streams(theirs)
        assert mine.record | mine.sequence << 48 == theirs.file_reference
        if any(ref.kind is StreamKind.WOF for ref in mine.streams):
            # libfsntfs unpacks such a file as well, and still shows what it is packed in.
            del streams["WofCompressedData"]
        assert [ref.name for ref in mine.streams] == sorted(streams)
        assert mine.attributes == theirs.file_attribute_flags, path
        assert mine.is_directory == theirs.has_directory_entries_index(), path
        assert (mine.created, mine.modified, mine.changed, mine.accessed) == (
            theirs.get_creation_time_as_integer(),
            theirs.get_modification_time_as_integer(),
            theirs.get_entry_modification_time_as_integer(),
            theirs.get_access_time_as_integer(),
        )
        for ref in mine.streams:
            stream = streams[ref.name]
            assert ref.size == stream.size, (path, ref.name)
            # Of a WOF file that cannot be unpacked, libfsntfs shows where the packed stream lies.
            if ref.unsupported is None or mine.reparse_tag != _WOF:
                assert list(ref.extents) == _their_extents(stream), (path, ref.name)
            if ref.unsupported is not None:
                # Only what by libfsntfs' account too is encrypted, or a reparse point.
                assert theirs.file_attribute_flags & (_ENCRYPTED | _REPARSE_POINT), (path, ref.unsupported)
            else:
                if 0 < ref.packed_bytes < _SMALLEST_PACKED:
                    continue
                tails = ref.kind is StreamKind.WOF and ref.unit_bytes == _LZX_CHUNK
                assert _own_digest(volume, ref, without_tails=tails) == _digest(
                    ref.size,
                    lambda at, n, stream=stream: stream.read_buffer_at_offset(n, at),
                    without_tails=tails,
                ), (path, ref.name)
    assert len(seen) > 20
    assert seen <= set(own)
    hidden = [own[path] for path in set(own) - seen]
    assert all(each.reparse_tag == _WOF and each.streams[0].unsupported for each in hidden)


def test_every_name_that_a_scan_gives_is_found_by_its_path(image: bytes) -> None:
    volume = NtfsVolume.open(BytesSource(image))
    for path, entry in _entries(volume).items():
        if any("\\" in name for name in path):
            continue  # No path with backslashes can name such a file.
        assert volume.find("\\" + "\\".join(path)) == entry
        swapped = "\\".join(path).translate(_SWAP_ASCII_CASE)
        similar = volume.find(swapped)
        assert similar is not None
        assert [name.lower() for name in similar.path] == [name.lower() for name in path]
        assert volume.find("\\".join((*path, "no such name"))) is None


_SWAP_ASCII_CASE = {ord(ch): ch.swapcase() for ch in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def test_stream_references_survive_json_and_read_the_same(image: bytes) -> None:
    volume = NtfsVolume.open(BytesSource(image))
    for entry in _entries(volume).values():
        for ref in entry.streams:
            assert StreamRef.from_json(json.loads(json.dumps(ref.to_json()))) == ref


def test_any_range_of_a_stream_equals_that_part_of_the_whole(image: bytes) -> None:
    volume = NtfsVolume.open(BytesSource(image))
    streams = [
        ref
        for entry in _entries(volume).values()
        for ref in entry.streams
        if 0 < ref.size < 2**22 and not ref.unsupported
    ]
    for ref in streams:
        whole = bytearray(ref.size)
        volume.read_into(ref, 0, memoryview(whole))
        for start, end in ((1, 2), (ref.size // 3, ref.size // 2 + 1), (ref.size - 1, ref.size)):
            part = bytearray(b"\xee" * (min(end, ref.size) - min(start, ref.size)))
            volume.read_into(ref, min(start, ref.size), memoryview(part))
            assert part == whole[start:end], (entry_name(ref), start, end)


def entry_name(ref: StreamRef) -> str:
    return f"record {ref.record} stream {ref.name!r}"


@pytest.mark.skipif(
    not MADE_BY_WINDOWS.is_dir(), reason="the disks made by Windows are not beside the checkout"
)
@pytest.mark.parametrize("name", ["ntfs-2m", "ntfs-lastaccess", "ntfs-si-vs-fn"])
def test_files_made_by_windows_have_the_listed_hashes(name: str) -> None:
    listing = MADE_BY_WINDOWS / f"{name}.files.sha256"
    image = listing.with_name(listing.name.replace(".files.sha256", ".raw.xz"))
    volume = NtfsVolume.open(BytesSource(volume_bytes(image)))
    lines = listing.read_text().splitlines()
    assert lines
    for line in lines:
        expected, _, listed = line.partition("  ")
        path, _, stream = listed.partition(":")
        entry = volume.find(path.replace("/", "\\"))
        assert entry is not None, listed
        (ref,) = (ref for ref in entry.streams if ref.name == stream)
        assert _own_digest(volume, ref) == expected, listed


def _listed_fixtures() -> list[Path]:
    """Lists of fixtures that are bare NTFS; each line: digest, size in bytes, blob path or path:stream."""
    lists = sorted(IMAGES.glob("*.sha256"))
    return [path for path in lists if path.with_suffix(".img.xz").exists()]


@pytest.mark.parametrize("listing", _listed_fixtures(), ids=lambda path: path.name)
def test_fixtures_hold_the_files_that_were_put_there(listing: Path) -> None:
    volume = NtfsVolume.open(BytesSource(bare_ntfs(listing.with_suffix(".img.xz"))))
    entries = _entries(volume)
    lines = listing.read_text("utf-8", "surrogatepass").splitlines()
    assert lines
    for line in lines:
        expected, size, name = line.split("  ", 2)
        path, _, stream = name.partition(":")
        refs = [ref for ref in entries[decode(path)].streams if ref.name == stream]
        assert [ref.size for ref in refs] == [int(size)], name
        if refs[0].unsupported is None:
            assert _own_digest(volume, refs[0]) == expected, name
