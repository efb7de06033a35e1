"""Directory indexes as B-trees whose nodes are kept small on purpose, so that they are deep."""

from __future__ import annotations

from tests.fuzz.maker import parts
from tests.fuzz.maker.clusters import Clusters

_IN_ROOT, _IN_BLOCK = 1, 7

Keyed = tuple[int, bytes]
"""Reference and key of an entry."""


def index_attributes(keyed: list[Keyed], clusters: Clusters) -> list[bytes]:
    """$INDEX_ROOT, and $INDEX_ALLOCATION with its $BITMAP if there are more than three entries."""
    shape = clusters.shape
    tree = _Tree(clusters)
    if len(keyed) <= 3:
        return [parts.index_root(_leaf(keyed), shape.index_size, tree.step, has_children=False)]
    entries = tree.inner(keyed, _IN_ROOT)
    pieces = min(3, len(tree.blocks))
    bits = parts.padded(b"\xff" * (len(tree.blocks) // 8 + 1))
    return [
        parts.index_root(entries, shape.index_size, tree.step, has_children=True),
        clusters.mapped(parts.INDEX_ALLOCATION, b"".join(tree.blocks), name="$I30", pieces=pieces),
        parts.resident(parts.BITMAP, bits, "$I30"),
    ]


def _leaf(keyed: list[Keyed]) -> bytes:
    return b"".join(parts.index_entry(*each) for each in keyed) + parts.index_entry(0, b"", is_last=True)


class _Tree:
    def __init__(self, clusters: Clusters) -> None:
        self._size = clusters.shape.index_size
        cluster_size = clusters.shape.cluster_size
        self.step = self._size // (cluster_size if cluster_size <= self._size else 512)
        self.blocks: list[bytes] = []

    def inner(self, keyed: list[Keyed], room: int) -> bytes:
        """The entries of a node with at most ``room`` keys; the others go to children."""
        span = -(-(len(keyed) - room) // (room + 1))
        out, at = b"", 0
        while at + span < len(keyed):
            child = self._block(keyed[at : at + span])
            out += parts.index_entry(*keyed[at + span], child)
            at += span + 1
        return out + parts.index_entry(0, b"", self._block(keyed[at:]), is_last=True)

    def _block(self, keyed: list[Keyed]) -> int:
        vcn = len(self.blocks) * self.step
        self.blocks.append(b"")
        is_inner = len(keyed) > _IN_BLOCK
        entries = self.inner(keyed, _IN_BLOCK) if is_inner else _leaf(keyed)
        self.blocks[vcn // self.step] = parts.index_block(vcn, entries, self._size, is_inner)
        return vcn
