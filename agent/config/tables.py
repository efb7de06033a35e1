"""What all tables of the settings share: known names, and kinds of values."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from agent.errors import ConfigInvalid

MAX_SOCKET_PATH_BYTES = 107
"""Linux: sun_path of unix(7), less its last zero."""
PORT = re.compile(r"[0-9]{1,5}\Z", re.ASCII)


def known(table: Any, place: str, names: Collection[str]) -> Mapping[str, Any]:
    """The table itself, when it is one and has no other names. ``place`` is empty for the whole file.

    Raises ConfigInvalid.
    """
    if not isinstance(table, dict):
        raise ConfigInvalid(f"{place} must be a table")
    if unknown := sorted(set(table) - set(names)):
        name = f"{place}.{unknown[0]}" if place else unknown[0]
        raise ConfigInvalid(
            f"there is no setting {name}{_meant(unknown[0], names)}; known are {', '.join(sorted(names))}"
        )
    return table


def _meant(name: str, names: Collection[str]) -> str:
    # Here, for only who mistypes needs it.
    from difflib import get_close_matches

    close = get_close_matches(name, sorted(names), n=1)
    return f" (is it {close[0]}?)" if close else ""


def number(table: Mapping[str, Any], place: str, name: str, default: int, low: int, high: int) -> int:
    """From ``low`` to ``high``. Raises ConfigInvalid."""
    value = table.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigInvalid(f"{place}.{name} must be a number from {low} to {high}")
    return value


def path(table: Mapping[str, Any], place: str, name: str) -> Path | None:
    """None where it is not named. Raises ConfigInvalid."""
    value = table.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value or "\0" in value:
        raise ConfigInvalid(f"{place}.{name} must be a path" if place else f"{name} must be a path")
    return Path(value).absolute()


def handed(environment: Mapping[str, str], name: str) -> Path | None:
    """A credential of systemd (``LoadCredential=``), where there is one of that name."""
    folder = environment.get("CREDENTIALS_DIRECTORY")
    found = Path(folder) / name if folder else None
    return found if found is not None and found.exists() else None


def is_own(host: str) -> bool:
    """Whether it is an address by which nobody but this machine is reached."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
