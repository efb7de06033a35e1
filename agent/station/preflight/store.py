"""Checks of the store: that it answers, is what it should be, and lets the station in."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

from agent.blobs.opening import open_store
from agent.blobs.probe import Probed, probe
from agent.config import Settings
from agent.errors import IngestError
from agent.model.destination import DEFAULT_DIAGNOSTICS
from agent.station.preflight.finding import Finding, failed, passed, skipped, warning

MOST_SKEW, SOME_SKEW = timedelta(minutes=10), timedelta(minutes=1)
"""The service refuses a signature whose time is 15 minutes off."""


async def checks(settings: Settings, now: datetime) -> AsyncIterator[Finding]:
    """``now`` is UTC."""
    if settings.store.kind != "azure":
        yield folder(Path(settings.store.address))
        return
    try:
        probed = await probe(settings.store.address)
    except IngestError as error:
        yield failed("endpoint", error.detail, error.next_step)
        yield skipped("containers", "the store does not answer")
        return
    for finding in _of(probed, now):
        yield finding
    yield await containers(settings)


def _of(probed: Probed, now: datetime) -> list[Finding]:
    if not probed.is_blob_service:
        fix = "check store.address: it must be the account's blob endpoint, and no proxy may answer for it"
        return [failed("endpoint", "something answers that is no Blob service", fix)]
    found = [_encryption(probed), _version(probed)]
    if probed.at is not None:
        found.append(_skew(now - probed.at))
    return found


def _encryption(probed: Probed) -> Finding:
    if probed.is_encrypted:
        return passed("endpoint", "it answers over TLS, with a certificate that is trusted")
    return warning(
        "endpoint", "it answers, but not over TLS: blobs cross the network in the clear", "use https://"
    )


def _version(probed: Probed) -> Finding:
    if probed.takes_version:
        return passed("API version", "the service takes it")
    return failed(
        "API version",
        "the service does not know the version that this program speaks",
        "update the emulator or the private cloud that stands in for the service",
    )


def _skew(skew: timedelta) -> Finding:
    said = f"this machine's clock is {abs(skew.total_seconds()):.0f} s from the store's"
    if abs(skew) > MOST_SKEW:
        return failed("clock and store", said, "set the clock: timedatectl set-ntp true")
    if abs(skew) > SOME_SKEW:
        return warning("clock and store", said, "set the clock: timedatectl set-ntp true")
    return passed("clock and store", said)


def folder(path: Path) -> Finding:
    """The folder of a directory store can be written, or made; nothing is made here, least of all by root."""
    there = next((place for place in (path, *path.parents) if os.path.exists(place)), Path("/"))
    if os.access(there, os.W_OK | os.X_OK):
        return passed("store", f"blobs go to {path}, which can be written")
    return failed("store", f"this user may not write {there}", f"let drive-ingest own {path}")


async def containers(settings: Settings) -> Finding:
    """The container for logs, which every job makes, can be made, or is there."""
    store = settings.store
    try:
        opened = open_store(store.kind, store.address, store.credential, identity=store.identity)
        try:
            await opened.ensure_container(DEFAULT_DIAGNOSTICS)
        finally:
            await opened.close()
    except IngestError as error:
        return failed("containers", error.detail, error.next_step)
    return passed("containers", f"container {DEFAULT_DIAGNOSTICS} is there or was made")
