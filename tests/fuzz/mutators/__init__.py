"""What is done to an image, one small function each; a module a structure.

A mutator takes the scene and the dice and returns a line that says what it did. It may find nothing to
change, and must not raise for what earlier ones left behind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from tests.fuzz.bases import Base
from tests.fuzz.dice import Dice
from tests.fuzz.scene import Scene

Apply = Callable[[Scene, Dice], str]
Needs = Callable[[Base], bool]


class Layer(IntEnum):
    """In the order in which layers are changed."""

    NTFS = 0
    BITLOCKER = 1
    TABLE = 2
    DRIVE = 3


@dataclass(frozen=True, slots=True)
class Mutator:
    """``weight`` is how often it is taken among those of its layer."""

    name: str
    layer: Layer
    weight: int
    needs: Needs
    apply: Apply


REGISTRY: list[Mutator] = []


def mutator(layer: Layer, weight: int = 4, needs: Needs = lambda base: True) -> Callable[[Apply], Apply]:
    """Register a function under its own name."""

    def register(apply: Apply) -> Apply:
        REGISTRY.append(Mutator(apply.__name__.replace("_", " "), layer, weight, needs, apply))
        return apply

    return register
