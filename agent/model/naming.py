"""NTFS names to blob paths and back: total, reversible, collision-free.

Rule: every character that a blob path cannot carry, and ``%`` itself, is written as the percent
escapes of its bytes in UTF-8 (lone surrogates in the generalised form, three bytes each). So any
percent decoder gives the original back: ``urllib.parse.unquote(name, errors="surrogatepass")``.
A dot or blank that ends a segment is escaped too: the service drops or refuses such names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote

from agent.model.blobs import POISON

_UNSAFE = re.compile(f"[%/{POISON}]")
_UNSAFE_AMONG_MANY = re.compile(rf"[%{POISON}]|[. ](?:/|\Z)")


def encode_segment(name: str) -> str:
    """One NTFS file name (any UTF-16 text but ``/``, not empty) as one path segment."""
    body = _UNSAFE.sub(_escaped, name)
    if body.endswith((".", " ")):
        body = body[:-1] + _escape(body[-1])
    return body


def encode(names: Sequence[str]) -> str:
    """Names from the volume's root down to a blob path."""
    return "/".join(encode_segment(name) for name in names)


def encode_all(names: Sequence[str]) -> list[str]:
    """``encode_segment`` of each; where none of them needs an escape, one search over all tells it."""
    text = "/".join(names)
    if text.count("/") < len(names) and _UNSAFE_AMONG_MANY.search(text) is None:
        return list(names)
    return [encode_segment(name) for name in names]


def decode(path: str) -> tuple[str, ...]:
    """The names that ``encode`` was given."""
    return tuple(unquote(segment, errors="surrogatepass") for segment in path.split("/"))


def _escaped(found: re.Match[str]) -> str:
    return _escape(found.group())


def _escape(ch: str) -> str:
    return "".join(f"%{byte:02X}" for byte in ch.encode("utf-8", "surrogatepass"))
