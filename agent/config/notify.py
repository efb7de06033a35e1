"""The settings of notifications: the table ``[notify]`` and its hooks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agent.config.secretfile import read_secret
from agent.config.tables import handed, is_own, known, path
from agent.errors import ConfigInvalid
from agent.model.secrets import Secret

CREDENTIAL = "notify."
"""How the names begin under which the service manager hands over secrets; the hook's name follows."""
MAX_HOOKS = 16
MAX_FILE_BYTES = 4096
MAX_URL_CHARS = 2048
DEFAULT_PAUSED_S, LEAST_PAUSED_S, MOST_PAUSED_S = 3600, 60, 7 * 86_400
_NAMES = ("hook", "paused_after_s")
_OF_HOOK = ("name", "url", "url_file", "secret_file", "ca_file", "events", "details")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}\Z", re.ASCII)
_SECRET_FILE = "secret_file"  # noqa: S105 - the name of a setting


class Kind(StrEnum):
    """What a hook may be told of."""

    COMPLETED = "completed"
    """A drive is finished, without findings."""
    COMPLETED_MORE_INFO = "completed_more_info"
    """A drive is finished; its logs tell of findings."""
    FAULTED = "faulted"
    """A drive or a job makes no progress."""
    PAUSED = "paused"
    """A drive stands still for long."""
    OPERATOR = "operator"
    """Somebody has to do something: drives are late, one came that nobody expects, a job's time is over."""
    HISTORY = "history"
    """The history is not what was written."""
    CREDENTIAL = "credential"
    """The store's credential ends soon, or has ended."""


@dataclass(frozen=True, slots=True)
class Hook:
    """One receiver. ``url`` or ``url_file`` is there, and never both.

    ``details``: what an event says in words is told too; it may name files, or hold what a person wrote.
    An address may hold a secret, and no ``repr`` shows it.
    """

    name: str
    url: str | None = field(default=None, repr=False)
    url_file: Path | None = None
    secret_file: Path | None = None
    ca_file: Path | None = None
    events: frozenset[Kind] = frozenset(Kind)
    details: bool = False

    def address(self) -> Secret:
        """Where to. Blocking. Raises ConfigInvalid."""
        if self.url is not None:
            return Secret(self.url)
        assert self.url_file is not None
        text = read_secret(self.url_file, f"the url_file of hook {self.name}", MAX_FILE_BYTES).strip()
        if not text.isascii() or not text.isprintable() or len(text) > MAX_URL_CHARS:
            raise ConfigInvalid(f"the url_file of hook {self.name} must hold one URL")
        if text.partition(":")[0].lower() in ("http", "https"):
            check_url(text, f"the url_file of hook {self.name}")
        return Secret(text)

    def secrets(self) -> list[Secret]:
        """One a line, at most three: all of them sign. Blocking. Raises ConfigInvalid."""
        if self.secret_file is None:
            raise ConfigInvalid(f"hook {self.name} has no secret_file")
        what = f"the secret_file of hook {self.name}"
        lines = read_secret(self.secret_file, what, MAX_FILE_BYTES).split("\n")
        return [Secret(line.strip()) for line in lines if line.strip()][:3]


@dataclass(frozen=True, slots=True)
class NotifySettings:
    """Without hooks nobody is told. ``paused_after_s``: a drive stands still for long after that."""

    hooks: tuple[Hook, ...] = ()
    paused_after_s: int = DEFAULT_PAUSED_S


def read_notify(table: Any, environment: Mapping[str, str]) -> NotifySettings:
    """From the table ``[notify]``. Raises ConfigInvalid naming the setting."""
    known(table, "notify", _NAMES)
    tables, paused = table.get("hook", []), table.get("paused_after_s", DEFAULT_PAUSED_S)
    if not isinstance(tables, list) or len(tables) > MAX_HOOKS:
        raise ConfigInvalid(
            f"notify.hook must be a list of at most {MAX_HOOKS} tables: write [[notify.hook]]"
        )
    is_number = isinstance(paused, int) and not isinstance(paused, bool)
    if not is_number or not LEAST_PAUSED_S <= paused <= MOST_PAUSED_S:
        raise ConfigInvalid(
            f"notify.paused_after_s must be a number from {LEAST_PAUSED_S} to {MOST_PAUSED_S} (seconds)"
        )
    hooks = tuple(_hook(number, one, environment) for number, one in enumerate(tables, 1))
    if len({hook.name for hook in hooks}) < len(hooks):
        raise ConfigInvalid("notify.hook: a name stands there twice")
    return NotifySettings(hooks, paused)


def _hook(number: int, table: Any, environment: Mapping[str, str]) -> Hook:
    place = f"notify.hook[{number}]"
    known(table, place, _OF_HOOK)
    name, url, details = table.get("name"), table.get("url"), table.get("details", False)
    if not isinstance(name, str) or not _NAME.match(name):
        raise ConfigInvalid(f"{place}.name must be 1 to 32 small letters, digits, dots and hyphens")
    if not isinstance(details, bool):
        raise ConfigInvalid(f"{place}.details must be true or false")
    url_file, secret_file = path(table, place, "url_file"), _secret_file(table, place, name, environment)
    if (url is None) == (url_file is None):
        raise ConfigInvalid(f"{place} needs url or url_file, and not both")
    if url is not None:
        check_url(url, f"{place}.url")
        if secret_file is None:
            raise ConfigInvalid(
                f"{place}.secret_file is missing: a file with whsec_ and 24 to 64 bytes in base64"
            )
    return Hook(
        name, url, url_file, secret_file, path(table, place, "ca_file"), _events(table, place), details
    )


def check_url(url: Any, place: str) -> None:
    """Whether a web-hook may be there. Its text is not told. Raises ConfigInvalid."""
    shape = f"{place} must be https://HOST/..., or http:// of this machine alone"
    if not isinstance(url, str) or not url.isascii() or not url.isprintable() or len(url) > MAX_URL_CHARS:
        raise ConfigInvalid(shape)
    try:
        parts = urlsplit(url)
        host, has_password, _ = parts.hostname, "@" in parts.netloc, parts.port
    except ValueError:
        raise ConfigInvalid(shape) from None
    if parts.scheme not in ("https", "http") or not host or " " in url:
        if parts.scheme not in ("https", "http") and parts.scheme:
            shape += "; that of another service holds a secret: put it into url_file"
        raise ConfigInvalid(shape)
    if has_password:
        raise ConfigInvalid(f"{place} must not hold a password: receivers know the station by its signature")
    if parts.scheme == "http" and not is_own(host):
        raise ConfigInvalid(shape)


def _secret_file(
    table: Mapping[str, Any], place: str, name: str, environment: Mapping[str, str]
) -> Path | None:
    """What the service manager hands over counts before the setting, which says where it comes from."""
    named = path(table, place, _SECRET_FILE)
    return handed(environment, f"{CREDENTIAL}{name}") or named


def _events(table: Mapping[str, Any], place: str) -> frozenset[Kind]:
    named = table.get("events", [kind.value for kind in Kind])
    kinds = {kind.value: kind for kind in Kind}
    if not isinstance(named, list) or not named or not all(isinstance(one, str) for one in named):
        raise ConfigInvalid(f"{place}.events must be a list of names")
    if unknown := sorted(set(named) - set(kinds)):
        raise ConfigInvalid(f"{place}.events: there is no {unknown[0]!r}; known are {', '.join(kinds)}")
    return frozenset(kinds[one] for one in named)
