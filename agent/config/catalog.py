"""The settings of a catalog that stations share: the table ``[catalog]``."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from agent.config.secretfile import read_secret
from agent.config.tables import handed, known, path
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
        if self.password_file is None:
            return None
        what = f"catalog.password_file {self.password_file}"
        return Secret(read_secret(self.password_file, what, MAX_PASSWORD_BYTES))


def read_catalog(table: Any, environment: Mapping[str, str]) -> CatalogSettings:
    """From the table ``[catalog]``. Raises ConfigInvalid naming the setting."""
    known(table, "catalog", _NAMES)
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
    named = path(table, "catalog", "password_file")
    if chosen := environment.get("INGEST_AGENT_CATALOG_PASSWORD_FILE"):
        return Path(chosen).absolute()
    return handed(environment, CREDENTIAL) or named
