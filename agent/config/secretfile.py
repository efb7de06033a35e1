"""Secrets stand in files of their own, which nobody else may read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from agent.errors import ConfigInvalid


def read_secret(path: Path, what: str, max_bytes: int) -> str:
    """The text of a regular file of at most ``max_bytes``, without line ends around it.

    ``what`` names it in what is said of it. Raises ConfigInvalid when it cannot be read, is open to others,
    or holds nothing.
    """
    try:
        # Non-blocking, so that a pipe in its place cannot hang anybody.
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(max_bytes + 1) if stat.S_ISREG(status.st_mode) else b""
        text = data.decode("utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError):
        raise ConfigInvalid(f"{what} cannot be read") from None
    # A systemd credential may be root's, readable by an access list, which shows as the group's right.
    if stat.S_IMODE(status.st_mode) & (0o077 if status.st_uid == os.geteuid() else 0o037):
        raise ConfigInvalid(f"{what} is open to others; it must have mode 0600")
    if len(data) > max_bytes:
        raise ConfigInvalid(f"{what} is too long: more than {max_bytes} bytes")
    if not text.strip() or "\0" in text:
        raise ConfigInvalid(f"{what} holds no text")
    return text
