"""What is packed: LZNT1 units, WOF streams, and reparse buffers that say which they are."""

from __future__ import annotations

import struct

from tests.fuzz.anatomy import Place, Record
from tests.fuzz.bases import Base
from tests.fuzz.dice import Dice
from tests.fuzz.maker import parts
from tests.fuzz.mutators import Layer, mutator
from tests.fuzz.mutators.records import put
from tests.fuzz.scene import Scene

_TAGS = (
    0xA000000C,
    0xA0000003,
    0xA000001D,
    0x80000017,
    0x80000013,
    0x9000101A,
    0x9000001C,
    0xC0000004,
    0x80000007,
)
_WOF_STREAM = "WofCompressedData"


def _has_units(base: Base) -> bool:
    return base.name not in ("big-clusters", "sector4k")


def has_wof(base: Base) -> bool:
    """Whether there are packed files of every format."""
    return base.name not in ("nasty", "sector4k")


def _extents(scene: Scene, record: Record, place: Place) -> list[tuple[int, int]]:
    """(byte, length) of what is stored of a mapped attribute."""
    size = scene.structures.cluster_size
    return [
        (cluster * size, length * size)
        for cluster, length in scene.structures.runs(record, place)
        if cluster is not None and 0 <= cluster < scene.structures.cluster_count and length < 1 << 20
    ]


def _is_compressed(place: Place) -> bool:
    """The header of a compressed stream has a field more."""
    is_long = place.is_mapped and place.head - place.at >= 72
    return is_long and place.type == parts.DATA and not place.name


def is_wof(place: Place) -> bool:
    """Whether an attribute is the packed stream of such a file."""
    return place.type == parts.DATA and place.name == _WOF_STREAM


@mutator(Layer.NTFS, 8, _has_units)
def lznt1_bytes(scene: Scene, dice: Dice) -> str:
    """Chunk headers, flag bytes and tokens of compression units."""
    number = dice.pick(scene.structures.having(_is_compressed))
    record = scene.structures.record(number)
    place = next((each for each in record.attributes() if each.type == parts.DATA and each.is_mapped), None)
    stored = _extents(scene, record, place) if place else []
    if not stored:
        return f"record {number}: nothing stored"
    start, length = dice.pick(stored)
    which = dice.below(4)
    for _ in range(dice.between(1, 4)):
        if which == 0:
            scene.ntfs.put_number(start, 2, dice.integer(2, scene.ntfs.number(start, 2)))
        elif which == 1:
            scene.ntfs.put(start + 2 + dice.below(min(length, 600)), dice.take(dice.between(1, 3)))
        elif which == 2:
            scene.ntfs.put(start + dice.below(min(length, 3000)), b"\xff" * dice.pick((1, 8, 200)))
        else:
            chunk = struct.pack("<H", 0xB000 | 0xFFF) + dice.pick(
                (bytes(4096), b"\xff" * 4096, b"\x02a\x00\x00" * 1024)
            )
            scene.ntfs.put(start, chunk[: dice.between(3, 4098)])
    return f"record {number}: LZNT1 bytes at {start} changed ({('header', 'tokens', 'ones', 'chunk')[which]})"


@mutator(Layer.NTFS, 12, has_wof)
def wof_bytes(scene: Scene, dice: Dice) -> str:
    """The table of chunks, Huffman tables, block headers, symbols."""
    number = dice.pick(scene.structures.having(is_wof))
    record = scene.structures.record(number)
    place = next((each for each in record.attributes() if each.name == _WOF_STREAM), None)
    if place is None:
        return f"record {number}: no packed stream"
    which = dice.below(5)
    if not place.is_mapped:
        room = max(1, place.value_end - place.head)
        for _ in range(dice.between(1, 4)):
            record.write(place.head + dice.below(room), dice.take(dice.between(1, 3)))
        put(scene, dice, number, record)
        return f"record {number}: bytes of a resident WOF stream changed"
    stored = _extents(scene, record, place)
    if not stored:
        return f"record {number}: nothing stored"
    start, length = stored[0]
    for _ in range(dice.between(1, 4)):
        if which == 0:
            at = start + 4 * dice.below(6)
            scene.ntfs.put_number(at, 4, dice.integer(4, scene.ntfs.number(at, 4)))
        elif which == 1:
            scene.ntfs.put(start + 8 + dice.below(min(length, 280)), dice.take(dice.between(1, 2)))
        elif which == 2:
            scene.ntfs.put(start + 8 + dice.below(8), dice.take(dice.between(1, 4)))
        elif which == 3:
            scene.ntfs.put(start + 8 + dice.below(length), dice.take(dice.between(1, 4)))
        else:
            fill = dice.pick((0x00, 0xFF, 0x11, 0x88, 0xF1, 0x1F))
            scene.ntfs.put(start + 8 + dice.below(300), bytes([fill]) * dice.pick((16, 128, 256, 400)))
    what = ("table", "lengths", "header", "any", "fill")[which]
    return f"record {number}: WOF bytes at {start} changed ({what})"


@mutator(Layer.NTFS, 6, has_wof)
def wof_sizes(scene: Scene, dice: Dice) -> str:
    """The size of the packed stream or of the file it unpacks to."""
    number = dice.pick(scene.structures.having(is_wof))
    record = scene.structures.record(number)
    places = [each for each in record.attributes() if each.type == parts.DATA]
    if not places:
        return f"record {number}: no stream"
    place = dice.pick(places)
    at, width = (place.at + dice.pick((48, 48, 56)), 8) if place.is_mapped else (place.at + 16, 4)
    was = int.from_bytes(record[at : at + width], "little")
    value = dice.pick((dice.integer(width, was), was + dice.between(-5000, 5000))) % (1 << 8 * width)
    record.set(at, width, value)
    if not place.name and place.is_mapped and dice.chance(50):
        clusters = -(-value // scene.structures.cluster_size) or 1
        record.set(place.at + 24, 8, clusters - 1)
        record.write(place.head, parts.one_run(clusters % (1 << 62), None) + b"\0")
    put(scene, dice, number, record)
    return f"record {number}: {place.name or 'the file'} has {value} bytes"


@mutator(Layer.NTFS, 7, lambda base: base.name != "sector4k")
def reparse_buffer(scene: Scene, dice: Dice) -> str:
    """Tag, length, offsets and lengths of names, provider and format."""
    number = dice.pick(scene.structures.having(lambda each: each.type == parts.REPARSE_POINT))
    record = scene.structures.record(number)
    place = next((each for each in record.attributes() if each.type == parts.REPARSE_POINT), None)
    if place is None or place.is_mapped:
        return f"record {number}: no reparse point"
    which = dice.below(4)
    if which == 0:
        value = dice.pick((*_TAGS, dice.integer(4, record.u32(place.head))))
        record.set(place.head, 4, value)
    elif which == 1:
        at, width = dice.pick(((4, 2), (8, 2), (10, 2), (12, 2), (14, 2), (8, 4), (12, 4), (16, 4), (20, 4)))
        value = dice.integer(
            width, int.from_bytes(record[place.head + at : place.head + at + width], "little")
        )
        record.set(place.head + at, width, value)
    elif which == 2:
        value = dice.below(place.value_length + 1)
        record.set(place.at + 16, 4, value)
    else:
        value = dice.pick((0, 1, 2, 3, 4, 5, 0xFFFFFFFF))
        record.set(place.head + 20, 4, value)
    put(scene, dice, number, record)
    return f"record {number}: reparse point {('tag', 'field', 'length', 'format')[which]} is {value:#x}"
