"""Where an Azure Blob account is, and by what right we come."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qs, quote, urlsplit

from agent.errors import ConfigInvalid
from agent.model.blobs import BlobName
from agent.model.secrets import Secret

# Old enough for every emulator and sovereign cloud; nothing here needs a newer one.
API_VERSION = "2024-11-04"

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
CONNECTIONS = 32

_HOST_FEATURES = ("-secondary", "-ipv6", "-dualstack")


@dataclass(frozen=True, slots=True)
class AccountKey:
    """The bytes of an account's key."""

    account: str
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SharedSignature:
    """A SAS, as a query string."""

    query: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Account:
    """``endpoint`` without a slash at its end, the account's name, and host:port for messages."""

    endpoint: str
    name: str
    host: str

    @classmethod
    def of(cls, endpoint: str) -> Account:
        """``https://ACCOUNT.blob.SUFFIX`` of any cloud, or ``http://HOST:PORT/ACCOUNT``.

        Raises ConfigInvalid, and then does not show the endpoint's query, which may be a SAS.
        """
        try:
            parts = urlsplit(endpoint.strip())
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            raise ConfigInvalid("the store's endpoint is not a URL") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigInvalid("the store's endpoint must begin with https:// or http:// and name a host")
        if parts.query or parts.fragment or parts.username or parts.password:
            raise ConfigInvalid(
                f"the store's endpoint on {parts.hostname} must hold no credential and no query"
            )
        path = parts.path.strip("/")
        clean = f"{parts.scheme}://{parts.netloc}" + (f"/{path}" if path else "")
        return cls(clean, _account_name(parts, path), f"{_bracketed(parts.hostname)}:{port}")

    def url(self, name: BlobName) -> str:
        """The blob's address, without any credential."""
        return f"{self.endpoint}/{name.container}/{quote(name.path, safe='/~')}"


def _account_name(parts: SplitResult, path: str) -> str:
    host = parts.hostname or ""
    if path:
        name, slash, _ = path.partition("/")
        if slash:
            raise ConfigInvalid(f"the store's endpoint on {host} must end after the account's name")
        return name
    if _is_address(host) or "." not in host:
        raise ConfigInvalid(f"the store's endpoint on {host} must name the account: http://HOST:PORT/ACCOUNT")
    label = host.split(".")[0]
    for feature in _HOST_FEATURES:
        label = label.removesuffix(feature)
    return label


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def right_of(account: Account, credential: Secret | None) -> AccountKey | SharedSignature | None:
    """An account key is Base64; a SAS is a query string with a ``sig``. Raises ConfigInvalid."""
    if credential is None:
        return None
    text = credential.reveal().strip()
    if parse_qs(text.removeprefix("?")).get("sig"):
        return SharedSignature(text.removeprefix("?"))
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ConfigInvalid("the store credential is neither an account key (Base64) nor a SAS (with sig=)")
    return AccountKey(account.name, key)
