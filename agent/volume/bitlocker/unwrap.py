"""AES-CCM containers: every key on the volume lies inside one.

On disk: 12 bytes nonce, 16 bytes tag, ciphertext. Inside: u16 size, u16, u16, u16, u32 method, key
(libyal, "BDE format", AES-CCM encrypted key).
"""

from __future__ import annotations

import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from agent.errors import BitLockerFailed
from agent.volume.bitlocker.entries import Entry
from agent.volume.bitlocker.keys import Key

_NONCE_BYTES = 12
_TAG_BYTES = 16
_CONTAINER = struct.Struct("<HHHHI")


def unwrap(entry: Entry, key: bytes) -> Key | None:
    """The key inside ``entry``, or None when ``key`` (32 bytes) is not the right one.

    The tag tells a wrong key exactly. Raises BitLockerFailed when the container is malformed.
    """
    nonce, rest = entry.data[:_NONCE_BYTES], entry.data[_NONCE_BYTES:]
    tag, ciphertext = rest[:_TAG_BYTES], rest[_TAG_BYTES:]
    if len(ciphertext) <= _CONTAINER.size:
        raise BitLockerFailed(f"a key container of {len(entry.data)} bytes is too short")
    try:
        plain = AESCCM(key, tag_length=_TAG_BYTES).decrypt(nonce, ciphertext + tag, None)
    except InvalidTag:
        return None
    size, _, _, _, method = _CONTAINER.unpack_from(plain)
    if not _CONTAINER.size < size <= len(plain):
        raise BitLockerFailed(f"a key container gives itself a size of {size} bytes and has {len(plain)}")
    return Key(plain[_CONTAINER.size : size], method)
