"""Where the files of a whole volume go, and the logs of a job."""

from __future__ import annotations

from dataclasses import dataclass

from agent.errors import MalformedInput
from agent.model.blobs import BlobName
from agent.model.identity import ContainerName

DEFAULT_DIAGNOSTICS = ContainerName("waimportexport")
"""Where the logs of a job go that names no other container."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a drive without a manifest goes: ``container/prefix`` + the encoded path of each file."""

    container: ContainerName
    prefix: str = ""

    @classmethod
    def parse(cls, text: str) -> Destination:
        """``container`` or ``container/prefix/``; raises MalformedInput."""
        container, _, prefix = text.partition("/")
        parsed = cls(ContainerName.parse(container), prefix)
        if prefix:
            BlobName.of(parsed.container, prefix.rstrip("/") or prefix)
        if parsed.container.text == "$root":
            raise MalformedInput("a whole volume cannot go to $root, whose blobs have no folders")
        return parsed

    def __str__(self) -> str:
        return f"{self.container}/{self.prefix}"
