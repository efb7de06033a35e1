"""Directory indexes: root, blocks, entries, children."""

from __future__ import annotations

from tests.fuzz.anatomy import Record
from tests.fuzz.dice import Dice
from tests.fuzz.maker import parts
from tests.fuzz.mutators import Layer, mutator
from tests.fuzz.mutators.records import put
from tests.fuzz.scene import Scene

_ROOT = ((0, 4), (4, 4), (8, 4), (12, 1), (16, 4), (20, 4), (24, 4), (28, 1))
_BLOCK = ((4, 2), (6, 2), (8, 8), (16, 8), (24, 4), (28, 4), (32, 4), (36, 1))
_ENTRY = ((0, 8), (0, 6), (6, 2), (8, 2), (10, 2), (12, 2), (16, 8), (80, 1), (81, 1))


def _entries(node: Record, header: int, end: int) -> list[int]:
    """Where the entries of the node begin whose header is at ``header``."""
    at = header + node.u32(header)
    stop = min(header + node.u32(header + 4), end)
    found = []
    while at + 16 <= stop:
        length = node.u16(at + 8)
        if length < 16 or at + length > stop:
            break
        found.append(at)
        at += length
    return found


def _change_entry(node: Record, entry: int, dice: Dice) -> str:
    """A field, or the child's VCN."""
    length = node.u16(entry + 8)
    if node.u16(entry + 12) & 1 and dice.chance(50):
        at, width = length - 8, 8
        value = dice.pick((0, 0, 1, 2, 3, 8, 16, dice.integer(8, node.u64(entry + at))))
    elif dice.chance(15):
        node.set(entry + 12, 2, node.u16(entry + 12) | 1)
        at, width, value = length - 8, 8, dice.below(12)
    else:
        at, width = dice.pick(_ENTRY)
        value = dice.integer(width, int.from_bytes(node[entry + at : entry + at + width], "little"))
    node.set(entry + at, width, value)
    return f"entry at {entry}, byte {at} is {value:#x}"


@mutator(Layer.NTFS, 6)
def index_root(scene: Scene, dice: Dice) -> str:
    """Header, or an entry."""
    number = (
        5
        if dice.chance(40)
        else dice.pick(scene.structures.having(lambda each: each.type == parts.INDEX_ROOT))
    )
    record = scene.structures.record(number)
    place = next((each for each in record.attributes() if each.type == parts.INDEX_ROOT), None)
    if place is None:
        return f"record {number}: no index root"
    entries = _entries(record, place.head + 16, place.end)
    if entries and dice.chance(60):
        said = _change_entry(record, dice.pick(entries), dice)
    else:
        at, width = dice.pick(_ROOT)
        value = dice.integer(
            width, int.from_bytes(record[place.head + at : place.head + at + width], "little")
        )
        record.set(place.head + at, width, value)
        said = f"byte {at} is {value:#x}"
    put(scene, dice, number, record)
    return f"record {number}: index root: {said}"


@mutator(Layer.NTFS, 8)
def index_block(scene: Scene, dice: Dice) -> str:
    """Header, or some entries."""
    blocks = scene.structures.blocks
    if not blocks:
        return "no index block"
    offset = dice.pick(blocks)
    block = scene.structures.block(offset)
    said = []
    for _ in range(dice.pick((1, 1, 2, 4))):
        entries = _entries(block, 24, len(block))
        if entries and dice.chance(70):
            said.append(_change_entry(block, dice.pick(entries), dice))
        else:
            at, width = dice.pick(_BLOCK)
            value = dice.integer(width, int.from_bytes(block[at : at + width], "little"))
            block.set(at, width, value)
            said.append(f"byte {at} is {value:#x}")
    scene.structures.put_block(offset, block)
    return f"index block at {offset}: " + ", ".join(said)


@mutator(Layer.NTFS, 4)
def index_children_loop(scene: Scene, dice: Dice) -> str:
    """Every entry of every block has one child: its own block, the first one, or any."""
    blocks = scene.structures.blocks
    which = dice.below(3)
    for offset in blocks:
        block = scene.structures.block(offset)
        own = block.u64(16)
        for entry in _entries(block, 24, len(block)):
            length = block.u16(entry + 8)
            if block.u16(entry + 12) & 1 or length >= 24 + 66:
                block.set(entry + 12, 2, block.u16(entry + 12) | 1)
                block.set(entry + length - 8, 8, (own, 0, dice.below(len(blocks)))[which])
        scene.structures.put_block(offset, block)
    return f"all of {len(blocks)} index blocks lead to {('themselves', 'the first', 'any')[which]}"


@mutator(Layer.NTFS, 3)
def index_blocks_spliced(scene: Scene, dice: Dice) -> str:
    """One block in the place of another, its own VCN told rightly or not."""
    blocks = scene.structures.blocks
    if not blocks:
        return "no index block"
    source, target = dice.pick(blocks), dice.pick(blocks)
    block = scene.structures.block(source)
    if dice.chance(70):
        block.set(16, 8, scene.structures.block(target).u64(16))
    scene.structures.put_block(target, block)
    return f"index block at {source} over the one at {target}"


@mutator(Layer.NTFS, 2)
def upper_case_table(scene: Scene, dice: Dice) -> str:
    """$UpCase is shorter, or maps letters to others."""
    record = scene.structures.record(10)
    place = next((each for each in record.attributes() if each.type == parts.DATA and each.is_mapped), None)
    if place is None:
        return "no $UpCase"
    if dice.chance(40):
        value = dice.integer(8, 131072)
        record.set(place.at + 48, 8, value)
        put(scene, dice, 10, record)
        return f"$UpCase has {value} bytes"
    runs = scene.structures.runs(record, place)
    start = (runs[0][0] or 0) * scene.structures.cluster_size if runs else 0
    scene.ntfs.put(start + 2 * dice.below(300), dice.take(200))
    return "$UpCase maps letters to others"
