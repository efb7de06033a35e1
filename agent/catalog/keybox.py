"""BitLocker keys at rest: sealed with AES-256-GCM under a key that lies in a file of its own.

Sealed form: one version byte (1), 12 bytes nonce, ciphertext, 16 bytes tag. The plain text is the
kind of credential, a line feed, and its text. Job and serial are authenticated with it, so a
sealed key that is copied to another row does not open. A key made from that one (HMAC-SHA-256) signs the
head of the history.
"""

from __future__ import annotations

import hmac
import os
import stat
import tempfile
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent.errors import StateUnusable
from agent.model.identity import JobName, SerialNumber
from agent.model.keys import ClearKey, Credential, Password, RecoveryPassword, StartupKey
from agent.model.secrets import Secret

KEY_BYTES = 32
NONCE_BYTES = 12
VERSION = b"\x01"
ID_DIGITS = 16
_MARKED = "the key of this catalog"


class KeyBox:
    """Seals and opens credentials. Holds the key of keys; prints nothing of it."""

    __slots__ = ("_cipher", "_signing_key")

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._signing_key = hmac.digest(key, b"drive-ingest-agent history", "sha256")

    @classmethod
    def from_file(cls, path: Path) -> KeyBox:
        """Raises StateUnusable when the file is missing, open to others, or not 32 bytes."""
        try:
            return cls(_read(path))
        except OSError as error:
            raise StateUnusable(f"key file {path} cannot be read: {error.strerror}") from error

    def seal(self, credential: Credential, job: JobName, serial: SerialNumber) -> bytes:
        """The form for the catalog; another one each time."""
        nonce = os.urandom(NONCE_BYTES)
        return VERSION + nonce + self._cipher.encrypt(nonce, _plain(credential), _bound_to(job, serial))

    def open(self, sealed: bytes, job: JobName, serial: SerialNumber) -> Credential:
        """Raises StateUnusable when it was sealed with another key, for another drive, or is damaged."""
        nonce, body = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        opened = None
        if sealed[:1] == VERSION and len(nonce) == NONCE_BYTES:
            try:
                opened = _credential(self._cipher.decrypt(nonce, body, _bound_to(job, serial)))
            except InvalidTag:
                opened = None
        if opened is None:
            raise StateUnusable(
                f"the stored key of drive {serial} of job {job} does not open: "
                "it is damaged, or the key file is another one"
            )
        return opened

    @property
    def mark(self) -> str:
        """What only this key gives and what tells nothing of it: a catalog says by it which key it needs."""
        return self.sign(_MARKED)

    @property
    def key_id(self) -> str:
        """The mark in short, for people."""
        return self.mark[:ID_DIGITS]

    def sign(self, text: str) -> str:
        """A signature in hex that only a holder of the key can make."""
        return hmac.digest(self._signing_key, text.encode(), "sha256").hex()

    def has_signed(self, text: str, signature: str) -> bool:
        """Whether ``sign`` gave this signature for the text."""
        return hmac.compare_digest(self.sign(text).encode(), signature.encode("utf-8", "surrogatepass"))


def pending_file(path: Path) -> Path:
    """Where the next key waits while a rotation has not ended."""
    return path.with_name(f"{path.name}.next")


def fitting(path: Path, mark: str | None) -> KeyBox | None:
    """The key with that mark: the one in ``path``, or the next one of a rotation that was cut off.

    Without a mark that of ``path``. None when none fits. Raises StateUnusable, as ``KeyBox.from_file``.
    """
    pending = pending_file(path)
    for one in (path, pending):
        if one == pending and not one.exists():
            continue
        box = KeyBox.from_file(one)
        if mark is None or box.mark == mark:
            return box
    return None


def ensure_key_file(path: Path) -> None:
    """Makes the key file unless it is there; of two processes at once, one makes it.

    Raises StateUnusable when the folder cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _create(path)
    except OSError as error:
        raise StateUnusable(f"key file {path} cannot be made: {error.strerror}") from error


def _create(path: Path) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600 by contract
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(os.urandom(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(name, path)
        except FileExistsError:
            return
    finally:
        os.unlink(name)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path) -> bytes:
    # Non-blocking, so that a pipe in the key's place cannot hang the start.
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise StateUnusable(f"key file {path} is not a regular file")
        mode = stat.S_IMODE(status.st_mode)
        # A systemd credential may be root's, readable by an access list, which shows as the group's right.
        if mode & (0o077 if status.st_uid == os.geteuid() else 0o037):
            raise StateUnusable(f"key file {path} is open to others (mode {mode:04o}); it must be 0600")
        key = file.read(KEY_BYTES + 1)
    if len(key) != KEY_BYTES:
        raise StateUnusable(f"key file {path} must hold {KEY_BYTES} bytes, it holds {status.st_size}")
    return key


def _bound_to(job: JobName, serial: SerialNumber) -> bytes:
    return b"drive-ingest-agent key\0" + job.text.encode() + b"\0" + serial.normal.encode()


def _plain(credential: Credential) -> bytes:
    match credential:
        case RecoveryPassword(secret):
            kind, text = "recovery-password", secret.reveal()
        case Password(secret):
            kind, text = "password", secret.reveal()
        case StartupKey(secret):
            kind, text = "startup-key", secret.reveal()
        case ClearKey():
            kind, text = "clear-key", ""
    return f"{kind}\n{text}".encode("utf-8", "surrogatepass")


def _credential(plain: bytes) -> Credential | None:
    kind, _, text = plain.decode("utf-8", "surrogatepass").partition("\n")
    match kind:
        case "recovery-password":
            return RecoveryPassword(Secret(text))
        case "password":
            return Password(Secret(text))
        case "startup-key":
            return StartupKey(Secret(text))
        case "clear-key":
            return ClearKey()
    return None
