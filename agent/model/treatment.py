"""What a job asks to be done with each of its blobs besides moving its bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from agent.errors import MalformedInput
from agent.model.blobs import AccessTier
from agent.model.verification import Depth, Verification


@dataclass(frozen=True, slots=True)
class Treatment:
    """``verification`` None: by the manifest where there is one, else in transit.

    ``content_md5`` and ``sha256`` ask for these hashes of each whole blob.
    ``tier`` is for block blobs, None for the account's own. ``file_facts``: times, attributes and, where
    it differs, the original name become metadata; else only ``mtime`` does.
    """

    verification: Verification | None = None
    content_md5: bool = False
    sha256: bool = False
    tier: AccessTier | None = None
    file_facts: bool = True

    def __post_init__(self) -> None:
        """Raises MalformedInput when the parts do not fit together."""
        if self.tier is AccessTier.ARCHIVE and self.depth is Depth.READBACK:
            raise MalformedInput(
                "a blob in the tier Archive cannot be read back; choose another depth or tier"
            )

    @property
    def depth(self) -> Depth | None:
        """The depth that was asked for, if one was."""
        return self.verification.depth if self.verification is not None else None

    @property
    def hashes(self) -> bool:
        """Whether whole files are hashed."""
        return self.content_md5 or self.sha256

    def to_json(self) -> dict[str, Any]:
        """As it travels between processes."""
        return {
            "verify": str(self.verification) if self.verification is not None else None,
            "content_md5": self.content_md5,
            "sha256": self.sha256,
            "tier": self.tier,
            "file_facts": self.file_facts,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What ``to_json`` gave; raises MalformedInput or ValueError for a depth or tier that is none."""
        verify, tier = value["verify"], value["tier"]
        return cls(
            Verification.parse(verify) if verify is not None else None,
            value["content_md5"],
            value["sha256"],
            AccessTier(tier) if tier is not None else None,
            value["file_facts"],
        )


AS_USUAL = Treatment()
"""That of a job that asks for nothing."""
