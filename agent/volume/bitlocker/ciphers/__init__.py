"""The sector ciphers of BitLocker, one file each, and the table that finds them by number.

Adding a cipher is adding a file and a line of the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from agent.errors import BitLockerFailed
from agent.volume.bitlocker.ciphers.cbc import CbcCipher
from agent.volume.bitlocker.ciphers.elephant import ElephantCipher
from agent.volume.bitlocker.ciphers.sector_cipher import CipherSuite, SectorCipher
from agent.volume.bitlocker.ciphers.xts import XtsCipher
from agent.volume.bitlocker.keys import Key

SUITES: Mapping[int, CipherSuite] = MappingProxyType(
    {
        0x8000: CipherSuite("AES-CBC-128 with Elephant diffuser", 64, ElephantCipher.with_128_bits),
        0x8001: CipherSuite("AES-CBC-256 with Elephant diffuser", 64, ElephantCipher.with_256_bits),
        0x8002: CipherSuite("AES-CBC-128", 16, CbcCipher),
        0x8003: CipherSuite("AES-CBC-256", 32, CbcCipher),
        0x8004: CipherSuite("AES-XTS-128", 32, XtsCipher),
        0x8005: CipherSuite("AES-XTS-256", 64, XtsCipher),
    }
)
"""By the number in the metadata header and beside the volume key (libyal, "BDE format")."""


def cipher_name(method: int) -> str:
    """What people call the cipher; an unknown one is named by its number."""
    suite = SUITES.get(method)
    return suite.name if suite else f"unknown cipher 0x{method:04x}"


def make_cipher(key: Key, sector_size: int) -> SectorCipher:
    """The cipher that ``key.method`` names. Raises BitLockerFailed when there is none or the key is short."""
    suite = SUITES.get(key.method)
    if suite is None:
        raise BitLockerFailed(f"the volume is encrypted with {cipher_name(key.method)}")
    if len(key) < suite.key_bytes:
        raise BitLockerFailed(
            f"{suite.name} needs a key of {suite.key_bytes} bytes, the volume has {len(key)}"
        )
    return suite.make(key.reveal()[: suite.key_bytes], sector_size)


__all__ = ["SUITES", "CipherSuite", "SectorCipher", "cipher_name", "make_cipher"]
