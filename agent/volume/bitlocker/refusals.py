"""What is said when no metadata copy opens: which error it is, and what each copy's trouble was."""

from __future__ import annotations

from collections.abc import Sequence

from agent.errors import (
    BitLockerFailed,
    BitLockerKeyInvalid,
    BitLockerProtectorNotFound,
    DriveError,
)
from agent.volume.bitlocker.metadata import DamagedCopy, Metadata
from agent.volume.bitlocker.protectors import Protector, ProtectorKind

_SHOWN = 6
_PEOPLE_HOLD = (
    ProtectorKind.CLEAR_KEY,
    ProtectorKind.STARTUP_KEY,
    ProtectorKind.RECOVERY_PASSWORD,
    ProtectorKind.PASSWORD,
)


class Refusals:
    """Collects the troubles of the copies, in their order."""

    def __init__(self, problems: Sequence[str]) -> None:
        """``problems`` are those of the copies before the first that is tried."""
        self._problems = list(problems)
        self._errors: list[DriveError] = []
        self._said: set[str] = set()
        self._is_forged = False

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each copy that was passed over."""
        return tuple(self._problems)

    def add_damaged(self, copy: DamagedCopy) -> None:
        self._problems.append(copy.problem)

    def add(self, copy: Metadata, error: DriveError) -> None:
        """The credential did not open this copy."""
        self._add(copy, error.detail)
        self._errors.append(error)

    def add_forged(self, copy: Metadata, trouble: str) -> None:
        """The credential opened this copy, but its proof does not hold."""
        self._add(copy, trouble)
        self._is_forged = True

    def _add(self, copy: Metadata, trouble: str) -> None:
        self._problems.append(f"{copy.place}: {'the same' if trouble in self._said else trouble}")
        self._said.add(trouble)

    def verdict(self) -> DriveError:
        """The error of the volume.

        A key that opened a copy is right, whatever the others say. Otherwise a wrong key counts for more
        than a missing protector, and that for more than a malformed one: the sounder copy is believed.
        When all tried copies say the same and it is about the key, they need not be named.
        """
        if not self._is_forged:
            for decision in (BitLockerKeyInvalid, BitLockerProtectorNotFound):
                said = [error for error in self._errors if isinstance(error, decision)]
                if said and all(error.detail == said[0].detail for error in self._errors):
                    return said[0]
                if said:
                    return decision(self._all())
        return BitLockerFailed(self._all())

    def _all(self) -> str:
        return "no metadata copy can be used: " + "; ".join(self._problems)


def no_such_protector(copy: Metadata, kind: ProtectorKind) -> BitLockerProtectorNotFound:
    """Names the protectors that there are, for people look up their keys by these identifiers."""
    if not copy.protectors:
        return BitLockerProtectorNotFound(f"volume {copy.volume_guid} has no protector at all")
    said = f"volume {copy.volume_guid} has no {kind} protector; it has {_named(copy.protectors)}"
    if not any(protector.kind in _PEOPLE_HOLD for protector in copy.protectors):
        said += ", and no key that can be handed over opens such a volume"
    return BitLockerProtectorNotFound(said)


def none_opens(copy: Metadata, kind: ProtectorKind, tried: Sequence[Protector]) -> BitLockerKeyInvalid:
    """``tried`` are all protectors of the kind."""
    return BitLockerKeyInvalid(
        f"the {kind} opens none of the {len(tried)} {kind} protectors of volume {copy.volume_guid} "
        f"({_listed([str(protector.guid) for protector in tried])})"
    )


def _named(protectors: Sequence[Protector]) -> str:
    return _listed(sorted(f"{protector.kind} {protector.guid}" for protector in protectors))


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
