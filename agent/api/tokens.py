"""Bearer tokens of the API: made once, shown once, kept as hashes in one file of the state directory.

A token is ``dia_ID_SECRET`` with 256 random bits of secret, so that one SHA-256 of it is as hard to turn
round as the token is to guess. Commands and servers share the file: it is replaced as a whole, and read
anew when it is another one, so a token that is revoked is refused at the next request.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agent.errors import MalformedInput, StateUnusable
from agent.model.roles import Role
from agent.model.secrets import Secret

VERSION = 1
MAX_TOKENS = 1000
MAX_FILE_BYTES = 1 << 20
MAX_DAYS = 3650
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z", re.ASCII)
_TOKEN = re.compile(r"dia_([0-9a-f]{12})_([A-Za-z0-9_-]{43})\Z", re.ASCII)
_NO_HASH = hashlib.sha256(b"").hexdigest()

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Token:
    """``digest`` is the SHA-256 of the secret part, in hex. Times are UTC; None is never."""

    id: str
    name: str
    role: Role
    digest: str
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None

    def is_good(self, now: datetime) -> bool:
        """Neither revoked nor expired."""
        return self.revoked is None and (self.expires is None or now < self.expires)


def utc_now() -> datetime:
    """The clock of who is given none."""
    return datetime.now(UTC)


class TokenStore:
    """The file of tokens. Blocking; every method may raise StateUnusable."""

    def __init__(self, path: Path, clock: Clock = utc_now) -> None:
        self._path, self._clock = path, clock
        self._seen: tuple[int, int, int] | None = None
        self._tokens: dict[str, Token] = {}

    def create(self, name: str, role: Role, days: int | None) -> tuple[Token, Secret]:
        """A new token, valid for ``days`` or for ever, and its text, which is nowhere else.

        Raises MalformedInput for a name that is taken by a good token, or is none.
        """
        if not _NAME.match(name):
            raise MalformedInput("a token's name is 1 to 64 letters, digits, dots, dashes and underscores")
        if days is not None and not 1 <= days <= MAX_DAYS:
            raise MalformedInput(f"a token lasts 1 to {MAX_DAYS} days")
        now = self._clock()
        secret = secrets.token_urlsafe(32)
        expires = None if days is None else now + timedelta(days=days)
        token = Token(secrets.token_hex(6), name, role, _digest(secret), now, expires)
        with self._changing() as tokens:
            if any(one.name == name and one.is_good(now) for one in tokens.values()):
                raise MalformedInput(f"there is a token {name!r} already; revoke it first")
            if len(tokens) >= MAX_TOKENS:
                raise MalformedInput(f"there are {MAX_TOKENS} tokens already")
            tokens[token.id] = token
        return token, Secret(f"dia_{token.id}_{secret}")

    def revoke(self, named: str) -> Token:
        """By id or by name. Raises MalformedInput when no good token is called so."""
        now = self._clock()
        with self._changing() as tokens:
            found = next(
                (one for one in tokens.values() if named in (one.id, one.name) and one.is_good(now)), None
            )
            if found is None:
                raise MalformedInput(f"there is no valid token {named[:64]!r}")
            revoked = tokens[found.id] = replace(found, revoked=now)
        return revoked

    def tokens(self) -> list[Token]:
        """All of them, in the order they were made."""
        self._refresh()
        return sorted(self._tokens.values(), key=lambda one: (one.created, one.id))

    def find(self, text: str) -> Token | None:
        """The good token with this text. It takes the same time whichever part is wrong."""
        self._refresh()
        match = _TOKEN.match(text)
        identity, secret = (match[1], match[2]) if match is not None else ("", "")
        token = self._tokens.get(identity)
        is_same = hmac.compare_digest(token.digest if token is not None else _NO_HASH, _digest(secret))
        return token if token is not None and is_same and token.is_good(self._clock()) else None

    def _refresh(self) -> None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._seen, self._tokens = None, {}
            return
        except OSError as error:
            raise StateUnusable(f"the file of tokens {self._path} cannot be read: {error.strerror}") from None
        stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
        if stamp != self._seen:
            self._tokens = self._load()
            self._seen = stamp

    def _load(self) -> dict[str, Token]:
        try:
            with self._path.open("rb") as file:
                status, data = os.fstat(file.fileno()), file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StateUnusable(f"the file of tokens {self._path} cannot be read: {error.strerror}") from None
        if status.st_mode & 0o022:
            raise StateUnusable(f"the file of tokens {self._path} can be written by others; it must be 0600")
        try:
            whole = json.loads(data)
            if whole["version"] != VERSION or len(data) > MAX_FILE_BYTES:
                raise ValueError
            return {one.id: one for one in map(_token, whole["tokens"])}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise StateUnusable(f"the file of tokens {self._path} is damaged, or a newer one") from None

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Token]]:
        """The tokens, which are written when the block ends; one change at a time."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                tokens = self._load()
                yield tokens
                self._write(tokens)
        except OSError as error:
            raise StateUnusable(
                f"the file of tokens {self._path} cannot be written: {error.strerror}"
            ) from None

    def _write(self, tokens: dict[str, Token]) -> None:
        whole = {"version": VERSION, "tokens": [_row(one) for one in tokens.values()]}
        handle, name = tempfile.mkstemp(prefix=".api-tokens.", dir=self._path.parent)  # 0600 by contract
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(whole, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self._path)
        except BaseException:
            os.unlink(name)
            raise
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def tokens_of(state_dir: Path) -> TokenStore:
    """Those of a station."""
    return TokenStore(state_dir / "api-tokens.json")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("ascii")).hexdigest()


def _row(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "role": token.role.value,
        "sha256": token.digest,
        "created": token.created.isoformat(),
        "expires": token.expires and token.expires.isoformat(),
        "revoked": token.revoked and token.revoked.isoformat(),
    }


def _token(row: dict[str, Any]) -> Token:
    def time(name: str) -> datetime | None:
        text = row[name]
        return None if text is None else datetime.fromisoformat(text).astimezone(UTC)

    created = time("created")
    if created is None or not isinstance(row["sha256"], str) or not row["sha256"].isascii():
        raise ValueError
    return Token(
        str(row["id"]),
        str(row["name"]),
        Role(row["role"]),
        row["sha256"],
        created,
        time("expires"),
        time("revoked"),
    )
