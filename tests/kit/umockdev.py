"""libumockdev by ctypes: devices that only exist for a process that ``umockdev-wrapper`` started.

Needs Debian's umockdev. One bed a process; what it cannot do: ioctl of block devices, /run/udev.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path

WRAPPER = shutil.which("umockdev-wrapper")


class _Error(ctypes.Structure):
    _fields_ = [("domain", ctypes.c_uint32), ("code", ctypes.c_int), ("message", ctypes.c_char_p)]


class Bed:
    """A /sys, /dev and kernel events of its own."""

    def __init__(self) -> None:
        library = ctypes.CDLL("libumockdev.so.0")
        for name in ("new", "get_root_dir"):
            getattr(library, f"umockdev_testbed_{name}").restype = ctypes.c_void_p
        self._library = library
        self._bed = ctypes.c_void_p(library.umockdev_testbed_new())
        root = library.umockdev_testbed_get_root_dir(self._bed)
        self._root = Path(ctypes.string_at(root).decode())

    def add(self, recording: str) -> None:
        """Devices as ``umockdev-record`` wrote them down; each tells that it was added."""
        error = ctypes.POINTER(_Error)()
        add = self._library.umockdev_testbed_add_from_string
        if not add(self._bed, recording.encode(), ctypes.byref(error)):
            raise ValueError(error.contents.message.decode())

    def tell(self, path: str, action: str) -> None:
        """An event of a device of /sys/devices."""
        self._library.umockdev_testbed_uevent(self._bed, f"/sys{path}".encode(), action.encode())

    def set_property(self, path: str, name: str, value: bytes) -> None:
        set_property = self._library.umockdev_testbed_set_property
        set_property(self._bed, f"/sys{path}".encode(), name.encode(), value)

    def remove(self, path: str) -> None:
        """Gone, and it told so."""
        if not (self._root / f"sys{path}").is_dir():
            return
        self.tell(path, "remove")
        self._library.umockdev_testbed_remove_device(self._bed, f"/sys{path}".encode())
        # 0.17.16 keeps the links to it, and aborts when it is added again.
        for tree in ("sys", "dev/disk"):
            for folder, folders, names in os.walk(self._root / tree):
                for name in (*folders, *names):
                    link = os.path.join(folder, name)
                    if os.path.islink(link) and not os.path.exists(link):
                        os.unlink(link)
