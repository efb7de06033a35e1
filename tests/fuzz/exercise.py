"""The whole way of a drive, and what must hold on it whatever the bytes say.

Partition table, BitLocker, NTFS; every entry of a scan; some paths looked up; both ends and the edges
of every stream read twice; every stream reference through JSON; the read plan over what can be read. An
``IngestError`` with a line for the technician may come out anywhere. All else is a finding.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from agent.errors import DriveError, IngestError
from agent.model.keys import Credential
from agent.volume.bitlocker import is_bitlocker, read_metadata
from agent.volume.ntfs import DamagedRecord, Entry, NtfsVolume, StreamKind, StreamRef
from agent.volume.opening import OpenedVolume, check_copies, open_volume
from agent.volume.partitions import first_data_volume
from tests.fuzz.broken import Broken
from tests.fuzz.checked import CheckedDrive
from tests.fuzz.plans import check_plan

MAX_LINE = 2000
"""Characters of an error's detail or of a reason: a name, or three copies' trouble, and not a dump."""

PIECE_BYTES = 70_000
"""Read at each end of a stream: more than a compression unit, so that two of them are met."""

STREAM_BYTES_BUDGET = 8 << 20
"""Read of one image's streams in all, so that hostile sizes cost the fuzzer no more than sound ones."""

SMALL_BYTES = 700
MAX_EXTENTS_BACK = 50_000
MAX_PATHS = 25
_PACKED = (StreamKind.COMPRESSED, StreamKind.WOF)
SCAN_FACTOR, SCAN_EXTRA_BYTES = 4, 16 << 20
"""Opening and a scan may read that many times the drive, and some fixed part (windows, small drives)."""


@dataclass
class Trail:
    """How far an image went. ``errors`` are the classes of the clean errors met, by stage."""

    stage: str = "partition table"
    entries: int = 0
    damaged: int = 0
    streams_read: int = 0
    scan_bytes: int = 0
    errors: dict[str, int] = field(default_factory=dict)

    def note(self, error: IngestError) -> None:
        """Count a clean error, once its line has been looked at."""
        _check_line(error.detail, type(error).__name__)
        if not isinstance(error, DriveError):
            raise Broken(f"{type(error).__name__} is no error of a drive: {error.detail}")
        key = f"{self.stage}: {type(error).__name__}"
        self.errors[key] = self.errors.get(key, 0) + 1


def exercise(drive: CheckedDrive, credential: Credential | None, trail: Trail) -> None:
    """Raises Broken, or whatever else the reader let out that it should not have."""
    try:
        opened = _open(drive, credential, trail)
    except IngestError as error:
        trail.note(error)
        return
    volume = opened.ntfs
    trail.stage = "state"
    _ = volume.is_hibernated, volume.is_log_open, volume.state
    entries = _scan(volume, drive, trail)
    _find(volume, entries, trail)
    _read_streams(volume, entries, trail)
    trail.stage = "plan"
    check_plan(volume, opened.source, [ref for entry in entries for ref in entry.streams])


def _open(drive: CheckedDrive, credential: Credential | None, trail: Trail) -> OpenedVolume:
    chosen = first_data_volume(drive)
    _check_line(chosen.why, "the choice of a volume")
    trail.stage = "open"
    opened = open_volume(drive, credential, allow_unencrypted=True)
    if is_bitlocker(chosen.source):
        metadata = read_metadata(chosen.source)
        for problem in check_copies(chosen.source, metadata):
            _check_line(problem or "none", "a metadata copy")
    drive.confine(chosen.source.start, chosen.source.size_bytes)
    if opened.ntfs.size_bytes > drive.size_bytes:
        raise Broken(f"a volume of {opened.ntfs.size_bytes} bytes on a drive of {drive.size_bytes}")
    return opened


def _scan(volume: NtfsVolume, drive: CheckedDrive, trail: Trail) -> list[Entry]:
    trail.stage = "scan"
    entries: list[Entry] = []
    try:
        for found in volume.scan():
            if isinstance(found, DamagedRecord):
                trail.damaged += 1
                _check_damaged(found)
                continue
            trail.entries += 1
            _check_entry(found, volume)
            if len(entries) < 2000:
                entries.append(found)
    except IngestError as error:
        trail.note(error)
    trail.scan_bytes = drive.bytes_read
    allowed = SCAN_FACTOR * drive.size_bytes + SCAN_EXTRA_BYTES
    if drive.bytes_read > allowed:
        raise Broken(
            f"opening and scanning a drive of {drive.size_bytes} bytes read {drive.bytes_read} bytes "
            f"in {drive.reads} reads; at most {allowed} are allowed"
        )
    return entries


