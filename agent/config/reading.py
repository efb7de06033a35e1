"""Files of the settings, as they are read: none of them may hold anybody up."""

from __future__ import annotations

import errno
import os
import select
import time
from pathlib import Path

PIPE_WITHIN_S = 3.0
"""For what a shell puts in the place of a file: ``<(command)``."""


def read_in_time(path: Path, max_bytes: int) -> bytes:
    """All of a file, or of a pipe that ends in time; of more than ``max_bytes`` one byte more than that.

    Raises OSError.
    """
    deadline, data = time.monotonic() + PIPE_WITHIN_S, bytearray()
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb", buffering=0) as file:
        arrival = select.poll()
        arrival.register(file, select.POLLIN)
        while len(data) <= max_bytes:
            # A file is always ready; a pipe is when it has something, or has ended.
            if not arrival.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise OSError(errno.ETIMEDOUT, "nobody writes into this pipe")
            piece = file.read(max_bytes + 1 - len(data))
            if not piece:
                break
            data += piece
    return bytes(data)
