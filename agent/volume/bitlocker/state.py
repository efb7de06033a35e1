"""How far the conversion of a volume got, as its metadata tells, and what people are told of it.

The numbers: 1 decrypted, 2 converting, 3 encrypt-on-write begun, 4 encrypted, 5 conversion paused. The
state that is to follow tells which way a conversion goes.
"""

from __future__ import annotations

DECRYPTED = 1
CONVERTING = 2
ENCRYPT_ON_WRITE = 3
ENCRYPTED = 4
PAUSED = 5

_NAMES = {
    (DECRYPTED, DECRYPTED): "decrypted",
    (DECRYPTED, ENCRYPTED): "about to be encrypted",
    (CONVERTING, ENCRYPTED): "being encrypted",
    (CONVERTING, DECRYPTED): "being decrypted",
    (PAUSED, ENCRYPTED): "encryption paused",
    (PAUSED, DECRYPTED): "decryption paused",
    (ENCRYPTED, ENCRYPTED): "encrypted",
    (ENCRYPTED, DECRYPTED): "about to be decrypted",
}
_UNFINISHED = "encryption not finished"

_REFUSALS = {
    "decrypted": "BitLocker is switched off: the volume is decrypted, but keeps its BitLocker header",
    "about to be encrypted": "encryption not started: the volume is about to be encrypted",
    "being encrypted": "encryption not finished: the volume is being encrypted",
    "being decrypted": "decryption not finished: the volume is being decrypted",
    "encryption paused": "encryption not finished: it was paused half-way",
    "decryption paused": "decryption not finished: it was paused half-way",
    "about to be decrypted": "decryption was ordered: the volume is encrypted and about to be decrypted",
    _UNFINISHED: "encryption not finished: Windows encrypts the volume while it is used (encrypt-on-write)",
}


def _is_fully_encrypted(current: int, following: int, *, encrypt_on_write: bool) -> bool:
    """A volume under encrypt-on-write claims to be encrypted from the start: its boot sector tells."""
    return not encrypt_on_write and current == following == ENCRYPTED


def state_name(current: int, following: int, *, encrypt_on_write: bool) -> str:
    """For people: ``encrypted``, ``being decrypted`` and the like."""
    if current == ENCRYPT_ON_WRITE or (encrypt_on_write and current != DECRYPTED):
        return _UNFINISHED
    return _NAMES.get((current, following), f"state {current}, going to {following}")


def refusal(current: int, following: int, *, encrypt_on_write: bool) -> str | None:
    """Why a volume in this state is not read; None for one that is fully encrypted."""
    if _is_fully_encrypted(current, following, encrypt_on_write=encrypt_on_write):
        return None
    name = state_name(current, following, encrypt_on_write=encrypt_on_write)
    said = _REFUSALS.get(name, "the volume is in no state that is known to be fully encrypted")
    return f"{said} (state {current}, going to {following})"
