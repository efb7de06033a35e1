"""The guest's kernel: that of this machine's Debian, with the drivers that a chassis takes.

Unpacked beside the system, never into it: the package has a folder /lib, which would replace the system's
symbolic link of that name.
"""

from __future__ import annotations

import lzma
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.lab.steps import fetch, run
from tests.lab.trouble import LabMissing

TO_REACH_ROOT: Final = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")
"""Modules of the initramfs, in order, each with what it needs."""
IN_THE_SYSTEM: Final = (
    *TO_REACH_ROOT,
    "virtio_console",
    "virtio_net",
    "virtio_rng",
    "ahci",
    "sd_mod",
    "sg",
    "autofs4",
    "af_packet",
)


@dataclass(frozen=True, slots=True)
class Kernel:
    """Unpacked: ``tree`` has boot/ and lib/modules/VERSION/."""

    version: str
    tree: Path

    @property
    def image(self) -> Path:
        return self.tree / "boot" / f"vmlinuz-{self.version}"


def unpack(folder: Path) -> Kernel:
    """Fetches and unpacks the kernel of ``linux-image-amd64`` in a new folder."""
    name = concrete(run("apt-cache", "depends", "linux-image-amd64"))
    folder.mkdir()
    fetch("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", name, folder=str(folder))
    package = next(folder.glob("*.deb"))
    tree = folder / "tree"
    run("dpkg-deb", "-x", str(package), str(tree))
    package.unlink()
    kernel = Kernel(name.removeprefix("linux-image-"), tree)
    run("depmod", "-b", str(tree), kernel.version)
    return kernel


def concrete(depends: str) -> str:
    """The package of one version on which the one without a version depends."""
    found = re.search(r"Depends: (linux-image-\d[^\s]*)", depends)
    if not found:
        raise LabMissing("apt knows of no kernel linux-image-amd64")
    return found[1]


def modules(kernel: Kernel, wanted: Iterable[str]) -> list[Path]:
    """Files of these and of all they need, in an order in which they can be loaded."""
    told = run("modprobe", "-d", str(kernel.tree), "-S", kernel.version, "--show-depends", "--all", *wanted)
    return ordered(told)


def ordered(told: str) -> list[Path]:
    """Paths of what modprobe tells, each once; what is built in has none."""
    paths = (line.split()[1] for line in told.splitlines() if line.startswith("insmod "))
    return [Path(path) for path in dict.fromkeys(paths)]


def install(kernel: Kernel, tree: Path) -> None:
    """The modules of a chassis into the system; all of them would be 400 MB."""
    folder = Path("lib/modules") / kernel.version
    for module in modules(kernel, IN_THE_SYSTEM):
        copy(module, tree / module.relative_to(kernel.tree))
    for listing in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copyfile(kernel.tree / folder / listing, tree / folder / listing)
    run("chroot", str(tree), "depmod", kernel.version)


def copy(module: Path, target: Path) -> None:
    """Unpacked where it is packed: an emulated CPU takes its time for that."""
    data = module.read_bytes()
    if module.suffix == ".xz":
        data, target = lzma.decompress(data), target.with_suffix("")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
