"""The boot sector and the metadata of BitLocker, with check sum and proof made right again, or not."""

from __future__ import annotations

import struct

from fixtures.fve_entries import Kind, Role, Wrapper
from tests.fuzz.dice import Dice
from tests.fuzz.mutators import Layer, mutator
from tests.fuzz.scene import Scene
from tests.fuzz.sealed import Node, Sealing, copied, parse

_BOOT = (
    (0, 1),
    (2, 1),
    (3, 8),
    (11, 2),
    (13, 1),
    (160, 8),
    (168, 8),
    (176, 8),
    (184, 8),
    (192, 8),
    (440, 8),
    (448, 8),
)
_HEAD = ((0, 8), (10, 2), (12, 2), (14, 2), (16, 8), (24, 4), (28, 4), (32, 8), (40, 8), (48, 8), (56, 8),
         (68, 4), (72, 4), (76, 4), (80, 8), (96, 4), (100, 2), (102, 2), (104, 8))  # fmt: skip
_CODES = (0x0000, 0x0100, 0x0200, 0x0500, 0x0800, 0x1000, 0x2000, 0x1234)
"""Kinds of protectors."""


def _sealing(dice: Dice) -> Sealing:
    sealing = Sealing(copies=dice.pick(((0, 1, 2), (0, 1, 2), (0, 1, 2), (0,), (1,), (0, 2))))
    sealing.has_crc32 = dice.chance(93)
    sealing.has_proof = dice.chance(93)
    return sealing


@mutator(Layer.BITLOCKER, 5, lambda base: base.made is not None)
def bitlocker_boot_field(scene: Scene, dice: Dice) -> str:
    """Sector size, GUID, places of the copies."""
    at, width = dice.pick(_BOOT)
    value = dice.integer(width, scene.volume.number(at, width))
    scene.volume.put_number(at, width, value)
    return f"BitLocker boot sector byte {at} is {value:#x}"


@mutator(Layer.BITLOCKER, 10, lambda base: base.made is not None)
def metadata_head_field(scene: Scene, dice: Dice) -> str:
    """Sizes, states, places, cipher."""
    sealed = scene.sealed
    said = []
    for _ in range(dice.pick((1, 1, 2))):
        at, width = dice.pick(_HEAD)
        was = int.from_bytes(sealed.head[at : at + width], "little")
        value = dice.integer(width, was)
        sealed.head[at : at + width] = value.to_bytes(width, "little")
        said.append(f"byte {at} is {value:#x}")
    sealed.write(_sealing(dice))
    return "BitLocker metadata header " + ", ".join(said)


