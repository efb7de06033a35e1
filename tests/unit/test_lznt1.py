"""LZNT1 against damage: real units, mutated thousands of times."""

from __future__ import annotations

import random
from functools import lru_cache

import pytest

from agent.errors import NtfsDamaged
from agent.volume.block import BytesSource
from agent.volume.ntfs import NtfsVolume, StreamKind
from agent.volume.ntfs.lznt1 import decompress
from fixtures.images import base_image

_UNIT = 65536


@lru_cache
def _units() -> list[tuple[bytes, bytes]]:
    """Units that ntfs-3g packed: their clusters, and what is in them."""
    image = base_image("nasty")
    volume = NtfsVolume.open(BytesSource(image.volume))
    found = []
    for path in image.facts["compressed"]:
        entry = volume.find(path.replace("/", "\\"))
        assert entry is not None
        (ref,) = entry.streams
        if ref.kind is not StreamKind.COMPRESSED:
            continue
        whole = bytearray(ref.size)
        volume.read_into(ref, 0, memoryview(whole))
        start = 0
        for (offset, length), (hole, _) in zip(ref.extents, ref.extents[1:], strict=False):
            if offset is not None and length < _UNIT and hole is None:
                unit = whole[start - start % _UNIT :][:_UNIT]
                found.append((image.volume[offset : offset + length], bytes(unit)))
            start += length
    return found


def test_real_units_unpack_to_what_was_written() -> None:
    assert len(_units()) >= 5
    for packed, unit in _units():
        assert decompress(packed, _UNIT)[: len(unit)] == unit


@pytest.mark.parametrize("seed", range(8))
def test_mutated_units_give_damage_or_exactly_their_size(seed: int) -> None:
    chance = random.Random(seed)
    outcomes = {"damage": 0, "bytes": 0}
    for _ in range(250):
        packed, _ = chance.choice(_units())
        mutated = bytearray(packed)
        for _ in range(chance.randrange(1, 6)):
            mutated[chance.randrange(len(mutated))] = chance.choice([0, 255, chance.randrange(256)])
        if chance.random() < 0.3:
            del mutated[chance.randrange(len(mutated)) :]
        try:
            unpacked = decompress(mutated, _UNIT)
        except NtfsDamaged:
            outcomes["damage"] += 1
        else:
            assert len(unpacked) == _UNIT
            outcomes["bytes"] += 1
    assert all(outcomes.values()), outcomes


def test_a_chunk_as_long_as_any_that_overflows_before_its_last_reference_is_damage() -> None:
    """A byte repeated 4095 times, thousands of literals, and only then a reference too many."""
    body = b"\x02a\xfc\x0f" + b"litera"
    body += b"\x00literals" * ((4096 - len(body) - 3) // 9)
    body += b"\x01\xff\xff"
    assert 4080 < len(body) <= 4096
    with pytest.raises(NtfsDamaged, match="LZNT1 back reference"):
        decompress((len(body) - 1 | 0xB000).to_bytes(2, "little") + body, _UNIT)
    with pytest.raises(NtfsDamaged, match="more than 4096 bytes"):
        decompress((len(body) - 4 | 0xB000).to_bytes(2, "little") + body[:-3], _UNIT)
