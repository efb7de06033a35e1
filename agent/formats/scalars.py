"""Single values as manifests and logs write them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

from agent.formats.violation import Violation, clip

_WHOLE = re.compile(r"[0-9]{1,19}\Z", re.ASCII)
_MD5_HEX = re.compile(r"[0-9A-Fa-f]{32}\Z", re.ASCII)
MAX_BLOCK_ID_BYTES = 64


def required(attributes: Mapping[str, str], name: str) -> str:
    """An attribute that must be there; raises Violation."""
    value = attributes.get(name)
    if value is None:
        raise Violation(f"the attribute {name} is missing")
    return value


def whole(text: str, what: str) -> int:
    """A count of bytes from 0 to 2^63 - 1; raises Violation."""
    bare = text.strip()
    if not _WHOLE.match(bare) or int(bare) >= 1 << 63:
        raise Violation(f"{what} {clip(text)} is not a whole number of bytes below 2^63")
    return int(bare)


def md5(text: str) -> bytes:
    """The 16 bytes of a hash in hex, either case, blanks around it allowed; raises Violation."""
    bare = text.strip()
    if not _MD5_HEX.match(bare):
        raise Violation(f"Hash {clip(text)} is not an MD5 of 32 hex digits")
    return bytes.fromhex(bare)


def md5_text(digest: bytes) -> str:
    """As every published sample writes it: upper case."""
    return digest.hex().upper()


def block_id(text: str) -> str:
    """A block id that the service takes: Base64 of 1 to 64 bytes; raises Violation."""
    bare = text.strip()
    try:
        size_bytes = len(base64.b64decode(bare, validate=True))
    except (binascii.Error, ValueError):
        raise Violation(f"the block id {clip(text)} is not Base64") from None
    if not 1 <= size_bytes <= MAX_BLOCK_ID_BYTES:
        raise Violation(f"the block id {clip(text)} stands for {size_bytes} bytes, 1 to 64 are allowed")
    return bare
