"""Attribute lists: resident ones, mapped ones, and ones that were not there before."""

from __future__ import annotations

from tests.fuzz.anatomy import Place, Record
from tests.fuzz.dice import Dice
from tests.fuzz.maker import parts
from tests.fuzz.mutators import Layer, mutator
from tests.fuzz.mutators.records import put
from tests.fuzz.scene import Scene

_ENTRY = ((0, 4), (4, 2), (6, 1), (7, 1), (8, 8), (16, 8), (16, 6), (22, 2), (24, 2))
MAX_LIST_BYTES = 256 * 1024


class _List:
    """A list's bytes, wherever they lie."""

    def __init__(self, scene: Scene, number: int, record: Record, place: Place) -> None:
        self._scene, self._number, self._record, self._place = scene, number, record, place
        self.runs = scene.structures.runs(record, place) if place.is_mapped else []
        if place.is_mapped:
            cluster = self.runs[0][0] if self.runs else None
            self.at = (cluster or 0) * scene.structures.cluster_size
            size = min(record.u64(place.at + 48), scene.structures.cluster_size)
            self.data = bytearray(scene.ntfs.get(self.at, size))
        else:
            self.data = bytearray(record[place.head : place.value_end])

    def save(self, dice: Dice) -> None:
        if self._place.is_mapped:
            self._scene.ntfs.put(self.at, bytes(self.data))
        else:
            self._record.write(self._place.head, bytes(self.data[: self._place.value_end - self._place.head]))
        put(self._scene, dice, self._number, self._record)

    def entries(self) -> list[int]:
        found, at = [], 0
        while at + 26 <= len(self.data):
            length = int.from_bytes(self.data[at + 4 : at + 6], "little")
            if length < 26:
                break
            found.append(at)
            at += length
        return found


def _pick_list(scene: Scene, dice: Dice) -> tuple[int, _List | None]:
    numbers = scene.structures.having(lambda each: each.type == parts.ATTRIBUTE_LIST)
    if not numbers:
        return -1, None
    number = dice.pick(numbers)
    record = scene.structures.record(number)
    place = next((each for each in record.attributes() if each.type == parts.ATTRIBUTE_LIST), None)
    return number, _List(scene, number, record, place) if place else None


@mutator(Layer.NTFS, 8)
def list_entry_field(scene: Scene, dice: Dice) -> str:
    """Type, length, name, first VCN, record, sequence, id of a line; other records, itself, free ones."""
    number, held = _pick_list(scene, dice)
    entries = held.entries() if held else []
    if held is None or not entries:
        return "no attribute list"
    said = []
    for _ in range(dice.pick((1, 1, 2, 3))):
        entry = dice.pick(entries)
        at, width = dice.pick(_ENTRY)
        value = dice.integer(width, int.from_bytes(held.data[entry + at : entry + at + width], "little"))
        if at == 16 and dice.chance(70):
            other = dice.pick((number, 0, 5, dice.pick(scene.structures.in_use)))
            value, width = parts.reference(other, dice.pick((1, 1, 0, 2))), 8
        held.data[entry + at : entry + at + width] = value.to_bytes(width, "little")
        said.append(f"byte {entry + at} is {value:#x}")
    held.save(dice)
    return f"record {number}: attribute list: " + ", ".join(said)


@mutator(Layer.NTFS, 4)
def list_entries_moved(scene: Scene, dice: Dice) -> str:
    """Lines in another order, twice, or one over all."""
    number, held = _pick_list(scene, dice)
    entries = held.entries() if held else []
    if held is None or len(entries) < 2:
        return "no attribute list"
    bounds = list(zip(entries, [*entries[1:], len(held.data)], strict=True))
    lines = [bytes(held.data[low:high]) for low, high in bounds]
    which = dice.below(3)
    if which == 0:
        one, other = dice.below(len(lines)), dice.below(len(lines))
        lines[one], lines[other] = lines[other], lines[one]
    elif which == 1:
        lines.insert(dice.below(len(lines)), dice.pick(lines))
    else:
        lines = [dice.pick(lines)] * len(lines)
    size = len(held.data)
    held.data = bytearray(b"".join(lines)[:size].ljust(size, b"\0"))
    held.save(dice)
    return f"record {number}: lines of its attribute list are {('swapped', 'doubled', 'all one')[which]}"


