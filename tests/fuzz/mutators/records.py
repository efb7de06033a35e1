"""MFT records: headers, attribute headers, names and values, with fix-ups that match again."""

from __future__ import annotations

from tests.fuzz.anatomy import Place, Record
from tests.fuzz.dice import Dice
from tests.fuzz.maker import parts
from tests.fuzz.mutators import Layer, mutator
from tests.fuzz.scene import Scene

_HEADER = ((4, 2), (6, 2), (16, 2), (18, 2), (20, 2), (22, 2), (24, 4), (28, 4), (32, 8), (40, 2))
_COMMON = ((0, 4), (4, 4), (8, 1), (9, 1), (10, 2), (12, 2), (14, 2))
_RESIDENT = ((16, 4), (20, 2))
_TYPES = (0x10, 0x20, 0x30, 0x60, 0x70, 0x80, 0x90, 0xA0, 0xB0, 0xC0, 0x100, 0xFFFFFFFF, 0)


def pick_record(scene: Scene, dice: Dice) -> int:
    """A record in use; those that everything hangs on come more often."""
    if dice.chance(25):
        return dice.pick((0, 0, 0, 1, 3, 5, 5, 6, 10, 11))
    return dice.pick(scene.structures.in_use)


def pick_attribute(scene: Scene, dice: Dice) -> tuple[int, Record, Place | None]:
    """A record and one of its attributes, if it has any left."""
    number = pick_record(scene, dice)
    record = scene.structures.record(number)
    places = record.attributes()
    return number, record, dice.pick(places) if places else None


def put(scene: Scene, dice: Dice, number: int, record: Record) -> None:
    """Back to the table, and mostly to the mirror."""
    scene.structures.put(number, record, is_mirrored=dice.chance(70))


@mutator(Layer.NTFS, 6)
def record_header(scene: Scene, dice: Dice) -> str:
    """Sequence, links, first attribute, flags, used size, base record, update sequence."""
    number = pick_record(scene, dice)
    record = scene.structures.record(number)
    at, width = dice.pick(_HEADER)
    value = dice.integer(width, int.from_bytes(record[at : at + width], "little"))
    if at == 22:
        value = dice.pick((0, 1, 2, 3, 4, 8, value))
    if at == 32:
        other = dice.pick(scene.structures.in_use)
        value = dice.pick((parts.reference(number), parts.reference(other), parts.reference(other, 2), value))
    record.set(at, width, value)
    put(scene, dice, number, record)
    return f"record {number}: header byte {at} is {value:#x}"


@mutator(Layer.NTFS, 10)
def attribute_header(scene: Scene, dice: Dice) -> str:
    """Type, length, form, name, flags, id; of a resident one length and place of the value."""
    number, record, place = pick_attribute(scene, dice)
    if place is None:
        return f"record {number}: no attribute"
    at, width = dice.pick(_COMMON if place.is_mapped else (*_COMMON, *_RESIDENT, *_RESIDENT))
    value = dice.integer(width, int.from_bytes(record[place.at + at : place.at + at + width], "little"))
    if at == 0:
        value = dice.pick((*_TYPES, value))
    if at == 12:
        value = dice.pick((0x0001, 0x4000, 0x8000, 0x8001, 0x00FF, 0x0002, value))
    record.set(place.at + at, width, value)
    put(scene, dice, number, record)
    return f"record {number}: attribute {place.type:#x} byte {at} is {value:#x}"


@mutator(Layer.NTFS, 8)
def attribute_value(scene: Scene, dice: Dice) -> str:
    """Numbers within a resident value."""
    number, record, place = pick_attribute(scene, dice)
    if place is None or place.is_mapped or place.value_end <= place.head:
        return f"record {number}: no value"
    said = []
    for _ in range(dice.pick((1, 1, 2, 4))):
        width = dice.pick((1, 2, 4, 8))
        at = place.head + dice.below(place.value_end - place.head)
        at -= (at - place.head) % width
        value = dice.integer(width, int.from_bytes(record[at : at + width], "little"))
        record.set(at, width, value)
        said.append(f"byte {at - place.head} is {value:#x}")
    put(scene, dice, number, record)
    return f"record {number}: value of {place.type:#x}: " + ", ".join(said)


