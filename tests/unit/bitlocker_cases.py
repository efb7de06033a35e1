"""Small BitLocker volumes made in memory, and slow per-sector ciphers to hold the fast ones against."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from uuid import UUID

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

NORMAL_GUID = UUID("4967d63b-2e29-4ad8-8399-f6a339e3d001")
EOW_GUID = UUID("92a84d3b-dd80-4d0e-9e4e-b1e3284eaed8")
STARTUP_GUID = UUID("00000000-1111-2222-3333-444444444444")
BLOCK_BYTES = 65536
KEY_BYTES = {0x8000: 64, 0x8001: 64, 0x8002: 16, 0x8003: 32, 0x8004: 32, 0x8005: 64}
COPIES = (131072, 262144, 393216)
MOVED_HEADER = 524288
MASK = 0xFFFFFFFF


def entry(role: int, kind: int, data: bytes) -> bytes:
    return struct.pack("<HHHH", 8 + len(data), role, kind, 1) + data


def wrapped(rng: random.Random, key: bytes, inner: bytes, method: int, role: int = 0) -> bytes:
    """An AES-CCM entry with ``inner`` in a container."""
    nonce = rng.randbytes(12)
    sealed = AESCCM(key).encrypt(nonce, struct.pack("<HHHHI", 12 + len(inner), 0, 1, 0, method) + inner, None)
    return entry(role, 5, nonce + sealed[-16:] + sealed[:-16])


def protector(code: int, guid: UUID, *nested: bytes) -> bytes:
    return entry(2, 8, struct.pack("<16sQHH", guid.bytes_le, 0, 0, code) + b"".join(nested))


def bek_file(key: bytes, guid: UUID = STARTUP_GUID, before: bytes = b"") -> bytes:
    """``before`` are entries between the head and the key, which differ by version of Windows."""
    nested = before + entry(0, 1, struct.pack("<I", 0x2002) + key)
    body = entry(6, 9, struct.pack("<16sQ", guid.bytes_le, 0) + nested)
    size = 48 + len(body)
    return struct.pack("<IIII16sIIQ", size, 1, 48, size, guid.bytes_le, 1, 0, 0) + body


def encrypt_sectors(method: int, key: bytes, sector_size: int, offset: int, plain: bytes) -> bytes:
    """One sector after another, by the textbook."""
    step = encrypt_xts if method >= 0x8004 else encrypt_cbc if method >= 0x8002 else _elephant(method)
    return b"".join(
        step(key, sector_size, offset + at, plain[at : at + sector_size])
        for at in range(0, len(plain), sector_size)
    )


def encrypt_xts(key: bytes, sector_size: int, offset: int, sector: bytes) -> bytes:
    tweak = (offset // sector_size).to_bytes(16, "little")
    return Cipher(algorithms.AES(key), modes.XTS(tweak)).encryptor().update(sector)


def encrypt_cbc(key: bytes, sector_size: int, offset: int, sector: bytes) -> bytes:
    iv = _ecb(key, offset.to_bytes(16, "little"))
    return Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor().update(sector)


def _elephant(method: int) -> Callable[[bytes, int, int, bytes], bytes]:
    size = 16 if method == 0x8000 else 32

    def encrypt(key: bytes, sector_size: int, offset: int, sector: bytes) -> bytes:
        number = offset.to_bytes(16, "little")
        tweak = key[32 : 32 + size]
        sector_key = _ecb(tweak, number) + _ecb(tweak, number[:15] + b"\x80")
        masked = bytes(a ^ b for a, b in zip(sector, sector_key * (sector_size // 32), strict=True))
        return encrypt_cbc(key[:size], sector_size, offset, diffuse(masked))

    return encrypt


def diffuse(sector: bytes) -> bytes:
    """Diffuser A, then B, in the direction of encryption."""
    count = len(sector) // 4
    words = list(struct.unpack(f"<{count}I", sector))
    for rounds, near, far, turns in ((5, -2, -5, (9, 0, 13, 0)), (3, 2, 5, (0, 10, 0, 25))):
        for _ in range(rounds):
            for i in reversed(range(count)):
                mixed = words[(i + near) % count] ^ _rotl(words[(i + far) % count], turns[i % 4])
                words[i] = (words[i] - mixed) & MASK
    return struct.pack(f"<{count}I", *words)


def _rotl(word: int, turn: int) -> int:
    return (word << turn | word >> (32 - turn)) & MASK


def _ecb(key: bytes, block: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)


@dataclass
class Case:
    """A volume of 640 KiB with a clear key and a startup key. Change a field, then ``build``."""

    method: int = 0x8004
    sector_size: int = 512
    size_bytes: int = 655360
    tail_bytes: int = 0
    """Plain bytes behind the encrypted ones."""
    states: tuple[int, int] = (4, 4)
    guid: UUID = NORMAL_GUID
    clear_key: bool = True
    startup_key: bool = True
    seed: int = 7
    fvek_method: int | None = None
    extra_protectors: bytes = b""
    """Any further entries."""
    to_go: bool = False
    header_bytes: int = 8192
    """How much of the start is moved away."""
    free: tuple[tuple[int, int], ...] = ()
    """(start, end) that used-space-only encryption left as it was."""
    proof: Callable[[bytes], bytes] = field(default=lambda raw: sha256(raw).digest())

    def __post_init__(self) -> None:
        rng = random.Random(self.seed)
        self.vmk, self.startup, self.clear = (rng.randbytes(32) for _ in range(3))
        self.fvek = rng.randbytes(KEY_BYTES.get(self.method, 32))
        self.plain = rng.randbytes(self.size_bytes + self.tail_bytes)
        self.header_sectors = self.header_bytes // self.sector_size

    def expected(self) -> bytes:
        """What the unlocked volume must read as."""
        plain = bytearray(self.plain)
        for at, length in (*((copy, BLOCK_BYTES) for copy in COPIES), (MOVED_HEADER, self.header_bytes)):
            plain[at : at + length] = bytes(length)
        return bytes(plain)

    def build(self) -> bytearray:
        image = bytearray(self._encrypt(0, self.plain[: self.size_bytes]) + self.plain[self.size_bytes :])
        for start, end in self.free:
            image[start:end] = self.plain[start:end]
        moved = self._encrypt(MOVED_HEADER, self.plain[: self.header_bytes])
        image[MOVED_HEADER : MOVED_HEADER + self.header_bytes] = moved
        image[:512] = self._boot()
        block = self.block()
        for copy in COPIES:
            image[copy : copy + BLOCK_BYTES] = block
        return image

    def _encrypt(self, offset: int, plain: bytes) -> bytes:
        if self.method not in KEY_BYTES:
            return plain
        return encrypt_sectors(self.method, self.fvek, self.sector_size, offset, plain)

    def _boot(self) -> bytes:
        boot = bytearray(512)
        boot[:11] = b"\xeb\x58\x90" + (b"MSWIN4.1" if self.to_go else b"-FVE-FS-")
        struct.pack_into("<H", boot, 11, self.sector_size)
        guid_at = 424 if self.to_go else 160
        boot[guid_at : guid_at + 16] = self.guid.bytes_le
        struct.pack_into("<3Q", boot, guid_at + 16, *COPIES)
        boot[510:] = b"\x55\xaa"
        return bytes(boot)

    def block(self) -> bytes:
        """The metadata block of 64 KiB with check sum and proof."""
        rng = random.Random(self.seed + 1)
        method = self.method if self.fvek_method is None else self.fvek_method
        entries = [
            entry(7, 2, "TEST drive\0".encode("utf-16-le")),
            wrapped(rng, self.vmk, self.fvek, method, role=3),
            self.extra_protectors,
        ]
        if self.startup_key:
            entries.insert(1, protector(0x0200, STARTUP_GUID, wrapped(rng, self.startup, self.vmk, 0x2003)))
        if self.clear_key:
            key = entry(0, 1, struct.pack("<I", 0x2000) + self.clear)
            entries.insert(1, protector(0, UUID(int=5), key, wrapped(rng, self.clear, self.vmk, 0x2003)))
        return seal(self._raw(b"".join(entries)), rng, self.vmk, self.proof)

    def _raw(self, entries: bytes) -> bytes:
        size = 48 + len(entries)
        units = -(-(64 + size) // 16)
        volume_guid = UUID(int=0xABCDEF)
        places = (*COPIES, MOVED_HEADER)
        raw = struct.pack("<8sHHHH", b"-FVE-FS-", units, 2, *self.states)
        raw += struct.pack("<QIIQQQQ", self.size_bytes, 0, self.header_sectors, *places)
        raw += struct.pack("<IIII16sIHHQ", size, 1, 48, size, volume_guid.bytes_le, 9, self.method, 0, 0)
        return (raw + entries).ljust(units * 16, b"\0")


def seal(
    raw: bytes,
    rng: random.Random,
    vmk: bytes,
    proof: Callable[[bytes], bytes] = lambda raw: sha256(raw).digest(),
) -> bytes:
    """``raw`` with a right check sum and the given proof, padded to a block."""
    validation = struct.pack("<HHI", BLOCK_BYTES - len(raw), 2, zlib.crc32(raw))
    return (raw + validation + wrapped(rng, vmk, proof(raw), 0x2005)).ljust(BLOCK_BYTES, b"\xa5")


def raw_of(block: bytes) -> bytes:
    """What the check sum and the proof of a metadata block are about."""
    return block[: struct.unpack_from("<H", block, 8)[0] * 16]


def forged(block: bytes, at: int, new: bytes) -> bytes:
    """``block`` with other bytes and a check sum that fits them, but the proof that it had."""
    raw = bytearray(raw_of(block))
    raw[at : at + len(new)] = new
    head = struct.unpack_from("<HH", block, len(raw))
    behind = block[len(raw) + 8 :]
    return bytes(raw) + struct.pack("<HHI", *head, zlib.crc32(raw)) + behind


def with_copies(image: bytes, *copies: bytes | None) -> bytes:
    """``image`` with other metadata copies; None keeps the one that is there."""
    changed = bytearray(image)
    for place, copy in zip(COPIES, copies, strict=True):
        if copy is not None:
            changed[place : place + BLOCK_BYTES] = copy
    return bytes(changed)
