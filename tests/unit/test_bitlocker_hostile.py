"""Metadata made to mislead: whatever it says, only errors of the tree, and no read outside the volume.

Mutations with a right check sum get past the first look; sealed ones, whose maker knows the volume's own
key, also past the proof, and reach everything behind it.
"""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

import pytest

from agent.errors import BitLockerFailed, BitLockerKeyInvalid, DriveError, IngestError
from agent.model.keys import ClearKey, StartupKey
from agent.volume.bitlocker import check_boot_sector_not_lost, read_metadata, unlock
from agent.volume.block import BlockSource, BytesSource, read
from tests.unit.bitlocker_cases import (
    BLOCK_BYTES,
    COPIES,
    MOVED_HEADER,
    Case,
    bek_file,
    entry,
    forged,
    protector,
    raw_of,
    seal,
    with_copies,
    wrapped,
)

CASE = Case(tail_bytes=5000)
IMAGE = bytes(CASE.build())
EXPECTED = CASE.expected()
BLOCK = CASE.block()
RAW = raw_of(BLOCK)
PLACES = (0, 512, 8192, *COPIES, MOVED_HEADER, CASE.size_bytes, len(IMAGE), 1 << 32, 1 << 63, (1 << 64) - 512)
FIELDS = ((8, "H"), (10, "H"), (12, "H"), (14, "H"), (16, "Q"), (28, "I"), (32, "Q"), (40, "Q"), (48, "Q"),
          (56, "Q"), (64, "I"), (68, "I"), (72, "I"), (100, "H"))  # fmt: skip


class Watched:
    """Fails the test when a read outside the volume gets as far as the source."""

    def __init__(self, data: bytes) -> None:
        self._inner = BytesSource(data)
        self.size_bytes, self.sector_size = len(data), 512

    def read_into(self, offset: int, buffer: memoryview) -> None:
        assert 0 <= offset <= offset + len(buffer) <= self.size_bytes
        self._inner.read_into(offset, buffer)


def read_all(source: BlockSource) -> str:
    """What became of the volume: ``right``, ``otherwise``, or the line of an error of the tree."""
    try:
        volume = unlock(source, read_metadata(source), ClearKey())
        found = read(volume, 0, volume.size_bytes)
        assert found[7:100_007] == read(volume, 7, 100_000)
    except IngestError as error:
        return error.line()
    assert len(found) == source.size_bytes
    return "right" if found == EXPECTED else "otherwise"


def any_bytes(rng: random.Random, raw: bytearray) -> None:
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(12, len(raw))
        raw[at] = rng.choice((0, 0xFF, rng.randrange(256), raw[at] ^ 1 << rng.randrange(8)))


def any_field(rng: random.Random, raw: bytearray) -> None:
    at, kind = rng.choice(FIELDS)
    bits = 8 * struct.calcsize(kind)
    near = rng.choice(PLACES) + rng.choice((0, 0, 1, 512, -512, 4096))
    small = rng.choice((0, 1, 2, 4, 5, 16, 47, 48, 111, 4095, 65535))
    struct.pack_into("<" + kind, raw, at, rng.choice((near, small, rng.getrandbits(bits))) % (1 << bits))


def any_entry(rng: random.Random, raw: bytearray) -> None:
    """Another size, role or type for one of the entries, wherever it stands."""
    places, at = [], 112
    while at + 8 <= len(raw) and (size := int.from_bytes(raw[at : at + 2], "little")) >= 8:
        places.append(at)
        at += size
    at = rng.choice(places or [112]) + rng.choice((0, 0, 2, 4))
    struct.pack_into("<H", raw, at, rng.choice((0, 1, 7, 8, 9, 28, 35, 36, 0x0F, 0xFFFF, rng.randrange(512))))


CHANGES: tuple[Callable[[random.Random, bytearray], None], ...] = (any_bytes, any_field, any_entry)
SEALS: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "sealed": lambda rng, raw: seal(raw, rng, CASE.vmk),
    "forged": lambda rng, raw: forged(BLOCK, 0, raw),
    "damaged": lambda rng, raw: (raw + BLOCK[len(raw) :])[:BLOCK_BYTES],
}


def mutated(rng: random.Random, sealing: Callable[[random.Random, bytes], bytes]) -> bytes:
    """All copies alike, or each with changes of its own, or one left as it was; and the boot sector."""
    blocks: list[bytes | None] = []
    for _ in range(3):
        raw = bytearray(RAW)
        for change in rng.sample(CHANGES, rng.randint(1, 2)):
            change(rng, raw)
        blocks.append(sealing(rng, bytes(raw)))
    if rng.random() < 0.4:
        blocks = [blocks[0]] * 3
    elif rng.random() < 0.4:
        blocks[rng.randrange(3)] = None
    image = bytearray(with_copies(IMAGE, *blocks))
    if rng.random() < 0.2:
        image[rng.randrange(512)] ^= 1 << rng.randrange(8)
    if rng.random() < 0.2:
        struct.pack_into("<Q", image, rng.choice((176, 184, 192)), rng.choice(PLACES))
    return bytes(image)


@pytest.mark.parametrize("sealing", SEALS)
def test_damaged_metadata_raises_only_errors_of_the_tree(sealing: str) -> None:
    rng = random.Random(f"{sealing} 1")
    said = Counter(read_all(Watched(mutated(rng, SEALS[sealing]))) for _ in range(300))
    assert 20 < said["right"] < 280
    assert said["otherwise"] == 0 or sealing == "sealed"
    assert len(said) > 15
    assert not [line for line in said if "\n" in line or len(line) > 1500]


