"""What is known of a file's content, as it stands in a log's processing instruction.

Pseudo-attributes after XML's own fashion: ``depth="manifest" verdict="match" crc64="123" md5="..."
sha256="..."``. CRC-64 is decimal, as in the verbose logs of Data Box; the others are hexadecimal.
"""

from __future__ import annotations

import re

from agent.model.verification import Depth, Verdict, Verified

_PAIR = re.compile(r'([a-z0-9]{1,10})="([^"<>&]{0,80})"')
_DIGITS = re.compile(r"[0-9]{1,20}\Z", re.ASCII)
_HEX = re.compile(r"(?:[0-9a-f]{2})+\Z")


def to_text(verified: Verified) -> str:
    """One line."""
    pairs = [("depth", str(verified.depth)), ("verdict", str(verified.verdict))]
    if verified.crc64 is not None:
        pairs.append(("crc64", str(verified.crc64)))
    pairs += [
        (name, digest.hex())
        for name, digest in (("md5", verified.content_md5), ("sha256", verified.sha256))
        if digest is not None
    ]
    return " ".join(f'{name}="{value}"' for name, value in pairs)


def from_text(text: str) -> Verified | None:
    """What ``to_text`` gave; None for what it never gives."""
    found = dict(_PAIR.findall(text[:1000]))
    crc64 = found.get("crc64")
    try:
        depth, verdict = Depth(found.get("depth", "")), Verdict(found.get("verdict", ""))
    except ValueError:
        return None
    if crc64 is not None and not (_DIGITS.match(crc64) and int(crc64) < 1 << 64):
        return None
    md5, sha256 = found.get("md5"), found.get("sha256")
    if not (_is_digest(md5, 16) and _is_digest(sha256, 32)):
        return None
    return Verified(
        depth,
        verdict,
        int(crc64) if crc64 is not None else None,
        bytes.fromhex(md5) if md5 is not None else None,
        bytes.fromhex(sha256) if sha256 is not None else None,
    )


def _is_digest(text: str | None, size_bytes: int) -> bool:
    return text is None or (len(text) == 2 * size_bytes and _HEX.match(text) is not None)
