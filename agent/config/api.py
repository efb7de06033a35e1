"""The settings of the job API: the table ``[api]``."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agent.config.tables import MAX_SOCKET_PATH_BYTES, PORT, known
from agent.errors import ConfigInvalid
from agent.model.locations import Location
from agent.model.roles import Role

MAX_LOCATIONS = 100
MAX_TEXT_CHARS = 256
NIL_SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
_NAMES = (
    "socket",
    "socket_role",
    "listen",
    "certificate",
    "certificate_key",
    "public_url",
    "subscription",
    "resource_group",
    "location",
)


@dataclass(frozen=True, slots=True)
class TcpSettings:
    """Where the API is served over TLS, and the files (PEM) that it proves itself with."""

    host: str
    port: int
    certificate: Path
    certificate_key: Path


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """``socket`` None: no Unix socket is served. ``socket_role`` None: a token is asked for there too.

    ``subscription`` and ``resource_group`` are where jobs show that were filed at the station itself.
    ``is_chosen``: somebody named the socket, so it must be served.
    """

    socket: Path | None = None
    socket_role: Role | None = Role.OPERATOR
    is_chosen: bool = False
    tcp: TcpSettings | None = None
    public_url: str | None = None
    subscription: str = NIL_SUBSCRIPTION
    resource_group: str = "station"
    locations: tuple[Location, ...] = field(default=())


def read_api(table: Any, state_dir: Path, environment: Mapping[str, str]) -> ApiSettings:
    """From the table ``[api]``. Raises ConfigInvalid naming the setting."""
    known(table, "api", _NAMES)
    texts = {name: _text(table, name) for name in _NAMES if name != "location"}
    named = environment.get("INGEST_AGENT_API_SOCKET", texts["socket"])
    scope = {name: text for name in ("subscription", "resource_group") if (text := texts[name])}
    return ApiSettings(
        socket=_default_socket(state_dir, environment) if named is None else _socket(named),
        socket_role=_role(texts["socket_role"]),
        is_chosen=named is not None,
        tcp=_tcp(texts),
        public_url=_public_url(texts["public_url"]),
        locations=_locations(table.get("location", [])),
        **scope,
    )


def _text(table: Mapping[str, Any], name: str) -> str | None:
    value = table.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value.isprintable() or len(value) > 4096:
        raise ConfigInvalid(f"api.{name} must be a text")
    return value


def _default_socket(state_dir: Path, environment: Mapping[str, str]) -> Path:
    runtime = environment.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return (Path(runtime) if runtime else state_dir.absolute()) / "api.sock"


def _socket(named: str) -> Path | None:
    if not named:
        return None
    if not named.startswith("/") or len(os.fsencode(named)) > MAX_SOCKET_PATH_BYTES:
        raise ConfigInvalid(f"api.socket must be a whole path of at most {MAX_SOCKET_PATH_BYTES} bytes")
    return Path(named)


def _role(named: str | None) -> Role | None:
    if named == "token":
        return None
    try:
        return Role(named or Role.OPERATOR)
    except ValueError:
        raise ConfigInvalid(f"api.socket_role must be token, {', '.join(Role)}") from None


def _tcp(texts: Mapping[str, str | None]) -> TcpSettings | None:
    listen, certificate, key = texts["listen"], texts["certificate"], texts["certificate_key"]
    if not listen:
        if certificate or key:
            raise ConfigInvalid("api.certificate and api.certificate_key go with api.listen only")
        return None
    if not certificate or not key:
        raise ConfigInvalid("api.listen needs TLS: api.certificate and api.certificate_key, files in PEM")
    host, colon, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ConfigInvalid("api.listen must be ADDRESS:PORT or [ADDRESS]:PORT, as 0.0.0.0:8443") from None
    if not colon or not PORT.match(port) or not 0 <= int(port) < 65536:
        raise ConfigInvalid("api.listen has no port from 0 to 65535")
    return TcpSettings(host, int(port), Path(certificate), Path(key))


def _public_url(named: str | None) -> str | None:
    if not named:
        return None
    parts = urlsplit(named)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise ConfigInvalid(
            "api.public_url must be what clients reach this API under, as https://ingest.example"
        )
    return named.rstrip("/")


def _locations(tables: Any) -> tuple[Location, ...]:
    if not isinstance(tables, list) or len(tables) > MAX_LOCATIONS:
        raise ConfigInvalid("api.location must be a list of tables: write [[api.location]]")
    found = tuple(_location(number, table) for number, table in enumerate(tables, 1))
    if len({one.key for one in found}) < len(found):
        raise ConfigInvalid("api.location: a name stands there twice")
    return found


def _location(number: int, table: Any) -> Location:
    place = f"api.location[{number}]"
    known(table, place, [one.name for one in fields(Location)])
    carriers = table.get("supported_carriers", [])
    if not isinstance(carriers, list) or not all(isinstance(one, str) and one for one in carriers):
        raise ConfigInvalid(f"{place}.supported_carriers must be a list of names")
    texts = {name: value for name, value in table.items() if name != "supported_carriers"}
    for name, value in texts.items():
        if not isinstance(value, str) or not value.isprintable() or len(value) > MAX_TEXT_CHARS:
            raise ConfigInvalid(f"{place}.{name} must be a text of at most {MAX_TEXT_CHARS} characters")
    try:
        found = Location(**texts, supported_carriers=tuple(carriers))
    except TypeError:
        needed = "name, recipient_name, street_address1, city, postal_code, country_or_region and phone"
        raise ConfigInvalid(f"{place} needs {needed}") from None
    if not found.key or not found.name.isascii() or "/" in found.name:
        raise ConfigInvalid(f"{place}.name must be a name such as West US")
    return found