def test_regions_that_lie_on_one_another_or_outside_are_read_or_refused_cleanly() -> None:
    """Sealed, so that they are believed: moved start, copies and end of encryption in any order."""
    rng = random.Random(3)
    said: Counter[str] = Counter()
    for _ in range(300):
        raw = bytearray(RAW)
        places = [rng.choice(PLACES) + rng.choice((0, 512, -512, 65024)) for _ in range(5)]
        copies = rng.choice((COPIES, tuple(place % (1 << 64) for place in places[:3])))
        struct.pack_into("<Q", raw, 16, rng.choice((CASE.size_bytes, places[3] % (1 << 64))))
        struct.pack_into("<I", raw, 28, rng.choice((0, 1, 16, 1280, 4096, 0xFFFFFFFF)))
        struct.pack_into("<4Q", raw, 32, *copies, rng.choice((MOVED_HEADER, places[4] % (1 << 64))))
        image = bytearray(IMAGE)
        struct.pack_into("<3Q", image, 176, *copies)
        block = seal(bytes(raw), rng, CASE.vmk)
        for copy in copies:
            if copy + BLOCK_BYTES <= len(image):
                image[copy : copy + BLOCK_BYTES] = block
        said[read_all(Watched(bytes(image)))] += 1
    read_somehow = said["right"] + said["otherwise"]
    assert 20 < read_somehow < 200


def test_mutated_boot_sectors_raise_only_errors_of_the_tree() -> None:
    rng = random.Random(4)
    said: Counter[str] = Counter()
    for number in range(600):
        image = bytearray(IMAGE)
        places = [*range(14), *range(160, 200), *range(424, 466)]
        for _ in range(rng.randint(1, 3)):
            image[rng.choice(places)] = rng.choice((0, 0xFF, rng.randrange(256)))
        if number % 3 == 0:
            image[3:11] = b"MSWIN4.1"
            image[424:464] = IMAGE[160:200]
        said[read_all(Watched(bytes(image)))] += 1
    assert len(said) > 10
    assert said["right"] > 50
    assert said["otherwise"] == 0


def nested(depth: int, inner: bytes) -> bytes:
    for _ in range(depth):
        inner = entry(2, 8, struct.pack("<16sQHH", UUID(int=depth).bytes_le, 0, 0, 0) + inner)
    return inner


def test_entries_nested_a_thousand_deep_are_one_entry() -> None:
    volume = Case(extra_protectors=nested(1000, b""))
    source = Watched(bytes(volume.build()))
    assert len(read_metadata(source).protectors) == 3
    assert read(unlock(source, read_metadata(source), ClearKey()), 0, 8192) == volume.plain[:8192]


SHORT = [
    protector(0, UUID(int=1)),
    protector(0, UUID(int=1), entry(0, 1, bytes(4))),
    protector(0, UUID(int=1), entry(0, 1, bytes(36))),
    protector(0, UUID(int=1), entry(0, 1, bytes(36)), entry(0, 5, b"")),
    protector(0, UUID(int=1), entry(0, 1, bytes(36)), entry(0, 5, bytes(28))),
    protector(0, UUID(int=1), entry(0, 1, bytes(36)), entry(0, 5, bytes(300))),
    entry(2, 8, bytes(27)),
    entry(2, 8, bytes(28) + b"\x09"),
    entry(2, 8, bytes(28) + struct.pack("<HHHH", 7, 0, 1, 1)),
    entry(2, 8, bytes(28) + struct.pack("<HHHH", 0xFFFF, 0, 1, 1)),
]


@pytest.mark.parametrize("malformed", SHORT, ids=range(len(SHORT)))
def test_a_malformed_protector_is_an_error_of_the_drive(malformed: bytes) -> None:
    case = Case(clear_key=False, extra_protectors=malformed)
    source = Watched(bytes(case.build()))
    with pytest.raises(DriveError):
        unlock(source, read_metadata(source), ClearKey())


@pytest.mark.parametrize("length", [0, 1, 11, 12, 15, 16, 17, 31, 33, 65])
def test_keys_of_odd_lengths_are_refused_wherever_they_lie(length: int) -> None:
    rng, key = random.Random(length), random.Random(1).randbytes(32)
    as_master = protector(0x0200, UUID(int=2), wrapped(rng, key, rng.randbytes(length), 0x2003))
    source = Watched(bytes(Case(startup_key=False, extra_protectors=as_master).build()))
    with pytest.raises(DriveError):
        unlock(source, read_metadata(source), StartupKey.from_bytes(bek_file(key)))
    case = Case()
    case.fvek = rng.randbytes(length)
    source = Watched(with_copies(IMAGE, *[case.block()] * 3))
    if length < 32:
        with pytest.raises(BitLockerFailed):
            unlock(source, read_metadata(source), ClearKey())


def test_startup_key_files_of_any_bytes_are_invalid_keys_or_open_nothing() -> None:
    rng, whole = random.Random(6), bek_file(CASE.startup)
    source = Watched(IMAGE)
    metadata = read_metadata(source)
    opened = 0
    for _ in range(300):
        data = bytearray(whole[: rng.choice((len(whole), rng.randrange(len(whole))))])
        for _ in range(rng.randint(0, 3) if data else 0):
            data[rng.randrange(len(data))] = rng.choice((0, 0xFF, rng.randrange(256)))
        with suppress(BitLockerKeyInvalid):
            unlock(source, metadata, StartupKey.from_bytes(bytes(data)))
            opened += 1
    assert 10 < opened < 200


def test_the_search_for_lost_metadata_survives_any_volume() -> None:
    rng = random.Random(7)
    found = 0
    for _ in range(100):
        image = bytes(512) + mutated(rng, SEALS[rng.choice(list(SEALS))])[512:]
        try:
            check_boot_sector_not_lost(Watched(image))
        except BitLockerFailed as error:
            found += "first sector is damaged" in error.detail
    assert 20 < found < 100
