"""What a shared access signature says of itself: until when it holds, and for what.

Facts of the service's REST reference: "Create an account SAS", "Create a service SAS", "Create a user
delegation SAS" (parameters st, se, sp, ss, srt, sr, si).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

from agent.errors import ConfigInvalid

CLOCK_SKEW = timedelta(minutes=15)
"""A clock that is behind the service's by no more than this does not make a new signature a future one."""

_RENEW = "renew it, put it into its file, and send the station SIGHUP"
_NAMES = {"r": "read", "w": "write", "c": "create"}


@dataclass(frozen=True, slots=True)
class Signature:
    """Times are UTC; None where the signature leaves it to a stored access policy."""

    starts_at: datetime | None
    expires_at: datetime | None
    permissions: str | None
    resource: str | None
    services: str | None
    resource_types: str | None

    @classmethod
    def parse(cls, text: str) -> Signature:
        """From the query string. Raises ConfigInvalid, and does not show it."""
        query = parse_qs(text.strip().removeprefix("?"), keep_blank_values=True)

        def value(name: str) -> str | None:
            found = query.get(name)
            return found[0] if found else None

        has_policy = value("si") is not None
        if not has_policy and value("se") is None:
            raise ConfigInvalid("the store's SAS has no expiry (se)")
        if not has_policy and value("sp") is None:
            raise ConfigInvalid("the store's SAS has no permissions (sp)")
        return cls(
            _time("st", value("st")),
            _time("se", value("se")),
            value("sp"),
            value("sr"),
            value("ss"),
            value("srt"),
        )

    def check(self, now: datetime) -> None:
        """Raises ConfigInvalid when uploads with it would be refused now."""
        if self.expires_at is not None and now >= self.expires_at:
            raise ConfigInvalid(f"the store's SAS expired at {shown_time(self.expires_at)}; {_RENEW}")
        if self.starts_at is not None and now + CLOCK_SKEW < self.starts_at:
            raise ConfigInvalid(
                f"the store's SAS is valid from {shown_time(self.starts_at)} on, and not yet; "
                "check this machine's clock, or wait"
            )
        if self.services is not None and "b" not in self.services:
            raise ConfigInvalid("the store's SAS is not for blobs: its services (ss) lack b")
        if self.resource_types is not None and "o" not in self.resource_types:
            raise ConfigInvalid("the store's SAS is not for blobs: its resource types (srt) lack o")
        if self.resource is not None and self.resource != "c":
            raise ConfigInvalid(
                "the store's SAS is for less than a container (sr is not c): a drive needs a whole one"
            )
        self._check_permissions()

    def _check_permissions(self) -> None:
        """Reading tells our blob from another's; a SAS that may only create need not overwrite."""
        if self.permissions is None:
            return
        lacking = [] if "r" in self.permissions else ["r"]
        if not set("wc") & set(self.permissions):
            lacking.append("w")
        if lacking:
            named = " and ".join(f"{_NAMES[letter]} ({letter})" for letter in lacking)
            raise ConfigInvalid(f"the store's SAS does not permit to {named}; make one with rwc")


def is_signature(text: str) -> bool:
    """Whether a credential is a SAS."""
    return bool(parse_qs(text.strip().removeprefix("?")).get("sig"))


def is_for_one_container(text: str) -> bool:
    """Whether a credential is a SAS for the blobs of one container; which one, it does not say."""
    return is_signature(text) and parse_qs(text.strip().removeprefix("?")).get("sr") == ["c"]


def expiry_of(text: str) -> datetime | None:
    """Until when a credential holds; None for a key, or where a policy decides. Raises ConfigInvalid."""
    return Signature.parse(text).expires_at if is_signature(text) else None


def shown_time(moment: datetime) -> str:
    """UTC, to the minute."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _time(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigInvalid(f"the store's SAS has a {name} that is no time") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
