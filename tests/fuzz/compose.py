"""Image number so-and-so of a seed: base, mutators, patches."""

from __future__ import annotations

from typing import TypeVar

from tests.fuzz.bases import Base, base
from tests.fuzz.dice import Dice
from tests.fuzz.image import Image
from tests.fuzz.mutators import REGISTRY, Layer, Mutator
from tests.fuzz.mutators import bitlocker as _bitlocker
from tests.fuzz.mutators import boot as _boot
from tests.fuzz.mutators import chunks as _chunks
from tests.fuzz.mutators import drive as _drive
from tests.fuzz.mutators import indexes as _indexes
from tests.fuzz.mutators import lists as _lists
from tests.fuzz.mutators import packed as _packed
from tests.fuzz.mutators import records as _records
from tests.fuzz.mutators import runs as _runs
from tests.fuzz.mutators import tables as _tables
from tests.fuzz.scene import Scene

T = TypeVar("T")

MUTATOR_MODULES = (_bitlocker, _boot, _chunks, _drive, _indexes, _lists, _packed, _records, _runs, _tables)

_BASES = {
    "plain": 30,
    "scattered": 12,
    "small-clusters": 10,
    "sectors-4k": 8,
    "big-clusters": 3,
    "deep": 5,
    "gpt": 5,
    "gpt-4k": 2,
    "mbr": 3,
    "logical": 4,
    "xts": 10,
    "cbc-by-file": 4,
    "to-go": 3,
    "elephant-4k": 1,
    "gpt-xts": 2,
    "nasty": 1,
    "sector4k": 2,
}
"""How many of a hundred images are made of each."""

_LAYERS = {Layer.NTFS: 10, Layer.BITLOCKER: 25, Layer.TABLE: 25, Layer.DRIVE: 2}
"""How often each layer is taken, of those that the base has; outer ones must be left whole to get in."""


def make_image(seed: int, index: int) -> Image:
    """Always the same for the same numbers."""
    dice = Dice(f"{seed}/{index}")
    chosen = base(_weighted(list(_BASES.items()), dice))
    scene = Scene(chosen)
    steps = []
    for mutator in sorted(_mutators(chosen, dice), key=lambda each: each.layer):
        steps.append(f"{mutator.name}: {mutator.apply(scene, dice)}")
    size = scene.disk.size_bytes
    return Image(f"{seed}/{index}", chosen.name, size, scene.patches(), tuple(steps), tuple(scene.bad))


def _mutators(chosen: Base, dice: Dice) -> list[Mutator]:
    fitting = [each for each in REGISTRY if each.needs(chosen)]
    layers = {layer: weight for layer, weight in _LAYERS.items() if _has_layer(chosen, layer)}
    count = dice.pick((1, 1, 1, 1, 1, 2, 2, 2, 3, 6))
    found = []
    for _ in range(count):
        layer = _weighted(list(layers.items()), dice)
        found.append(_weighted([(each, each.weight) for each in fitting if each.layer == layer], dice))
    return found


def _has_layer(chosen: Base, layer: Layer) -> bool:
    if layer is Layer.TABLE:
        return chosen.offset > 0
    return layer is not Layer.BITLOCKER or chosen.made is not None


def _weighted(items: list[tuple[T, int]], dice: Dice) -> T:
    at = dice.below(sum(weight for _, weight in items))
    for item, weight in items:
        at -= weight
        if at < 0:
            return item
    raise AssertionError
