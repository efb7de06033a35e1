"""Texts that XML cannot carry, written so that they can be read back.

A character that XML 1.0 cannot hold or would change, and the percent sign of anything that looks like
an escape already, become percent escapes of their bytes in UTF-8 (lone surrogates in the generalised
form). Everything else, a lone percent sign too, stays as it is: in practice every path does. The way
back is any percent decoder: ``urllib.parse.unquote(text, errors="surrogatepass")``.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

MARK_TARGET = "drive-ingest-agent"
MARK_TEXT = 'file-paths="percent-escaped"'
"""The processing instruction at the head of a document whose file paths are so escaped."""

REASON_PREFIX = "reason: "
"""Begins the processing instruction within a blob that tells why, which the format has no element for."""

VERIFIED_PREFIX = "verified: "
"""Begins the one that tells how deep a blob was verified, what was found, and its checksums."""

_FOREIGN = "\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
_ESCAPED = re.compile(f"[{_FOREIGN}]|%(?=[0-9A-Fa-f]{{2}})")
_ONLY_FOREIGN = re.compile(f"[{_FOREIGN}]")


def escape(text: str) -> str:
    """Reversible: ``unescape(escape(text)) == text`` for every text."""
    return _ESCAPED.sub(_percent, text)


def unescape(text: str) -> str:
    """What ``escape`` was given."""
    return unquote(text, errors="surrogatepass")


def printable(text: str) -> str:
    """For names that must stand literally: escapes what XML cannot carry and nothing else."""
    return _ONLY_FOREIGN.sub(_percent, text)


def percent(text: str) -> str:
    """The escapes of all its bytes in UTF-8."""
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))


def _percent(match: re.Match[str]) -> str:
    return percent(match.group())
