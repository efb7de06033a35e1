"""The record of one blob in a directory store, as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass

from agent.errors import BlobRequestFailed
from agent.model.blobs import AccessTier, BlobAttributes
from agent.model.codes import BlobType

_TEXTS = ("content_type", "content_encoding", "content_language", "cache_control")


@dataclass(frozen=True, slots=True)
class Record:
    """``blocks`` are the ids and lengths that the content was committed of, in order."""

    path: str
    type: BlobType
    object_id: str
    attributes: BlobAttributes
    blocks: tuple[tuple[str, int], ...] = ()

    def to_json(self) -> bytes:
        """For people to read, too: one field a line."""
        md5 = self.attributes.content_md5
        fields = {
            "name": self.path,
            "type": self.type.value,
            "object": self.object_id,
            **{key: getattr(self.attributes, key) for key in _TEXTS},
            "content_md5": md5.hex() if md5 is not None else None,
            "tier": self.attributes.tier,
            "metadata": dict(self.attributes.metadata),
            "blocks": self.blocks,
        }
        return json.dumps(fields, ensure_ascii=False, indent=1).encode("utf-8")

    @classmethod
    def from_json(cls, data: bytes) -> Record:
        """Raises BlobRequestFailed when somebody changed the file to what is no record."""
        try:
            fields = json.loads(data)
            md5, tier = fields["content_md5"], fields.get("tier")
            return cls(
                str(fields["name"]),
                BlobType(fields["type"]),
                str(fields["object"]),
                BlobAttributes(
                    **{key: fields[key] for key in _TEXTS},
                    content_md5=bytes.fromhex(md5) if md5 is not None else None,
                    tier=AccessTier(tier) if tier is not None else None,
                    metadata={str(key): str(value) for key, value in fields["metadata"].items()},
                ),
                tuple((str(block_id), int(length)) for block_id, length in fields["blocks"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise BlobRequestFailed(
                f"a record of the directory store is damaged ({type(problem).__name__})"
            ) from None
