"""Checks of what lies on this machine's own disk: state, the key of keys, the store's credential."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from agent.blobs.opening import check_store
from agent.blobs.sas import expiry_of, shown_time
from agent.catalog.keybox import KeyBox
from agent.config import Settings
from agent.errors import ConfigInvalid, StateUnusable
from agent.station.preflight.finding import Finding, failed, passed, skipped, warning

GIGABYTE = 1_000_000_000
TIGHT_BYTES, ENOUGH_BYTES = 1 * GIGABYTE, 10 * GIGABYTE
MOST_NAMED = 5
RENEW_BEFORE = timedelta(days=7)
RENEW = "put a new one into its file, and systemctl reload (or restart) drive-ingest-agent"


def _is_absent(path: Path) -> bool:
    """Whether nothing is there; what this user may not look at counts as there."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def state_folder(folder: Path) -> Finding:
    """It is there, this user may write it and what is in it, and nobody else may look into it."""
    if _is_absent(folder):
        return skipped("state", f"{folder} is not there yet; the first start makes it")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return failed(
            "state",
            f"this user may not write {folder}",
            f"runuser -u drive-ingest -- ingest-agent doctor, or: chown -R drive-ingest: {folder}",
        )
    if closed := sorted(each.name for each in folder.iterdir() if _is_closed(each)):
        said = f"this user may not write {', '.join(closed[:MOST_NAMED])} in {folder}"
        return failed("state", said, f"chown -R drive-ingest: {folder}")
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o077:
        return warning("state", f"{folder} is open to others (mode {mode:04o})", f"chmod 0700 {folder}")
    return passed("state", f"{folder} can be written by this user alone")


def _is_closed(path: Path) -> bool:
    """Whether it is somebody else's, as what a command leaves that root gave; its owner may open it again."""
    try:
        owner = path.lstat().st_uid
    except OSError:
        return False  # it is gone meanwhile
    return owner != os.geteuid() and not os.access(path, os.R_OK | os.W_OK)


def state_space(folder: Path) -> Finding:
    """There is room for journals and logs, also where the folder is yet to be made."""
    there = next((place for place in (folder, *folder.parents) if os.path.exists(place)), Path("/"))
    found = os.statvfs(there)
    free = found.f_bavail * found.f_frsize
    said = f"{free / GIGABYTE:.1f} GB are free at {there}"
    fix = "make room, or move state_dir to a larger disk: a drive of many files needs some gigabytes"
    if free < TIGHT_BYTES:
        return failed("state disk", said, fix)
    return warning("state disk", said, fix) if free < ENOUGH_BYTES else passed("state disk", said)


def catalog_key(path: Path) -> Finding:
    """The key of the keys in the catalog can be read, by this user alone."""
    if _is_absent(path):
        return skipped("catalog key", f"{path} is not there yet; the first start makes it")
    try:
        KeyBox.from_file(path)
    except StateUnusable as error:
        return failed("catalog key", error.detail, f"chmod 0600 {path}, and let the service's user own it")
    return passed("catalog key", f"{path} can be read")


def credential_file(settings: Settings, environment: Mapping[str, str]) -> Finding:
    """The store's credential is nobody else's to read."""
    path = settings.store.credential_file
    if path is None:
        why = settings.store.identity.kind if settings.store.identity else f"a {settings.store.kind} store"
        return skipped("credential file", f"none is needed: {why}")
    handed = environment.get("CREDENTIALS_DIRECTORY")
    if handed and path.is_relative_to(handed):
        return passed("credential file", "the service manager hands it over")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o027:
        return failed("credential file", f"{path} is open to others (mode {mode:04o})", f"chmod 0600 {path}")
    return passed("credential file", f"{path} is this user's alone (mode {mode:04o})")


def credential(settings: Settings, now: datetime) -> Finding:
    """It is well formed, permits enough, and holds for some time. ``now`` is UTC."""
    store = settings.store
    try:
        check_store(store.kind, store.address, store.credential, store.identity)
        ends = expiry_of(store.credential.reveal()) if store.credential is not None else None
    except ConfigInvalid as error:
        return failed("credential", error.detail, error.next_step)
    if store.credential is None:
        return skipped("credential", "the store asks for no secret")
    if ends is None:
        return passed("credential", "it names no end of its own")
    if ends - now < RENEW_BEFORE:
        return warning("credential", f"the SAS ends at {shown_time(ends)}", RENEW)
    return passed("credential", f"the SAS holds until {shown_time(ends)}")
