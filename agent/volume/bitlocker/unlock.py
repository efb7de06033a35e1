"""From a credential to a readable volume: protector, master key, authentication, volume key, cipher."""

from __future__ import annotations

import hmac
from hashlib import sha256

from agent.errors import (
    BitLockerFailed,
    BitLockerKeyInvalid,
    BitLockerProtectorNotFound,
    DiskOperationFailed,
)
from agent.model.keys import Credential
from agent.volume.bitlocker.ciphers import SUITES, make_cipher
from agent.volume.bitlocker.credentials import Opener, opener_for
from agent.volume.bitlocker.entries import ROLE_FVEK, TYPE_AES_CCM
from agent.volume.bitlocker.keys import Key
from agent.volume.bitlocker.metadata import Metadata
from agent.volume.bitlocker.protectors import Protector
from agent.volume.bitlocker.unwrap import unwrap
from agent.volume.bitlocker.volume import DecryptedVolume
from agent.volume.block import BlockSource

_VMK_BYTES = 32


def unlock(source: BlockSource, metadata: Metadata, credential: Credential) -> DecryptedVolume:
    """The decrypted volume. Takes 0.6 s for each protector of a password's or recovery password's kind.

    ``metadata`` is what ``read_metadata`` said of ``source``. Raises BitLockerFailed when the volume
    is not fully encrypted, has an unknown cipher, or its metadata is malformed or not authentic;
    DiskOperationFailed when the source ends before the encrypted volume does;
    BitLockerProtectorNotFound when no protector is of the credential's kind; BitLockerKeyInvalid
    when the credential opens none of them.
    """
    _check_supported(metadata)
    _check_size(source, metadata)
    opener = opener_for(credential)
    master_key = _master_key(metadata, opener)
    _check_authentic(metadata, master_key)
    cipher = make_cipher(_volume_key(metadata, master_key), metadata.sector_size)
    return DecryptedVolume(source, metadata, cipher)


def _check_supported(metadata: Metadata) -> None:
    if not metadata.fully_encrypted:
        mode = "encrypt-on-write" if metadata.encrypt_on_write else metadata.state
        raise BitLockerFailed(
            f"encryption not finished: the volume is in state {metadata.current_state}, "
            f"going to {metadata.next_state} ({mode})"
        )
    if metadata.cipher not in SUITES:
        raise BitLockerFailed(f"the volume is encrypted with {metadata.cipher_name}")


def _check_size(source: BlockSource, metadata: Metadata) -> None:
    if metadata.encrypted_size_bytes > source.size_bytes:
        raise DiskOperationFailed(
            f"the encrypted volume has {metadata.encrypted_size_bytes} bytes, "
            f"but the device or image ends after {source.size_bytes}"
        )


def _master_key(metadata: Metadata, opener: Opener) -> bytes:
    candidates = [protector for protector in metadata.protectors if protector.kind == opener.kind]
    if not candidates:
        raise BitLockerProtectorNotFound(
            f"volume {metadata.volume_guid} has no {opener.kind} protector; it has {_kinds(metadata)}"
        )
    malformed: list[str] = []
    for protector in candidates:
        try:
            key = _open(protector, opener)
        except BitLockerFailed as error:
            malformed.append(error.detail)
            continue
        if key is not None:
            return key.reveal()
    if len(malformed) == len(candidates):
        raise BitLockerFailed("; ".join(malformed))
    named = ", ".join(str(protector.guid) for protector in candidates)
    raise BitLockerKeyInvalid(
        f"the {opener.kind} opens none of the {len(candidates)} {opener.kind} protectors "
        f"of volume {metadata.volume_guid} ({named})"
    )


def _open(protector: Protector, opener: Opener) -> Key | None:
    containers = [entry for entry in protector.entries if entry.type == TYPE_AES_CCM]
    if not containers:
        raise BitLockerFailed(f"{protector.kind} protector {protector.guid} holds no encrypted key")
    intermediate = opener.intermediate_key(protector)
    for container in containers:
        key = unwrap(container, intermediate)
        if key is not None and len(key) == _VMK_BYTES:
            return key
    return None


def _check_authentic(metadata: Metadata, master_key: bytes) -> None:
    """The master key vouches for the metadata: without it, a stranger could move the regions."""
    validation = metadata.block.validation
    if validation is None:
        raise BitLockerFailed("the metadata carries no proof of authenticity")
    proof = unwrap(validation, master_key)
    if proof is None or not hmac.compare_digest(proof.reveal(), sha256(metadata.block.raw).digest()):
        raise BitLockerFailed(f"metadata copy {metadata.copy_used} was changed without the volume's key")


def _volume_key(metadata: Metadata, master_key: bytes) -> Key:
    for entry in metadata.block.entries:
        if entry.role == ROLE_FVEK and entry.type == TYPE_AES_CCM:
            key = unwrap(entry, master_key)
            if key is not None:
                return _checked(key, metadata)
    raise BitLockerFailed("the volume's master key opens no volume key")


def _checked(key: Key, metadata: Metadata) -> Key:
    if key.method != metadata.cipher:
        raise BitLockerFailed(
            f"the volume key is for cipher 0x{key.method:04x}, the metadata says 0x{metadata.cipher:04x}"
        )
    return key


def _kinds(metadata: Metadata) -> str:
    kinds = sorted({str(protector.kind) for protector in metadata.protectors})
    return ", ".join(kinds) if kinds else "no protector at all"
