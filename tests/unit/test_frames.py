"""Messages between the processes of a drive."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from agent.transfer.frames import MAX_FRAME_BYTES, BadFrame, BlockingChannel, pack, receive


def _stream(data: bytes) -> asyncio.StreamReader:
    stream = asyncio.StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    return stream


async def test_any_ntfs_name_passes() -> None:
    message = {"names": ["a\ud800b", "\x00\x01", "漢", "x" * 255]}
    assert await receive(_stream(pack(message))) == message


@pytest.mark.parametrize("data", [b"", b"\0\0", pack({"a": 1})[:-1]])
async def test_a_message_cut_off_is_the_other_side_gone(data: bytes) -> None:
    assert await receive(_stream(data)) is None


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", MAX_FRAME_BYTES + 1),
        struct.pack(">I", 2) + b"[]",
        struct.pack(">I", 3) + b"{{{",
        struct.pack(">I", 100_000) + b"[" * 100_000,
    ],
    ids=["too long", "no object", "no JSON", "nested"],
)
async def test_what_is_no_message_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(BadFrame):
        await receive(_stream(data))


def test_the_blocking_end_speaks_the_same_language() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        left, right = BlockingChannel(ours), BlockingChannel(theirs)
        left.send({"do": "scan"})
        assert right.receive() == {"do": "scan"}
        left.close()
        ours.close()
        assert right.receive() is None
        right.close()
