"""How each kind of credential turns into keys that may open a protector; one opener a kind."""

from __future__ import annotations

from typing import Protocol

from agent.errors import BitLockerFailed, BitLockerKeyInvalid
from agent.model.keys import ClearKey, Credential, Password, RecoveryPassword, StartupKey
from agent.volume.bitlocker.entries import TYPE_KEY, TYPE_STRETCH
from agent.volume.bitlocker.protectors import Protector, ProtectorKind
from agent.volume.bitlocker.startup_key import parse_startup_key, plain_key
from agent.volume.bitlocker.stretch import SALT_BYTES, password_seed, recovery_seed, stretch

MAX_STRETCHES = 100
"""Protectors that one password is tried on: a minute. A drive has two or three of a kind; one on which a
script added another at each logon has dozens."""


class Opener(Protocol):
    """Turns one credential into the key of any protector of its kind."""

    @property
    def kind(self) -> ProtectorKind:
        """The protectors that it is for."""
        ...

    def intermediate_key(self, protector: Protector) -> bytes:
        """32 bytes under which the master key may lie.

        Raises BitLockerFailed when the protector is malformed, BitLockerKeyInvalid after MAX_STRETCHES.
        """
        ...


class StretchedOpener:
    """A password or recovery password; about 0.6 s a protector, the first time it is met."""

    def __init__(self, kind: ProtectorKind, seed: bytes) -> None:
        self.kind = kind
        self._seed = seed
        self._stretched: dict[bytes, bytes] = {}

    def intermediate_key(self, protector: Protector) -> bytes:
        for entry in protector.entries:
            if entry.type == TYPE_STRETCH and len(entry.data) >= 4 + SALT_BYTES:
                return self._stretch(entry.data[4 : 4 + SALT_BYTES])
        raise BitLockerFailed(f"{protector.kind} protector {protector.guid} has no salt")

    def _stretch(self, salt: bytes) -> bytes:
        if salt not in self._stretched:
            if len(self._stretched) == MAX_STRETCHES:
                raise BitLockerKeyInvalid(
                    f"the {self.kind} opens none of the first {MAX_STRETCHES} {self.kind} protectors; "
                    "the others are not tried"
                )
            self._stretched[salt] = stretch(self._seed, salt)
        return self._stretched[salt]


class StartupKeyOpener:
    """A key file. Its GUID names the protector, but the tag of the container is what decides."""

    kind = ProtectorKind.STARTUP_KEY

    def __init__(self, data: bytes) -> None:
        self._external = parse_startup_key(data)

    def intermediate_key(self, protector: Protector) -> bytes:
        return self._external.key.reveal()


class ClearKeyOpener:
    """Protection is suspended: the key lies inside the protector itself."""

    kind = ProtectorKind.CLEAR_KEY

    def intermediate_key(self, protector: Protector) -> bytes:
        for entry in protector.entries:
            if entry.type == TYPE_KEY:
                return plain_key(entry).reveal()
        raise BitLockerFailed(f"{protector.kind} protector {protector.guid} has no key")


def opener_for(credential: Credential) -> Opener:
    """Raises BitLockerKeyInvalid when a startup key file is malformed."""
    match credential:
        case Password(secret):
            return StretchedOpener(ProtectorKind.PASSWORD, password_seed(secret.reveal()))
        case RecoveryPassword():
            return StretchedOpener(ProtectorKind.RECOVERY_PASSWORD, recovery_seed(credential.numbers()))
        case StartupKey(secret):
            return StartupKeyOpener(bytes.fromhex(secret.reveal()))
        case ClearKey():
            return ClearKeyOpener()
