"""The settings of a catalog that stations share: the table ``[catalog]``."""

from __future__ import annotations

import os
import platform
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from agent.errors import ConfigInvalid
from agent.model.secrets import Secret

CREDENTIAL = "catalog.password"
"""The name under which the service manager hands over the password."""
DEFAULT_LEASE_S, SHORTEST_LEASE_S, LONGEST_LEASE_S = 600, 180, 86_400
MAX_PASSWORD_BYTES = 4096
_NAMES = ("url", "password_file", "station", "lease_s")
_STATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class CatalogSettings:
    """``url`` None: the catalog is a file in the state directory, and nobody else's.

    ``password_file`` None: the server knows this station without a password.
    """

    url: str | None = None
    password_file: Path | None = None
    station: str = ""
    lease_s: int = DEFAULT_LEASE_S

    def password(self) -> Secret | None:
        """From its file. Raises ConfigInvalid."""
        return None if self.password_file is None else _read_password(self.password_file)


def read_catalog(table: Any, environment: Mapping[str, str]) -> CatalogSettings:
    """From the table ``[catalog]``. Raises ConfigInvalid naming the setting."""
    if not isinstance(table, dict):
        raise ConfigInvalid("catalog must be a table")
    if unknown := sorted(set(table) - set(_NAMES)):
        raise ConfigInvalid(
            f"there is no setting catalog.{unknown[0]}; known are {', '.join(sorted(_NAMES))}"
        )
    url = environment.get("INGEST_AGENT_CATALOG_URL") or table.get("url")
    if url is None:
        if table:
            raise ConfigInvalid(f"catalog.{sorted(table)[0]} goes with catalog.url only")
        return CatalogSettings()
    lease_s = table.get("lease_s", DEFAULT_LEASE_S)
    is_number = isinstance(lease_s, int) and not isinstance(lease_s, bool)
    if not is_number or not SHORTEST_LEASE_S <= lease_s <= LONGEST_LEASE_S:
        raise ConfigInvalid(
            f"catalog.lease_s must be a number from {SHORTEST_LEASE_S} to {LONGEST_LEASE_S} (seconds)"
        )
    return CatalogSettings(_url(url), _password_file(table, environment), _station(table), lease_s)


def _url(named: Any) -> str:
    """Its text is not told: somebody may have put a password into it."""
    shape = "catalog.url must be postgresql://USER@HOST/DATABASE"
    if not isinstance(named, str) or not named.isprintable():
        raise ConfigInvalid(shape)
    try:
        parts = urlsplit(named)
        is_there, password = bool(parts.path.strip("/")), parts.password
        _ = parts.port
    except ValueError:
        raise ConfigInvalid(shape) from None
    if parts.scheme != "postgresql" or not is_there:
        raise ConfigInvalid(shape)
    if password is not None or "password" in parse_qs(parts.query):
        raise ConfigInvalid("catalog.url must not hold the password: put it into catalog.password_file")
    return named


def _station(table: Mapping[str, Any]) -> str:
    named = table.get("station")
    if named is None:
        return re.sub(r"[^A-Za-z0-9._-]", "-", platform.node())[:63].lstrip("._-") or "station"
    if not isinstance(named, str) or not _STATION.match(named):
        raise ConfigInvalid("catalog.station must be a name of 1 to 63 letters, digits, dots and hyphens")
    return named


def _password_file(table: Mapping[str, Any], environment: Mapping[str, str]) -> Path | None:
    """What the service manager hands over counts before the setting, which says where it comes from."""
    named = table.get("password_file")
    if named is not None and (not isinstance(named, str) or not named):
        raise ConfigInvalid("catalog.password_file must be a path")
    if chosen := environment.get("INGEST_AGENT_CATALOG_PASSWORD_FILE"):
        return Path(chosen).absolute()
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if folder and (handed := Path(folder) / CREDENTIAL).exists():
        return handed
    return Path(named).absolute() if named else None


def _read_password(path: Path) -> Secret:
    try:
        # Non-blocking, so that a pipe in its place cannot hang the start.
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(MAX_PASSWORD_BYTES + 1) if stat.S_ISREG(status.st_mode) else b""
        text = data.decode("utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError):
        raise ConfigInvalid(f"catalog.password_file {path} cannot be read") from None
    # A systemd credential may be root's, readable by an access list, which shows as the group's right.
    if stat.S_IMODE(status.st_mode) & (0o077 if status.st_uid == os.geteuid() else 0o037):
        raise ConfigInvalid(f"catalog.password_file {path} is open to others; it must have mode 0600")
    if not text or len(data) > MAX_PASSWORD_BYTES or "\0" in text:
        raise ConfigInvalid(f"catalog.password_file {path} holds no password")
    return Secret(text)
