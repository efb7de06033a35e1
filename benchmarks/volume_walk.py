"""The reader over a mounted volume, as a process: ``python -m benchmarks.volume_walk files|volume PATH``.

``files`` prints a JSON line with path and SHA-256 for each file below PATH, in sorted order; ``volume``
copies the file PATH to standard output.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator

WINDOW_BYTES = 512 * 1024
"""As our own reader hashes."""
BULK_BYTES = 1024 * 1024


def hash_tree(root: str) -> Iterator[tuple[str, str]]:
    """(path with forward slashes below ``root``, SHA-256 in hex) of each file."""
    buffer = memoryview(bytearray(WINDOW_BYTES))
    for folder, folders, files in os.walk(root, onerror=_fail):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(folder, name)
            yield os.path.relpath(path, root), _hash(path, buffer)


def _fail(error: OSError) -> None:
    raise error


def _hash(path: str, buffer: memoryview) -> str:
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while got := file.readinto(buffer):
            digest.update(buffer[:got])
    return digest.hexdigest()


def copy(path: str, fd: int) -> None:
    """The bytes of ``path`` to ``fd``."""
    buffer = memoryview(bytearray(BULK_BYTES))
    with open(path, "rb", buffering=0) as file:
        while got := file.readinto(buffer):
            write(fd, buffer[:got])


def write(fd: int, data: memoryview) -> None:
    """All of ``data``."""
    done = 0
    while done < len(data):
        done += os.write(fd, data[done:])


def print_hashes(hashes: Iterator[tuple[str, str]]) -> None:
    """As `ingest-agent volume hash` names the fields."""
    for path, sha256 in hashes:
        sys.stdout.write(json.dumps({"path": path, "sha256": sha256}) + "\n")


def main(what: str, path: str) -> None:
    """``what`` is ``files`` or ``volume``."""
    if what == "files":
        print_hashes(hash_tree(path))
    else:
        copy(path, sys.stdout.fileno())


if __name__ == "__main__":
    main(*sys.argv[1:])