@mutator(Layer.BITLOCKER, 8, lambda base: base.made is not None)
def moved_regions(scene: Scene, dice: Dice) -> str:
    """The moved header, the copies and the end of encryption lie on, in or past one another."""
    sealed, layout = scene.sealed, scene.sealed.layout
    edges = [*layout.block_offsets, layout.header_offset, layout.volume_size, 0, layout.header_size, 65536]
    near = dice.pick(edges) + dice.pick((0, 0, 512, -512, 4096, -4096, 65536, 65536 - 512))
    at = dice.pick((16, 16, 56, 56, 32, 40, 48))
    struct.pack_into("<Q", sealed.head, at, near % (1 << 64))
    sectors = dice.pick((None, None, 0, 1, 17, 128, 4096, 0xFFFFFFFF, dice.integer(4, 16)))
    if sectors is not None:
        struct.pack_into("<I", sealed.head, 28, sectors)
    if at in (32, 40, 48) and dice.chance(80):
        scene.volume.put_number((176, 184, 192)[(at - 32) // 8], 8, near)
    sealed.write(_sealing(dice))
    return f"BitLocker region at {at} begins at {near}, {sectors} sectors of header"


@mutator(Layer.BITLOCKER, 6, lambda base: base.made is not None)
def metadata_sizes(scene: Scene, dice: Dice) -> str:
    """Block, inner header or validation give themselves another size."""
    sealed, sealing = scene.sealed, _sealing(dice)
    entries = sum(len(node.packed()) for node in sealed.nodes)
    which = dice.below(4)
    if which == 0:
        sealing.units = dice.integer(2, (112 + entries) // 16)
    elif which == 1:
        sealed.metadata_size = dice.integer(4, 48 + entries)
    elif which == 2:
        sealing.proof_size = dice.integer(2, 88)
    else:
        sealing.proof_version = dice.integer(2, 2)
    sealed.write(sealing)
    return f"BitLocker metadata lies about its size ({('block', 'entries', 'proof', 'version')[which]})"


@mutator(Layer.BITLOCKER, 8, lambda base: base.made is not None)
def metadata_entry_header(scene: Scene, dice: Dice) -> str:
    """Size, role or type of an entry at any depth."""
    node = dice.pick(scene.sealed.all_nodes())
    which = dice.below(3)
    if which == 0:
        node.size = dice.integer(2, len(node.packed()))
    elif which == 1:
        node.role = dice.pick((0, 2, 3, 6, 7, 0xF, 0x12, 0x19, dice.integer(2)))
    else:
        node.kind = dice.pick((*(int(kind) for kind in Kind), dice.integer(2)))
    scene.sealed.write(_sealing(dice))
    return f"BitLocker entry: size {node.size}, role {node.role:#x}, type {node.kind:#x}"


@mutator(Layer.BITLOCKER, 8, lambda base: base.made is not None)
def metadata_entry_data(scene: Scene, dice: Dice) -> str:
    """Bytes of an entry, cut, grown or changed."""
    node = dice.pick(scene.sealed.all_nodes())
    which = dice.below(4)
    if which == 0:
        node.data = node.data[: dice.below(len(node.data) + 1)]
    elif which == 1:
        node.data += dice.take(dice.pick((1, 7, 16, 64, 400)))
    elif which == 2 and node.data:
        at = dice.below(len(node.data))
        node.data = node.data[:at] + dice.take(1) + node.data[at + 1 :]
    elif node.kind == Kind.VMK and len(node.data) >= 28:
        node.data = node.data[:26] + struct.pack("<H", dice.pick(_CODES)) + node.data[28:]
    scene.sealed.write(_sealing(dice))
    return f"BitLocker entry of type {node.kind:#x} has {len(node.data)} bytes of data"


@mutator(Layer.BITLOCKER, 6, lambda base: base.made is not None)
def metadata_entries_moved(scene: Scene, dice: Dice) -> str:
    """Entries are dropped, doubled, put into one another, or there are many."""
    sealed = scene.sealed
    node = dice.pick(sealed.nodes)
    which = dice.below(5)
    if which == 0 and len(sealed.nodes) > 1:
        sealed.nodes.remove(node)
    elif which == 1:
        sealed.nodes.insert(dice.below(len(sealed.nodes) + 1), copied(node))
    elif which == 2:
        dice.pick(sealed.all_nodes()).inner.append(copied(node))
    elif which == 3:
        sealed.nodes += [copied(node) for _ in range(dice.pick((10, 63, 64, 65, 200)))]
    else:
        deep = copied(node)
        for _ in range(dice.pick((3, 50, 200))):
            deep = Node(Role.VMK, Kind.VMK, 1, bytes(28), [deep])
        sealed.nodes.append(deep)
    sealed.write(_sealing(dice))
    return f"BitLocker metadata has {len(sealed.nodes)} entries"


@mutator(Layer.BITLOCKER, 6, lambda base: base.made is not None)
def wrapped_keys(scene: Scene, dice: Dice) -> str:
    """A key container that opens, and holds a key of another length, method or size field."""
    sealed = scene.sealed
    is_master = dice.chance(50)
    key, under = (
        (sealed.master_key, sealed.clear_key) if is_master else (sealed.volume_key, sealed.master_key)
    )
    method = 0x2003 if is_master else int.from_bytes(sealed.head[100:102], "little")
    which = dice.below(3)
    if which == 0:
        key = (
            key[: dice.below(len(key) + 1)]
            if dice.chance(60)
            else key + dice.take(dice.pick((1, 16, 32, 4000)))
        )
    elif which == 1:
        method = dice.pick((0x8000, 0x8001, 0x8002, 0x8003, 0x8004, 0x8005, 0x8006, dice.integer(4)))
        if dice.chance(70):
            sealed.head[100:102] = (method % 65536).to_bytes(2, "little")
    packed = Wrapper().wrap(Role.NESTED if is_master else Role.FVEK, under, method % (1 << 32), key)
    node = parse(packed)[0]
    for top in sealed.nodes:
        if is_master:
            top.inner = [node if inner.kind == Kind.AES_CCM else inner for inner in top.inner]
    if not is_master:
        sealed.nodes = [node if top.role == Role.FVEK else top for top in sealed.nodes]
    sealed.write(_sealing(dice))
    return f"BitLocker {'master' if is_master else 'volume'} key of {len(key)} bytes and method {method:#x}"


@mutator(Layer.BITLOCKER, 2, lambda base: base.made is not None)
def metadata_bytes(scene: Scene, dice: Dice) -> str:
    """Any bytes of one copy, nothing made right."""
    place = dice.pick(scene.sealed.layout.block_offsets)
    for _ in range(dice.between(1, 8)):
        scene.volume.put(place + dice.below(900), dice.take(dice.between(1, 4)))
    return f"bytes of the BitLocker metadata at {place}"
