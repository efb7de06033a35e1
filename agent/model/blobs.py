"""Blob names and attributes, legal by construction."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Final

from agent.errors import MalformedInput
from agent.model.identity import ContainerName

MAX_NAME_CHARS = 1024
MAX_SEGMENTS = 254


@dataclass(frozen=True, slots=True, order=True)
class BlobName:
    """A container and a path within it that the service accepts and gives back unchanged.

    ``path`` holds no character that a container listing, a URL or an XML log would break on
    (see ``agent.model.naming``, which makes such paths out of any NTFS name).
    """

    container: ContainerName
    path: str

    @classmethod
    def parse(cls, text: str) -> BlobName:
        """``container/path`` as in a manifest's BlobPath; raises MalformedInput."""
        container, slash, path = text.partition("/")
        if not slash or not path:
            raise MalformedInput(f"blob path {text!r} does not have the form container/name")
        return cls.of(ContainerName.parse(container), path)

    @classmethod
    def of(cls, container: ContainerName, path: str) -> BlobName:
        """Raises MalformedInput when the service would refuse or change the path."""
        problem = illegal(path)
        if problem is None and container.text == "$root" and "/" in path:
            problem = "a blob in $root cannot have a slash in its name"
        if problem is not None:
            raise MalformedInput(f"blob name {path[:80]!r} is not allowed: {problem}")
        return cls(container, path)

    @classmethod
    def restored(cls, text: str) -> BlobName:
        """From what ``str`` gave of one: it is not checked anew."""
        container, _, path = text.partition("/")
        return cls(_container(container), path)

    def __str__(self) -> str:
        return f"{self.container}/{self.path}"


@lru_cache(maxsize=64)
def _container(text: str) -> ContainerName:
    return ContainerName(text)


POISON: Final = r"\x00-\x1f\x7f-\x9f\\\ud800-\udfff\ufdd0-\ufdef" + "".join(
    rf"\U{plane:04x}fffe\U{plane:04x}ffff" for plane in range(17)
)
"""What the service, a listing or an XML log cannot carry, as the inside of a character class of ``re``."""

_POISON = re.compile(f"[{POISON}]")


def illegal(path: str) -> str | None:
    """Why the service would refuse or change ``path``, or None if it is fine.

    Facts: 1 to 1,024 characters and at most 254 segments (service limits); control characters and
    non-characters break container listings, backslashes become slashes, dot segments are resolved
    away, and lone surrogates cannot be sent (all measured).
    """
    if not 1 <= len(path.encode("utf-16-le", "surrogatepass")) // 2 <= MAX_NAME_CHARS:
        return f"it must have 1 to {MAX_NAME_CHARS} characters"
    segments = path.split("/")
    if len(segments) > MAX_SEGMENTS:
        return f"it has more than {MAX_SEGMENTS} path segments"
    for segment in segments:
        if segment in (".", ".."):
            return "a path segment of dots would be resolved away"
        if segment.endswith("."):
            return "a path segment must not end with a dot"
    if path.startswith("/"):
        return "it must not start with a slash"
    poison = _POISON.search(path)
    if poison is not None:
        return f"it holds U+{ord(poison.group()):04X}"
    return None


class AccessTier(StrEnum):
    """Where the service keeps a block blob, spelled as in ``x-ms-access-tier``."""

    HOT = "Hot"
    COOL = "Cool"
    COLD = "Cold"
    ARCHIVE = "Archive"


@dataclass(frozen=True, slots=True)
class BlobAttributes:
    """What is set on a blob at commit. ``content_md5`` is the 16 raw bytes of the whole content.

    ``tier`` goes with Put Blob and Put Block List as ``x-ms-access-tier``, and never with a page blob;
    None leaves it to the account, and is what ``properties`` gives where the account's default rules.
    """

    content_type: str | None = None
    content_encoding: str | None = None
    content_language: str | None = None
    cache_control: str | None = None
    content_md5: bytes | None = None
    tier: AccessTier | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
