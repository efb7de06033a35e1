"""What needs no knowledge: any bytes, blocks in wrong places, an end that comes early."""

from __future__ import annotations

from tests.fuzz.dice import Dice
from tests.fuzz.mutators import Layer, mutator
from tests.fuzz.scene import Scene


@mutator(Layer.DRIVE, 3)
def bytes_anywhere(scene: Scene, dice: Dice) -> str:
    """Some, mostly in sectors that hold something."""
    count = dice.between(1, 30)
    for _ in range(count):
        at = _place(scene, dice) + dice.below(512)
        scene.disk.put(
            at, dice.pick((dice.take(1), b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", dice.take(8)))
        )
    return f"{count} bytes anywhere"


@mutator(Layer.DRIVE, 3)
def blocks_copied(scene: Scene, dice: Dice) -> str:
    """A block of sectors over another one."""
    length = dice.pick((512, 512, 1024, 4096, 4096, 65536))
    source, target = _place(scene, dice), _place(scene, dice)
    scene.disk.put(target, scene.disk.get(source, length))
    return f"{length} bytes at {source} over those at {target}"


@mutator(Layer.DRIVE, 2)
def blocks_filled(scene: Scene, dice: Dice) -> str:
    """A block of zeros, ones or noise."""
    length = dice.pick((512, 1024, 4096, 65536))
    target = _place(scene, dice)
    scene.disk.put(target, dice.pick((bytes(length), b"\xff" * length, dice.take(512) * (length // 512))))
    return f"{length} bytes at {target} filled"


@mutator(Layer.DRIVE, 3)
def end_cut_off(scene: Scene, dice: Dice) -> str:
    """The drive ends early, by little or by much, in the middle of a sector too."""
    whole = scene.disk.size_bytes
    anywhere, edge = dice.below(whole + 1), dice.pick((0, 1, 511, 512, 513, 1024, 4096, 65536))
    size = dice.pick((anywhere, anywhere // 512 * 512, whole - anywhere % 5000 - 1, anywhere % 20_000, edge))
    scene.disk.size_bytes = max(0, min(whole, size))
    return f"the drive ends after {scene.disk.size_bytes} bytes"


@mutator(Layer.DRIVE, 3)
def sectors_that_cannot_be_read(scene: Scene, dice: Dice) -> str:
    """Some ranges, mostly of sectors that hold something."""
    for _ in range(dice.between(1, 4)):
        scene.bad.append((_place(scene, dice), dice.pick((512, 4096, 4096, 65536, 1 << 20))))
    return f"bad sectors at {scene.bad}"


def _place(scene: Scene, dice: Dice) -> int:
    """A sector, tried a few times for one that is not empty."""
    count = max(1, scene.disk.size_bytes // 512)
    for _ in range(4):
        at = dice.below(count) * 512
        if any(scene.disk.get(at, 512)):
            return at
    return at
