"""Settings that change while the station runs: what is taken over, and what needs a restart."""

from __future__ import annotations

from dataclasses import dataclass, replace

from agent.config import Settings


@dataclass(frozen=True, slots=True)
class Adopted:
    """``settings`` to go on with; names of those that changed, and of those that stay until a restart."""

    settings: Settings
    changed: tuple[str, ...]
    held: tuple[str, ...]


def adopt(old: Settings, new: Settings) -> Adopted:
    """Take over from ``new`` what can change under running drives.

    Caps and the credential count at once, ``transfer`` for drives that begin later.
    """
    differs = {
        "state_dir": old.state_dir != new.state_dir,
        "store.kind": old.store.kind != new.store.kind,
        "store.address": old.store.address != new.store.address,
        "store.credential": old.store.identity != new.store.identity
        or (old.store.credential is None) != (new.store.credential is None),
        "image": old.images != new.images,
        "key_file": old.key_file != new.key_file,
        "metrics.listen": old.metrics != new.metrics,
        "api": old.api != new.api,
        "catalog": old.catalog != new.catalog,
        "notify": old.notify != new.notify,
        "devices": old.devices != new.devices,
        "bays": dict(old.bays) != dict(new.bays),
    }
    held = tuple(name for name, is_other in differs.items() if is_other)
    store = old.store
    if not any(name.startswith("store.") for name in held):
        store = new.store
    settings = replace(
        new,
        state_dir=old.state_dir,
        store=store,
        images=old.images,
        devices=old.devices,
        bays=old.bays,
        key_file=old.key_file,
        metrics=old.metrics,
        api=old.api,
        catalog=old.catalog,
        notify=old.notify,
    )
    changes = {
        "store.credential_file": old.store.credential != store.credential,
        "transfer": old.transfer != new.transfer,
        "concurrency": old.concurrency != new.concurrency,
        "bandwidth.station": old.bandwidth.station != new.bandwidth.station,
        "bandwidth.account": old.bandwidth.account != new.bandwidth.account,
        "bandwidth.jobs": dict(old.bandwidth.jobs) != dict(new.bandwidth.jobs),
    }
    return Adopted(settings, tuple(name for name, is_other in changes.items() if is_other), held)