def _check_damaged(found: DamagedRecord) -> None:
    _check_line(found.why, f"damaged record {found.number}")
    if found.number < 0 or not found.why:
        raise Broken(f"a damaged record of number {found.number} with the reason {found.why!r}")


def _check_entry(entry: Entry, volume: NtfsVolume) -> None:
    if any(not name or len(name) > 255 for name in entry.path) or entry.record < 0:
        raise Broken(f"record {entry.record} has the path {entry.path!r}")
    if [stream.name for stream in entry.streams] != sorted({stream.name for stream in entry.streams}):
        raise Broken(f"the streams of record {entry.record} are not in order, each once")
    for ref in entry.streams:
        _check_ref(ref, volume.size_bytes)


def _check_ref(ref: StreamRef, volume_bytes: int) -> None:
    as_json = ref.to_json()
    # The other end of a million extents is another process's memory.
    if len(ref.extents) < MAX_EXTENTS_BACK and StreamRef.from_json(json.loads(json.dumps(as_json))) != ref:
        raise Broken(f"a stream of record {ref.record} is another one after JSON")
    if ref.unsupported is not None:
        _check_line(ref.unsupported, f"a stream of record {ref.record}")
        return
    for offset, length in ref.extents:
        if offset is not None and offset + length > volume_bytes:
            raise Broken(f"record {ref.record}: an extent {offset}+{length} lies outside of the volume")
    if not 0 <= ref.first_offset < volume_bytes:
        raise Broken(f"record {ref.record}: its first byte is at {ref.first_offset}")


def _find(volume: NtfsVolume, entries: list[Entry], trail: Trail) -> None:
    trail.stage = "find"
    step = max(1, len(entries) // MAX_PATHS)
    # Who looks up a file of a million pieces does not hold it already.
    paths = ["\\".join(entry.path) for entry in entries[::step] if _extents_of(entry) < MAX_EXTENTS_BACK]
    for path in [*paths, "", "no such file", "MANY\\FILE 31.TXT", "level 0\\level 1\\nothing", "x\\" * 2000]:
        try:
            found = volume.find(path)
        except IngestError as error:
            trail.note(error)
            continue
        if found is not None:
            _check_entry(found, volume)


def _extents_of(entry: Entry) -> int:
    return sum(len(ref.extents) for ref in entry.streams)


def _read_streams(volume: NtfsVolume, entries: list[Entry], trail: Trail) -> None:
    trail.stage = "read"
    left = STREAM_BYTES_BUDGET
    for entry in entries:
        for ref in entry.streams:
            for start, length in _pieces(ref, volume.cluster_size):
                if left <= 0:
                    return
                left -= 2 * length
                try:
                    _read_twice(volume, ref, start, length)
                except IngestError as error:
                    trail.note(error)
            trail.streams_read += 1


def _pieces(ref: StreamRef, cluster_size: int) -> Iterator[tuple[int, int]]:
    """Both ends, and what lies round the end of the valid bytes."""
    length = min(ref.size, PIECE_BYTES)
    yield 0, length
    if ref.size > length:
        yield ref.size - length, length
    around = min(ref.valid_size, ref.size - 1) - 100
    if length < around < ref.size - length:
        yield around, 200


def _read_twice(volume: NtfsVolume, ref: StreamRef, start: int, length: int) -> None:
    """At once, and in pieces into other memory: the same bytes, all of them written.

    Small streams are mostly resident and many, and are read once; of packed ones, which are dear, only a
    part is read again.
    """
    whole = memoryview(bytearray(b"\xa5" * length))
    volume.read_into(ref, start, whole)
    if length < SMALL_BYTES:
        return
    cut = length * 3 // 7
    end = min(cut + SMALL_BYTES, length) if ref.kind in _PACKED else length
    begin = cut if ref.kind in _PACKED else 0
    pieces = memoryview(bytearray(b"\x5a" * length))
    volume.read_into(ref, start + begin, pieces[begin:cut])
    volume.read_into(ref, start + cut, pieces[cut:end])
    if whole[begin:end] != pieces[begin:end]:
        raise Broken(
            f"record {ref.record}: bytes {start}..{start + length} of {ref.name!r} are not always the same"
        )


def _check_line(text: str, what: str) -> None:
    if not text or len(text) > MAX_LINE:
        raise Broken(f"{what} is told in {len(text)} characters: {text[:100]!r}")
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise Broken(f"{what} is not told in one line: {text[:200]!r}")
