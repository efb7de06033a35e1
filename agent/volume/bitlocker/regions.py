"""Which part of an unlocked volume comes from where."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise

from agent.volume.bitlocker.block import BLOCK_BYTES
from agent.volume.bitlocker.metadata import Metadata


class Kind(Enum):
    """What to do with the bytes of a region."""

    DECRYPT = auto()
    ZEROS = auto()
    PLAIN = auto()


@dataclass(frozen=True, slots=True)
class Region:
    """Bytes [start, end) of the decrypted volume, found ``shift`` bytes further on in the source."""

    start: int
    end: int
    kind: Kind
    shift: int = 0


def lay_out(metadata: Metadata, size_bytes: int) -> tuple[Region, ...]:
    """All of [0, size_bytes) in order, without gaps.

    The start of the volume was moved to make room for the boot sector; where it was moved to, and
    where the metadata lies, Windows shows zeros; past the encrypted size nothing is encrypted.
    """
    zeros = [(offset, offset + BLOCK_BYTES) for offset in metadata.metadata_offsets]
    zeros.append((metadata.header_offset, metadata.header_offset + metadata.header_bytes))
    cuts = {0, size_bytes, metadata.header_bytes, metadata.encrypted_size_bytes}
    cuts.update(edge for pair in zeros for edge in pair)
    edges = sorted(cut for cut in cuts if cut <= size_bytes)
    regions = []
    for start, end in pairwise(edges):
        if start < metadata.header_bytes:
            regions.append(Region(start, end, Kind.DECRYPT, metadata.header_offset))
        elif any(low <= start < high for low, high in zeros):
            regions.append(Region(start, end, Kind.ZEROS))
        elif start < metadata.encrypted_size_bytes:
            regions.append(Region(start, end, Kind.DECRYPT))
        else:
            regions.append(Region(start, end, Kind.PLAIN))
    return tuple(regions)
