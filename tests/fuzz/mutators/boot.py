"""The boot sector of NTFS and its backup."""

from __future__ import annotations

from tests.fuzz.dice import Dice
from tests.fuzz.mutators import Layer, mutator
from tests.fuzz.scene import Scene

_FIELDS = ((3, 8), (11, 2), (13, 1), (40, 8), (48, 8), (56, 8), (64, 1), (68, 1), (510, 2))
"""Signature, sector, cluster, sectors, $MFT, $MFTMirr, record, index block, mark."""


@mutator(Layer.NTFS, 3)
def boot_field(scene: Scene, dice: Dice) -> str:
    """One or two of them, in the boot sector, in its backup or in both."""
    said = []
    for _ in range(dice.pick((1, 1, 2))):
        at, width = dice.pick(_FIELDS)
        value = dice.integer(width, scene.ntfs.number(at, width))
        for place in _copies(scene, dice):
            scene.ntfs.put_number(place + at, width, value)
            said.append(f"byte {place + at} is {value:#x}")
    return "NTFS boot sector: " + ", ".join(said)


@mutator(Layer.NTFS, 1)
def boot_of_another_filesystem(scene: Scene, dice: Dice) -> str:
    """A foreign signature over what is NTFS."""
    name = dice.pick((b"-FVE-FS-", b"EXFAT   ", b"MSDOS5.0", b"ReFS\0\0\0\0", bytes(8)))
    for place in _copies(scene, dice):
        scene.ntfs.put(place + 3, name)
    return f"the boot sector is signed {name!r}"


@mutator(Layer.NTFS, 2)
def table_elsewhere(scene: Scene, dice: Dice) -> str:
    """$MFT or its mirror begin at another cluster of the volume."""
    at = dice.pick((48, 56))
    cluster = dice.below(scene.structures.cluster_count)
    for place in _copies(scene, dice):
        scene.ntfs.put_number(place + at, 8, cluster)
    return f"the table of byte {at} begins at cluster {cluster}"


def _copies(scene: Scene, dice: Dice) -> tuple[int, ...]:
    backup = len(scene.base.ntfs) - scene.base.sector_size
    return dice.pick(((0,), (0, backup), (0, backup), (backup,)))
