"""GPT, MBR and chains of logical drives."""

from __future__ import annotations

import struct
import zlib

from tests.fuzz.dice import Dice
from tests.fuzz.mutators import Layer, mutator
from tests.fuzz.scene import Scene

_HEADER = (
    (0, 8),
    (8, 4),
    (12, 4),
    (16, 4),
    (24, 8),
    (32, 8),
    (40, 8),
    (48, 8),
    (72, 8),
    (80, 4),
    (84, 4),
    (88, 4),
)
"""Offset and width: signature to check sum of the entries."""
_ENTRY = ((0, 8), (32, 8), (40, 8), (48, 8), (56, 8))


def _has_gpt(name: str) -> bool:
    return name.startswith("gpt")


@mutator(Layer.TABLE, 8, lambda base: _has_gpt(base.name))
def gpt_header_field(scene: Scene, dice: Dice) -> str:
    """In one copy or both, with the header's check sum made right more often than not."""
    at, width = dice.pick(_HEADER)
    is_fixed = dice.chance(80)
    value: int | None = None
    copies = dice.pick(((0,), (1,), (0, 1), (0, 1)))
    for copy in copies:
        place = _header_place(scene, copy)
        if value is None:
            value = dice.integer(width, scene.disk.number(place + at, width))
        scene.disk.put_number(place + at, width, value)
        if is_fixed:
            _fix_header(scene, copy)
    return (
        f"GPT header byte {at} of copies {copies} is {value:#x}, check sum {'right' if is_fixed else 'wrong'}"
    )


@mutator(Layer.TABLE, 8, lambda base: _has_gpt(base.name))
def gpt_entry_field(scene: Scene, dice: Dice) -> str:
    """In one copy or both, with both check sums made right more often than not."""
    number, (at, width) = dice.pick((0, 1, 1, 1, 2)), dice.pick(_ENTRY)
    is_fixed = dice.chance(85)
    copies = dice.pick(((0,), (0, 1), (0, 1)))
    value: int | None = None
    for copy in copies:
        place = _table_place(scene, copy) + 128 * number + at
        if value is None:
            value = dice.integer(width, scene.disk.number(place, width))
        scene.disk.put_number(place, width, value)
        if is_fixed:
            _fix_entries(scene, copy)
    return f"GPT entry {number} byte {at} of copies {copies} is {value:#x}"


@mutator(Layer.TABLE, 3, lambda base: _has_gpt(base.name))
def gpt_many_entries(scene: Scene, dice: Dice) -> str:
    """All 128 entries are data partitions, at places of all sorts."""
    data = scene.disk.get(_table_place(scene, 0) + 128, 128)
    for number in range(128):
        entry = bytearray(data)
        first = dice.integer(8, 4096)
        struct.pack_into(
            "<QQ", entry, 32, first, first + dice.integer(4) % (1 << 63) if first < 1 << 62 else first
        )
        if dice.chance(30):
            entry[56:128] = dice.take(72)
        for copy in (0, 1):
            scene.disk.put(_table_place(scene, copy) + 128 * number, bytes(entry))
    for copy in (0, 1):
        _fix_entries(scene, copy)
    return "GPT with 128 data partitions"


def _header_place(scene: Scene, copy: int) -> int:
    size = scene.base.sector_size
    return size if copy == 0 else len(scene.base.disk) - size


def _table_place(scene: Scene, copy: int) -> int:
    size = scene.base.sector_size
    return 2 * size if copy == 0 else len(scene.base.disk) - size - 16384


def _fix_entries(scene: Scene, copy: int) -> None:
    table = scene.disk.get(_table_place(scene, copy), 16384)
    scene.disk.put_number(_header_place(scene, copy) + 88, 4, zlib.crc32(table))
    _fix_header(scene, copy)


def _fix_header(scene: Scene, copy: int) -> None:
    place = _header_place(scene, copy)
    size = scene.disk.number(place + 12, 4)
    if size > scene.base.sector_size:
        size = 92
    scene.disk.put_number(place + 16, 4, 0)
    scene.disk.put_number(place + 16, 4, zlib.crc32(scene.disk.get(place, size)))


@mutator(Layer.TABLE, 6)
def mbr_field(scene: Scene, dice: Dice) -> str:
    """Of one of the four entries, or the signature."""
    entry = dice.below(4)
    at, width = dice.pick(((0, 1), (4, 1), (4, 1), (8, 4), (8, 4), (12, 4), (12, 4)))
    place = 446 + 16 * entry + at
    if dice.chance(8):
        place, width = 510, 2
    value = dice.integer(width, scene.disk.number(place, width))
    if (at, width) == (4, 1) and dice.chance(70):
        value = dice.pick((0x05, 0x0F, 0x85, 0xEE, 0x07, 0x0C, 0x27, 0x42, 0xEF, 0))
    scene.disk.put_number(place, width, value)
    return f"MBR byte {place} is {value:#x}"


@mutator(Layer.TABLE, 2)
def mbr_made_of_anything(scene: Scene, dice: Dice) -> str:
    """Four entries of interesting numbers behind a first sector that says nothing else."""
    for entry in range(4):
        kind = dice.pick((0x07, 0x05, 0x0F, 0xEE, 0x0B, dice.below(256)))
        first, count = dice.integer(4, 2048), dice.integer(4, 4096)
        row = struct.pack("<B3sB3sII", dice.pick((0, 0x80)), b"", kind, b"", first, count)
        scene.disk.put(446 + 16 * entry, row)
    scene.disk.put(0, bytes(16))
    scene.disk.put(510, b"\x55\xaa")
    return "MBR of four wild entries"


@mutator(Layer.TABLE, 12, lambda base: base.name == "logical")
def logical_drive_field(scene: Scene, dice: Dice) -> str:
    """A drive or a link of the chain."""
    size = scene.base.sector_size
    record = dice.below(4)
    at, width = dice.pick(((4, 1), (8, 4), (8, 4), (12, 4)))
    place = (64 + 32 * record) * size + 446 + 16 * dice.pick((0, 1, 1)) + at
    value = dice.integer(width, scene.disk.number(place, width))
    scene.disk.put_number(place, width, value)
    return f"boot record {record} of the chain: byte {place} is {value:#x}"


@mutator(Layer.TABLE, 6, lambda base: base.name == "logical")
def logical_drives_loop(scene: Scene, dice: Dice) -> str:
    """A link leads back, to itself, or on over hundreds of records."""
    size = scene.base.sector_size
    kind = dice.below(3)
    if kind < 2:
        source = dice.below(4)
        target = source if kind == 0 else dice.below(4)
        scene.disk.put(
            (64 + 32 * source) * size + 462, struct.pack("<B3sB3sII", 0, b"", 5, b"", 32 * target, 8)
        )
        return f"boot record {source} of the chain leads to {target}"
    for step in range(300):
        sector = bytearray(512)
        struct.pack_into(
            "<B3sB3sII", sector, 446, 0, b"", dice.pick((0x83, 0x07)), b"", 1, dice.integer(4, 8)
        )
        struct.pack_into("<B3sB3sII", sector, 462, 0, b"", 5, b"", step + 1, 8)
        sector[510:] = b"\x55\xaa"
        scene.disk.put((64 + step) * size, bytes(sector))
    return "a chain of 300 logical drives"
