"""BitLocker metadata taken apart, changed, and put together again so that it opens.

A mutated copy gets its check sum and its proof of authenticity made anew, under the volume's own master
key: a hostile drive comes from somebody who has the key. Source: libyal, "BDE format".
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from fixtures.fve_entries import Kind, Method, Role, Wrapper
from fixtures.fve_metadata import BLOCK_BYTES, Layout
from tests.fuzz.draft import Draft

HEAD_BYTES = 112
_NESTED_AT = {Kind.VMK: 28, Kind.STRETCH: 20, Kind.USE_KEY: 4, Kind.EXTERNAL_KEY: 24}


@dataclass
class Node:
    """An entry; ``inner`` are the entries nested behind ``data``. ``size`` lies about its length."""

    role: int
    kind: int
    flags: int
    data: bytes
    inner: list[Node] = field(default_factory=list)
    size: int | None = None

    def packed(self) -> bytes:
        """As it is written."""
        body = self.data + b"".join(node.packed() for node in self.inner)
        size = len(body) + 8 if self.size is None else self.size
        return (
            struct.pack("<4H", size % 65536, self.role % 65536, self.kind % 65536, self.flags % 65536) + body
        )

    def all(self) -> list[Node]:
        """This one and all below it."""
        return [self, *(deeper for node in self.inner for deeper in node.all())]


@dataclass
class Sealing:
    """What is made right when the metadata is written, and what is not."""

    copies: tuple[int, ...] = (0, 1, 2)
    has_crc32: bool = True
    has_proof: bool = True
    units: int | None = None
    """The block's own size in 16 bytes, if it lies."""
    proof_size: int | None = None
    """The size that the validation gives itself, if it lies."""
    proof_version: int = 2


class Sealed:
    """The metadata of one volume. Change ``head`` and ``nodes``, then ``write``."""

    def __init__(self, volume: Draft, layout: Layout) -> None:
        self.volume = volume
        self.layout = layout
        block = volume.base[layout.block_offsets[0] :][:BLOCK_BYTES]
        self.head = bytearray(block[:HEAD_BYTES])
        end = 64 + struct.unpack_from("<I", block, 64)[0]
        self.nodes = parse(block[HEAD_BYTES:end])
        self.clear_key = next(
            node.data[4:] for top in self.nodes for node in top.inner if node.kind == Kind.KEY
        )
        clear = next(top for top in self.nodes if any(node.kind == Kind.KEY for node in top.inner))
        self.master_key = self._opened(next(n for n in clear.inner if n.kind == Kind.AES_CCM), self.clear_key)
        own = next(node for node in self.nodes if node.role == Role.FVEK)
        self.volume_key = self._opened(own, self.master_key)
        self.metadata_size: int | None = None
        """The size in the inner header, if it lies."""

    @staticmethod
    def _opened(node: Node, key: bytes) -> bytes:
        nonce, tag, data = node.data[:12], node.data[12:28], node.data[28:]
        return AESCCM(key, tag_length=16).decrypt(nonce, data + tag, None)[12:]

    def all_nodes(self) -> list[Node]:
        """At all depths."""
        return [deeper for node in self.nodes for deeper in node.all()]

    def write(self, sealing: Sealing) -> None:
        """Put the metadata in its places, cut to the room that a block has."""
        entries = b"".join(node.packed() for node in self.nodes)[: BLOCK_BYTES - 1024]
        size = 48 + len(entries) if self.metadata_size is None else self.metadata_size
        struct.pack_into("<I", self.head, 64, size % (1 << 32))
        struct.pack_into("<I", self.head, 76, size % (1 << 32))
        body = bytes(self.head) + entries
        body += bytes(-len(body) % 16)
        units = len(body) // 16 if sealing.units is None else sealing.units
        struct.pack_into("<H", self.head, 8, units % 65536)
        body = bytes(self.head) + body[HEAD_BYTES:]
        if sealing.units is not None:
            body = body[: units * 16].ljust(min(units * 16, BLOCK_BYTES - 256), b"\0")
        block = (body + self._validation(body, sealing)).ljust(BLOCK_BYTES, b"\0")[:BLOCK_BYTES]
        for copy in sealing.copies:
            self.volume.put(self.layout.block_offsets[copy], block)

    def _validation(self, body: bytes, sealing: Sealing) -> bytes:
        digest = hashlib.sha256(body).digest() if sealing.has_proof else bytes(32)
        proof = Wrapper().wrap(Role.NESTED, self.master_key, Method.MAC, digest)
        size = 8 + len(proof) if sealing.proof_size is None else sealing.proof_size
        crc32 = zlib.crc32(body) if sealing.has_crc32 else 0x12345678
        return struct.pack("<HHI", size % 65536, sealing.proof_version, crc32) + proof


def parse(data: bytes) -> list[Node]:
    """The entries of sound metadata."""
    nodes: list[Node] = []
    at = 0
    while at + 8 <= len(data):
        size, role, kind, flags = struct.unpack_from("<4H", data, at)
        if not 8 <= size <= len(data) - at:
            break
        body = data[at + 8 : at + size]
        split = _NESTED_AT.get(kind, len(body))
        nodes.append(Node(role, kind, flags, body[:split], parse(body[split:])))
        at += size
    return nodes


def copied(node: Node) -> Node:
    """The node again, free to change."""
    return replace(node, inner=[copied(inner) for inner in node.inner])
