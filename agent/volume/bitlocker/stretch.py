"""From what a person types to the key of a protector: 2^20 chained SHA-256 (libyal, "BDE format")."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import sha256

ROUNDS = 0x100000
SALT_BYTES = 16


def password_seed(password: str) -> bytes:
    """Of a user password; lone surrogates are kept, as Windows does."""
    return sha256(sha256(password.encode("utf-16-le", "surrogatepass")).digest()).digest()


def recovery_seed(numbers: Sequence[int]) -> bytes:
    """Of the eight 16-bit numbers of a recovery password."""
    return sha256(struct.pack("<8H", *numbers)).digest()


def stretch(seed: bytes, salt: bytes) -> bytes:
    """32 bytes of key from a 32-byte seed and a 16-byte salt. Takes about 0.6 s on purpose."""
    state = bytearray(32) + seed + salt + bytes(8)
    count_into = struct.Struct("<Q").pack_into
    for count in range(ROUNDS):
        count_into(state, 80, count)
        state[:32] = sha256(state).digest()
    return bytes(state[:32])
