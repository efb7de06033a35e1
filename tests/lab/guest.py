"""The guest as files, built once from Debian's packages and kept: kernel, initramfs, root file system."""

from __future__ import annotations

import os
import platform
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from tests.lab import initramfs, kernel, sources, store, system
from tests.lab.trouble import LabMissing

PROGRAMS: Final = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "socat": "socat",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "modprobe": "kmod",
    "apt-get": "apt",
}
"""What the laboratory takes, and the packages that have it."""
_OWN: Final = ("guest.py", "system.py", "kernel.py", "initramfs.py", "sources.py")
_OWN_FILES: Final = ("control.py", "lab-control.service", "80-lab-control.rules", "smartctl", "init")


@dataclass(frozen=True, slots=True)
class Guest:
    """Files that no machine writes to."""

    key: str
    folder: Path

    @property
    def maker(self) -> Path:
        """Bytes that no other build has: an overlay fits the very image over which it was made."""
        return self.folder / "maker"

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initramfs(self) -> Path:
        return self.folder / "initramfs.gz"

    @property
    def root(self) -> Path:
        return self.folder / "root.img"


def built() -> Guest:
    """The guest, made unless it was; raises LabMissing where it cannot be."""
    _check_host()
    key = _key()
    guest = Guest(key, store.STORE / f"guest-{key}")
    if not guest.folder.exists():
        with store.making(guest.folder.name) as folder:
            _build(Guest(key, folder))
    return guest


def _key() -> str:
    here = Path(__file__).parent
    own = [here / name for name in _OWN] + [system.FILES / name for name in _OWN_FILES]
    return store.digest([sources.release().encode(), *(file.read_bytes() for file in own)])


def _check_host() -> None:
    if platform.machine() != "x86_64":
        raise LabMissing(f"the guest's kernel is built for x86_64, and this is {platform.machine()}")
    if os.geteuid() != 0:
        raise LabMissing("a guest is built by root")
    missing = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    if missing:
        raise LabMissing(f"not installed: apt-get install --no-install-recommends {' '.join(missing)}")


def _build(guest: Guest) -> None:
    with store.run_folder() as folder, ThreadPoolExecutor(1) as beside:
        # mmdebstrap wants a folder that others may enter.
        folder.chmod(0o755)
        fetched = beside.submit(kernel.unpack, folder / "kernel")
        tree = folder / "system"
        system.unpack(tree)
        chosen = fetched.result()
        kernel.install(chosen, tree)
        system.configure(tree)
        initramfs.pack(chosen, tree, folder / "initramfs", guest.initramfs)
        system.pack(tree, guest.root)
        shutil.copyfile(chosen.image, guest.kernel)
        guest.maker.write_text(f"{uuid4()}\n")
