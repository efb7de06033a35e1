"""From a credential to a readable volume: protector, master key, authentication, volume key, cipher."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from dataclasses import replace
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
from agent.volume.bitlocker.metadata import DamagedCopy, Metadata, later_copies
from agent.volume.bitlocker.protectors import Protector
from agent.volume.bitlocker.refusals import Refusals, no_such_protector, none_opens
from agent.volume.bitlocker.unwrap import unwrap
from agent.volume.bitlocker.volume import DecryptedVolume
from agent.volume.block import BlockSource

_VMK_BYTES = 32


def unlock(source: BlockSource, metadata: Metadata, credential: Credential) -> DecryptedVolume:
    """The decrypted volume. Takes 0.6 s for each protector of a password's or recovery password's kind.

    ``metadata`` is what ``read_metadata`` said of ``source``. When the credential does not open that
    copy, or its proof of authenticity fails, the later copies are tried; the volume's ``metadata`` is the
    copy that was used in the end.

    Raises BitLockerFailed when the volume is not fully encrypted, has an unknown cipher, or no copy is
    well formed and authentic; DiskOperationFailed when the source ends before the encrypted volume does;
    BitLockerProtectorNotFound when no protector is of the credential's kind; BitLockerKeyInvalid when
    the credential opens none of them.
    """
    opener = opener_for(credential)
    _check_any_supported(source, metadata)
    refusals = Refusals(metadata.copy_problems)
    for copy in _copies(source, metadata):
        if isinstance(copy, DamagedCopy):
            refusals.add_damaged(copy)
            continue
        try:
            master_key = _master_key(copy, opener)
        except (BitLockerFailed, BitLockerKeyInvalid, BitLockerProtectorNotFound) as error:
            refusals.add(copy, error)
            continue
        trouble = _proof_trouble(copy, master_key)
        if trouble is None:
            return _decrypted(source, replace(copy, copy_problems=refusals.problems), master_key)
        refusals.add_forged(copy, trouble)
    raise refusals.verdict()


def _copies(source: BlockSource, metadata: Metadata) -> Iterator[Metadata | DamagedCopy]:
    yield metadata
    yield from later_copies(source, metadata)


def _check_any_supported(source: BlockSource, metadata: Metadata) -> None:
    """Refuse without asking for a key what no copy says can be read.

    Which copy is to be believed, only the key can tell.
    """
    try:
        _check_supported(source, metadata)
    except (BitLockerFailed, DiskOperationFailed):
        for copy in later_copies(source, metadata):
            if isinstance(copy, Metadata) and _is_supported(source, copy):
                return
        raise


def _is_supported(source: BlockSource, copy: Metadata) -> bool:
    try:
        _check_supported(source, copy)
    except (BitLockerFailed, DiskOperationFailed):
        return False
    return True


def _check_supported(source: BlockSource, copy: Metadata) -> None:
    if copy.state_refusal is not None:
        raise BitLockerFailed(copy.state_refusal)
    if copy.cipher not in SUITES:
        raise BitLockerFailed(f"the volume is encrypted with {copy.cipher_name}")
    if copy.encrypted_size_bytes > source.size_bytes:
        raise DiskOperationFailed(
            f"the encrypted volume has {copy.encrypted_size_bytes} bytes, "
            f"but the device or image ends after {source.size_bytes}"
        )


def _master_key(copy: Metadata, opener: Opener) -> bytes:
    candidates = [protector for protector in copy.protectors if protector.kind == opener.kind]
    if not candidates:
        raise no_such_protector(copy, opener.kind)
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
    raise none_opens(copy, opener.kind, candidates)


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


def _proof_trouble(copy: Metadata, master_key: bytes) -> str | None:
    """The master key vouches for the metadata: without it, a stranger could move the regions."""
    validation = copy.block.validation
    if validation is None:
        return "it carries no proof of authenticity"
    try:
        proof = unwrap(validation, master_key)
    except BitLockerFailed as error:
        return f"its proof of authenticity is malformed: {error.detail}"
    if proof is None or not hmac.compare_digest(proof.reveal(), sha256(copy.block.raw).digest()):
        return "it was changed without the volume's key"
    return None


def _decrypted(source: BlockSource, metadata: Metadata, master_key: bytes) -> DecryptedVolume:
    """``metadata`` is authentic."""
    _check_supported(source, metadata)
    cipher = make_cipher(_volume_key(metadata, master_key), metadata.sector_size)
    return DecryptedVolume(source, metadata, cipher)


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
