"""Runlists and the sizes that go with them, those of $MFT too."""

from __future__ import annotations

from tests.fuzz.anatomy import Place, Record, Run
from tests.fuzz.dice import Dice
from tests.fuzz.maker import parts
from tests.fuzz.mutators import Layer, mutator
from tests.fuzz.mutators.records import put
from tests.fuzz.scene import Scene

_SIZES = ((16, 8), (24, 8), (32, 2), (34, 2), (40, 8), (48, 8), (56, 8))
"""First and last VCN, place of the runlist, compression unit, allocated, size, valid size."""

_NOISE = (b"\x88" + b"\xff" * 7 + b"\x7f" * 9, b"\x18" + b"\xff" * 9, b"\x11\x01\x01" * 400, b"\x00")


def _pick_mapped(scene: Scene, dice: Dice) -> tuple[int, Record, Place | None]:
    numbers = scene.structures.having(lambda each: each.is_mapped)
    number = 0 if dice.chance(15) else dice.pick(numbers)
    record = scene.structures.record(number)
    places = [each for each in record.attributes() if each.is_mapped and each.length >= 64]
    return number, record, dice.pick(places) if places else None


def _replace_runs(record: Record, place: Place, packed: bytes) -> None:
    """Cut to the room there is, which ends with the attribute."""
    room = place.end - place.head
    record.write(place.head, packed[:room].ljust(room, b"\0"))


@mutator(Layer.NTFS, 9)
def mapped_sizes(scene: Scene, dice: Dice) -> str:
    """Sizes, VCNs, unit and place of the runlist."""
    number, record, place = _pick_mapped(scene, dice)
    if place is None:
        return f"record {number}: nothing mapped"
    said = []
    for _ in range(dice.pick((1, 1, 2, 3))):
        at, width = dice.pick(_SIZES)
        value = dice.integer(width, int.from_bytes(record[place.at + at : place.at + at + width], "little"))
        record.set(place.at + at, width, value)
        said.append(f"byte {at} is {value:#x}")
    put(scene, dice, number, record)
    return f"record {number}: mapped attribute {place.type:#x}: " + ", ".join(said)


@mutator(Layer.NTFS, 6)
def huge_stream(scene: Scene, dice: Dice) -> str:
    """A stream of a size that no drive holds, mapped by holes that add up to it, or by nothing."""
    number, record, place = _pick_mapped(scene, dice)
    if place is None:
        return f"record {number}: nothing mapped"
    clusters = 1 << dice.between(20, 62)
    if dice.chance(30):
        clusters -= 1
    size = clusters * scene.structures.cluster_size - dice.below(5000)
    record.set(place.at + 24, 8, clusters - 1)
    for at in (40, 48, 56):
        record.set(place.at + at, 8, dice.pick((size, size, size, dice.integer(8, size))))
    if dice.chance(80):
        _replace_runs(record, place, parts.one_run(clusters, None) + b"\0")
    if dice.chance(70):
        record.set(place.at + 12, 2, dice.pick((0x8000, 0x0001, 0x8001)))
    put(scene, dice, number, record)
    return f"record {number}: a stream of {size} bytes"


@mutator(Layer.NTFS, 9)
def runs_changed(scene: Scene, dice: Dice) -> str:
    """One run is longer, shorter, elsewhere, a hole, doubled or gone; the count is made right or not."""
    number, record, place = _pick_mapped(scene, dice)
    if place is None:
        return f"record {number}: nothing mapped"
    runs = scene.structures.runs(record, place) or [(1, 1)]
    for _ in range(dice.pick((1, 1, 2))):
        _change_run(runs, scene, dice)
    if dice.chance(70):
        clusters = sum(length for _, length in runs)
        record.set(place.at + 24, 8, record.u64(place.at + 16) + clusters - 1)
    _replace_runs(record, place, _packed(runs))
    put(scene, dice, number, record)
    return f"record {number}: runs of {place.type:#x} are {str(runs)[:80]}"


