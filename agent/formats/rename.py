"""The name that a blob gets when its own is taken (docs/adr/0001-rename-rule.md)."""

from __future__ import annotations


def rename(path: str, n: int) -> str:
    """``path`` with `` (n)`` before the last dot of its last segment, or at its end.

    ``n`` starts at 2. ``harbour.jpg`` becomes ``harbour (2).jpg``, ``v1.2/readme`` becomes
    ``v1.2/readme (2)``. The result may be too long for the service; ``BlobName`` tells.
    """
    folder, slash, name = path.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    if not dot:
        return f"{path} ({n})"
    return f"{folder}{slash}{stem} ({n}){dot}{extension}"
