"""Packed chunks of WOF made up anew: sound Huffman tables, and chance behind them.

A single wrong code length spoils a whole table; these have tables that hold, so that what is decoded
with them is reached: long matches, far ones, every kind of LZX block.
"""

from __future__ import annotations

from tests.fuzz.anatomy import Place, Record
from tests.fuzz.dice import Dice
from tests.fuzz.maker import parts
from tests.fuzz.maker.packers import Bits, canonical
from tests.fuzz.mutators import Layer, mutator
from tests.fuzz.mutators.packed import has_wof, is_wof
from tests.fuzz.scene import Scene

_LITERALS = range(256)
_NEAR = range(256, 256 + 4 * 8)
"""LZX main symbols of the three last distances and of distance 1."""

_LZX_SYMBOLS, _LZX_LENGTHS = 256 + 30 * 8, 249


def complete_lengths(dice: Dice, symbols: list[int], count: int, longest: int) -> list[int]:
    """Code lengths for ``count`` symbols of which just ``symbols`` (distinct) are used, and every code is."""
    depths = [0]
    while len(depths) < len(symbols):
        at = dice.below(len(depths))
        if depths[at] >= longest - 1 and min(depths) < longest - 1:
            at = depths.index(min(depths))
        depths[at] += 1
        depths.append(depths[at])
    lengths = [0] * count
    for symbol, depth in zip(symbols, depths, strict=True):
        lengths[symbol] = depth
    return lengths


def _some(dice: Dice, symbols: range, count: int) -> list[int]:
    """That many of the symbols, each once."""
    left = list(symbols)
    return [left.pop(dice.below(len(left))) for _ in range(min(count, len(left)))]


def xpress_chunk(dice: Dice, length: int) -> bytes:
    """A table of 512 lengths, then chance."""
    symbols = _some(dice, _LITERALS, dice.between(1, 200))
    matches = dice.pick((0, 1, 8, 60))
    if matches:
        symbols += _some(dice, dice.pick((range(256, 288), range(256, 512), range(271, 512, 16))), matches)
    if len(symbols) < 2:
        symbols = [0, 1]
    lengths = complete_lengths(dice, symbols, 512, 15)
    table = bytes(lengths[at] | lengths[at + 1] << 4 for at in range(0, 512, 2))
    return table + dice.take(max(0, length - 256))


def lzx_chunk(dice: Dice, length: int) -> bytes:
    """One to three blocks of any kind, then chance."""
    bits = Bits()
    main, tail = [0] * _LZX_SYMBOLS, [0] * _LZX_LENGTHS
    for _ in range(dice.between(1, 3)):
        kind = dice.pick((1, 1, 2, 2, 2, 3, 3, dice.below(8)))
        bits.put(kind, 3)
        is_whole = dice.chance(50)
        bits.put(is_whole, 1)
        if not is_whole:
            bits.put(dice.pick((0, 1, 20, 500, 32768, 65535)), 16)
        if kind == 3:
            packed = bits.words()
            return packed + dice.take(12) + (b"\xe8" + dice.take(6)) * (length // 7)
        if kind == 2:
            for each in dice.pick(((3,) * 8, (1, 2, 3, 4, 5, 6, 7, 7), (0,) * 8, tuple(dice.take(8)))):
                bits.put(each % 8, 3)
        symbols = [0xE8, *_some(dice, _LITERALS, dice.between(2, 200))]
        symbols += _some(dice, dice.pick((_NEAR, range(256, _LZX_SYMBOLS), range(263, _LZX_SYMBOLS, 8))), 12)
        new = complete_lengths(dice, sorted(set(symbols)), _LZX_SYMBOLS, 16)
        if dice.chance(30):
            new = [8] * 16 + [9] * (_LZX_SYMBOLS - 16)
        put_lengths(bits, dice, main[:256], new[:256])
        put_lengths(bits, dice, main[256:], new[256:])
        main = new
        lengths = _some(dice, range(_LZX_LENGTHS), dice.pick((0, 2, 30)))
        new = complete_lengths(dice, lengths, _LZX_LENGTHS, 16) if lengths else [0] * _LZX_LENGTHS
        put_lengths(bits, dice, tail, new)
        tail = new
        for _ in range(dice.pick((0, 10, 400))):
            bits.put(dice.below(1 << 16), 16)
    return bits.words() + dice.take(length)


def put_lengths(bits: Bits, dice: Dice, old: list[int], new: list[int]) -> None:
    """As differences, with runs where there are any; the pretree has all 20 symbols."""
    pretree = [4] * 12 + [5] * 8
    codes = canonical(pretree)

    def put(symbol: int) -> None:
        bits.put(codes[symbol], pretree[symbol])

    for length in pretree:
        bits.put(length, 4)
    at = 0
    while at < len(new):
        same = 1
        while at + same < len(new) and new[at + same] == new[at] and same < 51:
            same += 1
        if new[at] == 0 and same >= 20:
            put(18)
            bits.put(same - 20, 5)
        elif new[at] == 0 and same >= 4:
            same = min(same, 19)
            put(17)
            bits.put(same - 4, 4)
        elif same >= 4 and dice.chance(50):
            same = min(same, 5)
            put(19)
            bits.put(same - 4, 1)
            put((old[at] - new[at]) % 17)
        else:
            same = 1
            put((old[at] - new[at]) % 17)
        at += same


@mutator(Layer.NTFS, 10, has_wof)
def wof_chunk_made_up(scene: Scene, dice: Dice) -> str:
    """In the place of the first chunk, which keeps its length."""
    number = dice.pick(scene.structures.having(lambda each: is_wof(each) and each.is_mapped))
    record = scene.structures.record(number)
    places = [each for each in record.attributes() if each.type == parts.DATA and each.is_mapped]
    packed = next((each for each in places if each.name), None)
    whole = next((each for each in places if not each.name), None)
    if packed is None or whole is None:
        return f"record {number}: no packed stream"
    chunk = {0: 4096, 1: 32768, 2: 8192, 3: 16384}.get(_format(record), 4096)
    table = 4 * max(0, -(-record.u64(whole.at + 48) // chunk) - 1) % 4096
    length = min(record.u64(packed.at + 48), chunk) or 1
    data = lzx_chunk(dice, length) if chunk == 32768 else xpress_chunk(dice, length)
    _write(scene, record, packed, table, data[:length])
    return f"record {number}: a made-up chunk of {length} bytes, {chunk} unpacked"


def _format(record: Record) -> int:
    for place in record.attributes():
        if place.type == parts.REPARSE_POINT and not place.is_mapped:
            return record.u32(place.head + 20)
    return 0


def _write(scene: Scene, record: Record, place: Place, offset: int, data: bytes) -> None:
    """Over the runs of a mapped attribute, from a byte of the stream on."""
    size = scene.structures.cluster_size
    at = 0
    for cluster, length in scene.structures.runs(record, place):
        if cluster is not None and length < 1 << 20:
            low, high = max(at, offset), min(at + length * size, offset + len(data))
            if low < high:
                scene.ntfs.put(cluster * size + low - at, data[low - offset : high - offset])
        at += length * size