def _change_run(runs: list[Run], scene: Scene, dice: Dice) -> None:
    index = dice.below(len(runs))
    cluster, length = runs[index]
    count = scene.structures.cluster_count
    which = dice.below(6)
    if which == 0:
        runs[index] = cluster, dice.integer(dice.pick((1, 2, 8)), length)
    elif which == 1:
        runs[index] = dice.pick((0, count - 1, count, count - length, -1, 1 << 40, dice.below(count))), length
    elif which == 2:
        runs[index] = (None if cluster is not None else dice.below(count)), length
    elif which == 3:
        runs[index:index] = [runs[index]] * dice.pick((1, 1, 5, 60))
    elif which == 4 and len(runs) > 1:
        del runs[index]
    else:
        runs[index] = dice.pick(runs)


def _packed(runs: list[Run]) -> bytes:
    out, last = b"", 0
    for cluster, length in runs:
        out += parts.one_run(length % (1 << 63), None if cluster is None else cluster - last)
        last = last if cluster is None else cluster
    return out + b"\0"


@mutator(Layer.NTFS, 5)
def run_bytes(scene: Scene, dice: Dice) -> str:
    """A runlist of noise, of one byte repeated, or without an end."""
    number, record, place = _pick_mapped(scene, dice)
    if place is None:
        return f"record {number}: nothing mapped"
    room = place.end - place.head
    noise = dice.pick((dice.take(room), *_NOISE, b"\x11\x01\x00" * room, b"\x01\x01" * room, b"\xff" * room))
    cut = dice.below(room) if dice.chance(40) and room else 0
    record.write(place.head + cut, noise[: max(0, room - cut)])
    if dice.chance(50):
        record.set(place.at + 24, 8, dice.integer(8, record.u64(place.at + 24)))
    put(scene, dice, number, record)
    return f"record {number}: runlist of {place.type:#x} is noise from byte {cut}"


@mutator(Layer.NTFS, 5)
def table_of_another_size(scene: Scene, dice: Dice) -> str:
    """$MFT's own data is longer, shorter, has holes or lies over itself many times."""
    structures = scene.structures
    record = structures.record(0)
    place = next((each for each in record.attributes() if each.type == parts.DATA and each.is_mapped), None)
    if place is None:
        return "$MFT has no data left"
    runs = structures.runs(record, place) or [(4, 1)]
    which = dice.below(4)
    if which == 0:
        runs.append((dice.below(structures.cluster_count), dice.between(1, 64)))
    elif which == 1:
        runs.append((None, dice.integer(dice.pick((1, 2, 4, 7)), 64) or 1))
    elif which == 2:
        runs = [runs[0]] * dice.pick((2, 5, 9))
    else:
        runs = [(runs[0][0], max(1, runs[0][1] // dice.pick((2, 8, 64))))]
    clusters = sum(length for _, length in runs)
    size = clusters * structures.cluster_size
    if dice.chance(80):
        record.set(place.at + 24, 8, clusters - 1)
        for at in (40, 48, 56):
            record.set(place.at + at, 8, size if dice.chance(90) else dice.integer(8, size))
    _replace_runs(record, place, _packed(runs))
    structures.put(0, record, is_mirrored=dice.chance(80))
    return f"$MFT has {size} bytes in {len(runs)} runs"


@mutator(Layer.NTFS, 3)
def compression_unit(scene: Scene, dice: Dice) -> str:
    """Any mapped stream says that it is compressed, in units of any size."""
    number, record, place = _pick_mapped(scene, dice)
    if place is None:
        return f"record {number}: nothing mapped"
    unit = dice.pick((0, 1, 2, 3, 4, 4, 4, 5, 8, 9, 63, 64, 255))
    record.set(place.at + 12, 2, dice.pick((1, 1, 0x8001, 2, 0xFF)))
    record.set(place.at + 34, 2, unit)
    put(scene, dice, number, record)
    return f"record {number}: {place.type:#x} is compressed in units of 2^{unit} clusters"