@mutator(Layer.NTFS, 5)
def list_of_thousands(scene: Scene, dice: Dice) -> str:
    """A mapped list of as many lines as fit, over clusters that are used many times if need be."""
    structures = scene.structures
    numbers = structures.having(lambda each: each.type == parts.ATTRIBUTE_LIST and each.is_mapped)
    if not numbers:
        return "no mapped attribute list"
    number = dice.pick(numbers)
    record = structures.record(number)
    place = next((each for each in record.attributes() if each.type == parts.ATTRIBUTE_LIST), None)
    if place is None or not place.is_mapped:
        return "no mapped attribute list"
    size = dice.pick((MAX_LIST_BYTES, MAX_LIST_BYTES, MAX_LIST_BYTES + 1, MAX_LIST_BYTES // 2, 40_000))
    _fill_list(scene, dice, number)
    cluster, repeats = _at_end(scene), -(-size // _FILL_BYTES)
    runs = parts.run_list([(cluster, _FILL_BYTES // structures.cluster_size or 1)] * repeats)
    room = place.end - place.head
    clusters = repeats * (_FILL_BYTES // structures.cluster_size or 1)
    if len(runs) > room:
        clusters = _FILL_BYTES // structures.cluster_size or 1
        runs, size = parts.run_list([(cluster, clusters)]), _FILL_BYTES
    record.write(place.head, runs.ljust(room, b"\0"))
    record.set(place.at + 24, 8, clusters - 1)
    for at, value in ((40, clusters * structures.cluster_size), (48, size), (56, size)):
        record.set(place.at + at, 8, value)
    put(scene, dice, number, record)
    return f"record {number}: an attribute list of {size} bytes"


_FILL_BYTES = 65536


def _at_end(scene: Scene) -> int:
    """A cluster that the base leaves free, with room behind it."""
    structures = scene.structures
    return structures.cluster_count - 2 * (_FILL_BYTES // structures.cluster_size + 1)


def _fill_list(scene: Scene, dice: Dice, number: int) -> None:
    """Lines of 32 bytes; all to one record, to every record, or each to nothing."""
    which = dice.below(4)
    in_use = scene.structures.in_use
    holder = dice.pick(in_use)
    lines = b""
    for index in range(_FILL_BYTES // 32):
        target = (holder, in_use[index % len(in_use)], number, index * 7919)[which]
        vcn = dice.pick((0, index)) if which else index
        lines += parts.list_entry(
            parts.DATA, vcn, parts.reference(target), index % 65536 if which == 2 else 0
        )
    scene.ntfs.put(_at_end(scene) * scene.structures.cluster_size, lines)


@mutator(Layer.NTFS, 4)
def list_where_there_was_none(scene: Scene, dice: Dice) -> str:
    """A file's last attribute becomes a list of its own attributes, of others', or of itself."""
    structures = scene.structures
    number = dice.pick(structures.in_use)
    record = structures.record(number)
    places = record.attributes()
    if not places:
        return f"record {number}: no attribute"
    lines = b""
    for each in places[: dice.between(1, len(places))]:
        holder = dice.pick((number, number, dice.pick(structures.in_use)))
        lines += parts.list_entry(each.type, 0, parts.reference(holder), each.attribute_id, each.name[:20])
    if dice.chance(30):
        lines += parts.list_entry(parts.ATTRIBUTE_LIST, 0, parts.reference(number), 99)
    attribute = parts.resident(parts.ATTRIBUTE_LIST, lines)
    at = places[1].at if len(places) > 1 else places[0].at
    rest = bytes(record[at:])
    record.write(at, attribute + rest)
    record.set(24, 4, min(len(record), record.u32(24) + len(attribute)))
    put(scene, dice, number, record)
    return f"record {number}: a list of {len(lines)} bytes that was not there"