@mutator(Layer.NTFS, 6)
def file_name(scene: Scene, dice: Dice) -> str:
    """Parent (cycles, itself, files, nothing), length, namespace, characters."""
    number = dice.pick(scene.structures.having(lambda each: each.type == parts.FILE_NAME))
    record = scene.structures.record(number)
    places = [each for each in record.attributes() if each.type == parts.FILE_NAME and not each.is_mapped]
    if not places:
        return f"record {number}: no name left"
    place = dice.pick(places)
    which = dice.below(4)
    if which == 0:
        other = dice.pick(scene.structures.in_use)
        references = (parts.reference(number), parts.reference(other), parts.reference(other, 7), other)
        record.set(place.head, 8, dice.pick((*references, dice.integer(8, 5))))
    elif which == 1:
        record.set(place.head + 64, 1, dice.integer(1, record[place.head + 64]))
    elif which == 2:
        record.set(place.head + 65, 1, dice.pick((0, 1, 2, 3, 4, 255)))
    else:
        letters = dice.pick(
            (b"/\0", b"\\\0", b"\0\0", b"\x0a\0", b"\x3d\xd8", b"\xa9\xdc", b":\0", b".\0", b"\xff\xff")
        )
        room = max(0, place.value_end - place.head - 66)
        record.write(place.head + 66, letters * dice.between(0, room // 2))
    put(scene, dice, number, record)
    return f"record {number}: name changed ({('parent', 'length', 'namespace', 'letters')[which]})"


@mutator(Layer.NTFS, 3)
def directories_in_a_circle(scene: Scene, dice: Dice) -> str:
    """Every directory's parent is another directory, at random or in one ring."""
    structures = scene.structures
    numbers = [number for number in structures.in_use if structures.record(number)[22] & 2 and number != 5]
    if len(numbers) < 2:
        return "no directories"
    is_ring = dice.chance(50)
    for index, number in enumerate(numbers):
        parent = numbers[(index + 1) % len(numbers)] if is_ring else dice.pick(numbers)
        record = structures.record(number)
        for place in record.attributes():
            if place.type == parts.FILE_NAME:
                record.set(place.head, 8, parts.reference(parent))
        structures.put(number, record)
    return f"{len(numbers)} directories in {'a ring' if is_ring else 'circles'}"


@mutator(Layer.NTFS, 5)
def attributes_moved(scene: Scene, dice: Dice) -> str:
    """An attribute is dropped, doubled, or taken from another record."""
    number, record, place = pick_attribute(scene, dice)
    other_number, other, taken = pick_attribute(scene, dice)
    if place is None or taken is None:
        return f"record {number}: no attribute"
    which = dice.below(3)
    held = bytes(record[place.at : place.end])
    rest = bytes(record[place.end :])
    if which == 0:
        record.write(place.at, rest.ljust(len(record) - place.at, b"\0"))
        record.set(24, 4, record.u32(24) - place.length)
    else:
        new = held if which == 1 else bytes(other[taken.at : taken.end])
        record.write(place.at, new + held + rest)
        record.set(24, 4, min(len(record), record.u32(24) + len(new)))
    put(scene, dice, number, record)
    what = ("dropped", "doubled", f"preceded by {taken.type:#x} of record {other_number}")[which]
    return f"record {number}: attribute {place.type:#x} is {what}"


@mutator(Layer.NTFS, 5)
def records_spliced(scene: Scene, dice: Dice) -> str:
    """A record, or a part of it, in the place of another one."""
    source, target = pick_record(scene, dice), pick_record(scene, dice)
    record, held = scene.structures.record(source), scene.structures.record(target)
    if dice.chance(40):
        cut = dice.below(len(held) // 8) * 8
        record = Record(held[:cut] + record[cut:])
    put(scene, dice, target, record)
    return f"record {source} over record {target}"


@mutator(Layer.NTFS, 3)
def record_bytes(scene: Scene, dice: Dice) -> str:
    """Any bytes of one record."""
    number = pick_record(scene, dice)
    record = scene.structures.record(number)
    for _ in range(dice.between(1, 6)):
        at = dice.below(min(len(record), record.u32(24) + 8) or 1)
        record.write(at, dice.take(dice.between(1, 4)))
    put(scene, dice, number, record)
    return f"record {number}: bytes changed"


@mutator(Layer.NTFS, 1)
def record_torn(scene: Scene, dice: Dice) -> str:
    """Fix-ups that do not match, another signature, or nothing at all."""
    number = pick_record(scene, dice)
    at = scene.structures.offset(number)
    which = dice.below(3)
    if which == 0:
        scene.ntfs.put(at + 510, dice.take(2))
    elif which == 1:
        scene.ntfs.put(at, dice.pick((b"BAAD", b"CHKD", b"INDX", bytes(4))))
    else:
        scene.ntfs.put(at, bytes(scene.structures.record_size))
    return f"record {number} is {('torn', 'signed otherwise', 'zeros')[which]}"
