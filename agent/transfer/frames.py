"""Messages between processes: a length (4 bytes, big-endian) and JSON.

JSON's escapes carry lone surrogates, so any NTFS name passes. The reader handles hostile bytes, so
whoever receives from it treats each message as hostile: bounded length, checked types.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

MAX_FRAME_BYTES = 64 * 1024 * 1024

Message = dict[str, Any]


class BadFrame(Exception):
    """The other side sent something that is no message."""


def pack(message: Message) -> bytes:
    """One message as bytes."""
    body = json.dumps(message, separators=(",", ":")).encode("ascii")
    if len(body) > MAX_FRAME_BYTES:
        raise BadFrame(f"a message of {len(body)} bytes")
    return struct.pack(">I", len(body)) + body


def _decode(body: bytes) -> Message:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        raise BadFrame("a message that is no JSON") from None
    if not isinstance(message, dict):
        raise BadFrame("a message that is no object")
    return message


def _length(head: bytes) -> int:
    length = int.from_bytes(head, "big")
    if length > MAX_FRAME_BYTES:
        raise BadFrame(f"a message of {length} bytes")
    return length


async def receive(stream: asyncio.StreamReader) -> Message | None:
    """The next message, or None when the other side is gone. Raises BadFrame."""
    try:
        length = _length(await stream.readexactly(4))
        return _decode(await stream.readexactly(length))
    except (EOFError, ConnectionError):
        return None


class BlockingChannel:
    """The reader's end: one thread receives, any may send."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rb")
        self._sending = threading.Lock()

    def close(self) -> None:
        """Hang up; the socket itself is its owner's."""
        self._file.close()

    def discard(self) -> None:
        """Take and drop whatever comes until the other side hangs up.

        Hanging up first would reset the connection, and the last message sent could be lost with it.
        """
        while self._file.read1():
            pass

    def send(self, message: Message) -> None:
        """Raises OSError when the other side is gone."""
        packed = pack(message)
        with self._sending:
            self._sock.sendall(packed)

    def receive(self) -> Message | None:
        """The next message, or None when the other side is gone. Raises BadFrame."""
        head = self._file.read(4)
        if len(head) < 4:
            return None
        length = _length(head)
        body = self._file.read(length)
        return _decode(body) if len(body) == length else None
