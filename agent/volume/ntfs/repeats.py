"""How much of what a volume says may be told more than once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent.errors import NtfsDamaged
from agent.volume.entry import StreamRef

PIECES_A_NAME: Final = 16
"""Streams and extents that each further name may repeat, on average over the volume."""

DRIVE_BYTES_PER_PIECE: Final = 64
"""So many bytes of drive for each piece that may be repeated beyond that."""

MAX_PIECES: Final = 4_000_000
"""As many as that at most: ten seconds of work."""


class Repeats:
    """A file is told whole under each of its names: a table of a few megabytes, in which one file has
    thousands of names and a million pieces, would be told for hours."""

    def __init__(self, volume_bytes: int) -> None:
        self._left = min(volume_bytes // DRIVE_BYTES_PER_PIECE, MAX_PIECES)

    def take(self, number: int, names: int, streams: Sequence[StreamRef]) -> None:
        """Raises NtfsDamaged when a file of so many names is too much; then nothing is taken."""
        pieces = sum(1 + len(each.extents) for each in streams)
        left = self._left - max(0, names - 1) * (pieces - PIECES_A_NAME)
        if left < 0:
            raise NtfsDamaged(
                f"MFT record {number}: {len(streams)} streams in {pieces - len(streams)} pieces under "
                f"{names} names are more than can be told"
            )
        self._left = left
