"""One image in the making: a base and a draft for each of its layers."""

from __future__ import annotations

from functools import cached_property

from fixtures.fve_ciphers import encrypt_sectors
from tests.fuzz.anatomy import Volume
from tests.fuzz.bases import Base
from tests.fuzz.draft import Draft, Patch
from tests.fuzz.sealed import Sealed


class Scene:
    """Layers are changed from the inside out: ``ntfs``, then ``volume``, then ``disk``.

    The first use of an outer layer takes over what was done to the inner ones.
    """

    def __init__(self, base: Base) -> None:
        self.base = base
        self.ntfs = Draft(base.ntfs)
        self.bad: list[tuple[int, int]] = []
        """Ranges of the disk that cannot be read."""

    @cached_property
    def structures(self) -> Volume:
        """The NTFS structures of ``ntfs``."""
        return Volume(self.ntfs)

    @cached_property
    def volume(self) -> Draft:
        """The volume as it lies on the disk; what changed in plain is encrypted as the rest is."""
        if self.base.made is None:
            return self.ntfs
        draft = Draft(self.base.volume)
        made = self.base.made
        size, layout = made.layout.sector_size, made.layout
        for at in sorted({start // size * size for start, _ in self.ntfs.touched()}):
            place = at + layout.header_offset if at < layout.header_size else at
            if at >= layout.header_size and _overlaps(at, size, layout.reserved()):
                continue
            draft.put(place, encrypt_sectors(made.cipher, made.fvek, size, place, self.ntfs.get(at, size)))
        return draft

    @cached_property
    def sealed(self) -> Sealed:
        """The BitLocker metadata of ``volume``."""
        assert self.base.made is not None
        return Sealed(self.volume, self.base.made.layout)

    @cached_property
    def disk(self) -> Draft:
        """The whole drive."""
        if self.base.disk is self.base.volume:
            return self.volume
        draft = Draft(self.base.disk)
        for start, sector in self.volume.touched():
            draft.put(self.base.offset + start, sector)
        return draft

    def patches(self) -> tuple[Patch, ...]:
        """What differs from the base's disk."""
        return self.disk.patches()


def _overlaps(at: int, length: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(at < start + size and start < at + length for start, size in ranges)
