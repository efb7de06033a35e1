"""Links lead somewhere, and content that is not on the drive is never taken for zeros."""

from __future__ import annotations

import struct

import pytest

from agent.errors import NtfsDamaged
from agent.volume.ntfs.reparse import MOUNT_POINT, SYMLINK, parse_reparse, why_unreadable


def _link(tag: int, substitute: str, shown: str) -> bytes:
    first, second = substitute.encode("utf-16-le"), shown.encode("utf-16-le")
    names = struct.pack("<HHHH", 0, len(first), len(first), len(second))
    flags = b"\0\0\0\0" if tag == SYMLINK else b""
    body = names + flags + first + second
    return struct.pack("<IHH", tag, len(body), 0) + body


@pytest.mark.parametrize("tag", [SYMLINK, MOUNT_POINT])
def test_a_link_gives_the_name_that_people_see(tag: int) -> None:
    assert parse_reparse(_link(tag, "\\??\\C:\\data", "C:\\data")) == (tag, "C:\\data")
    assert parse_reparse(_link(tag, "\\??\\C:\\data", "")) == (tag, "\\??\\C:\\data")


@pytest.mark.parametrize("keep", [0, 7, 8, 15, 19, 30])
def test_a_link_that_is_cut_off_is_damage(keep: int) -> None:
    with pytest.raises(NtfsDamaged):
        parse_reparse(_link(SYMLINK, "target", "target")[:keep])


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        (0x80000017, "WOF"),
        (0x80000013, "deduplicated"),
        *((0x9000001A | number << 12, "cloud placeholder") for number in range(16)),
        (0x80000015, "cloud placeholder"),
        (0x80000021, "cloud placeholder"),
        (0x8000001E, "Azure File Sync"),
        (0x9000001C, "ProjFS"),
        (0xC0000004, "remote storage"),
        (0x80000006, "remote storage"),
        (0x80000007, "single-instance"),
        (0x80000018, "container layer"),
        (0x00001234, "unknown kind"),
        (0xC0001234, "unknown kind"),
    ],
)
def test_content_that_is_elsewhere_is_told(tag: int, said: str) -> None:
    why = why_unreadable(tag, is_directory=False)
    assert why is not None
    assert said in why
    assert f"{tag:#010x}" in why


def test_links_and_directories_are_read_as_they_are() -> None:
    assert why_unreadable(SYMLINK, is_directory=False) is None
    assert why_unreadable(0x9000001A, is_directory=True) is None
