"""An image that shows a finding, made smaller as long as it still does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.fuzz.bases import base
from tests.fuzz.draft import Patch
from tests.fuzz.image import Image
from tests.fuzz.verdict import Finding
from tests.fuzz.workers import Workers

MAX_TRIES = 300
MAX_TRIES_OF_A_HANG = 25

_PIECES = (2048, 128, 8)
"""Long patches are tried in pieces, and what is left of them in smaller ones."""

Shows = Callable[[Image], bool]


def minimised(image: Image, finding: Finding, workers: Workers) -> Image:
    """The smallest image found that shows the same; the one given if not even that does so again."""
    tries = MAX_TRIES_OF_A_HANG if finding.kind == "Hang" else MAX_TRIES
    left = [tries]

    def shows(candidate: Image) -> bool:
        if left[0] <= 0:
            return False
        left[0] -= 1
        ((_, _, verdict),) = workers.run([(0, candidate)])
        return verdict.finding is not None and verdict.finding.signature == finding.signature

    return smaller(image, shows)


def smaller(image: Image, shows: Shows) -> Image:
    """Without the cut, then with fewer patches, then with shorter ones, each while ``shows`` says yes."""
    whole = replace(image, size_bytes=base(image.base).size_bytes)
    if image.size_bytes != whole.size_bytes and shows(whole):
        image = whole
    for bad in image.bad:
        candidate = replace(image, bad=tuple(each for each in image.bad if each != bad))
        image = candidate if shows(candidate) else image
    image = _fewer(image, shows)
    for length in _PIECES:
        image = _fewer(replace(image, patches=_split(image.patches, length)), shows)
    return image


def _fewer(image: Image, shows: Shows) -> Image:
    """Drops halves, quarters and so on down to single patches."""
    step = max(1, len(image.patches) // 2)
    while True:
        at = 0
        while at < len(image.patches):
            rest = image.patches[:at] + image.patches[at + step :]
            candidate = replace(image, patches=rest)
            if len(rest) < len(image.patches) and shows(candidate):
                image = candidate
            else:
                at += step
        if step == 1:
            return image
        step //= 2


def _split(patches: tuple[Patch, ...], length: int) -> tuple[Patch, ...]:
    """In pieces of that many bytes; patches that would make too many stay whole."""
    found: list[Patch] = []
    for offset, data in patches:
        if len(data) > 32 * length:
            found.append((offset, data))
            continue
        found += [(offset + at, data[at : at + length]) for at in range(0, len(data), length)]
    return tuple(found)
