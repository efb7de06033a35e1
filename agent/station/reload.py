"""Settings that change while the station runs: what is taken over, and what needs a restart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from agent.config import Settings, StoreSettings


@dataclass(frozen=True, slots=True)
class Adopted:
    """``settings`` to go on with; names of those that changed, and of those that stay until a restart."""

    settings: Settings
    changed: tuple[str, ...]
    held: tuple[str, ...]


_HELD = {
    "state_dir": "state_dir",
    "image": "images",
    "key_file": "key_file",
    "metrics.listen": "metrics",
    "api": "api",
    "catalog": "catalog",
    "notify": "notify",
    "devices": "devices",
    "bays": "bays",
}
"""Fields that stay until a restart, by the names of their settings; of the store see ``_held_of``."""


def adopt(old: Settings, new: Settings) -> Adopted:
    """Take over from ``new`` what can change under running drives.

    Caps and the credential count at once, ``transfer`` for drives that begin later.
    """
    held = [name for name, field in _HELD.items() if getattr(old, field) != getattr(new, field)]
    held_of_store = [*_held_of(old.store, new.store)]
    kept = {field: getattr(old, field) for field in _HELD.values()}
    settings = replace(new, **kept, store=old.store if held_of_store else new.store)
    return Adopted(settings, tuple(_changed(old, settings)), (*held, *held_of_store))


def _held_of(old: StoreSettings, new: StoreSettings) -> Iterator[str]:
    if old.kind != new.kind:
        yield "store.kind"
    if old.address != new.address:
        yield "store.address"
    if old.identity != new.identity or (old.credential is None) != (new.credential is None):
        yield "store.credential"


def _changed(old: Settings, new: Settings) -> Iterator[str]:
    if old.store.credential != new.store.credential:
        yield "store.credential_file"
    for name in ("transfer", "concurrency"):
        if getattr(old, name) != getattr(new, name):
            yield name
    for name in ("station", "account", "jobs"):
        if getattr(old.bandwidth, name) != getattr(new.bandwidth, name):
            yield f"bandwidth.{name}"
