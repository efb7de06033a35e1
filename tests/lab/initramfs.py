"""The first programs of the guest: busybox, the drivers of its root disk, and ``files/init``."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from pathlib import Path

from tests.lab import kernel as kernels
from tests.lab.kernel import Kernel
from tests.lab.system import FILES


def pack(kernel: Kernel, system: Path, folder: Path, image: Path) -> None:
    """Makes it in a new folder, with the busybox of the system, and packs it."""
    for name in ("bin", "dev", "proc", "sys", "mnt", "modules"):
        (folder / name).mkdir(parents=True)
    busybox = folder / "bin/busybox"
    shutil.copy(system / "bin/busybox", busybox)
    (folder / "bin/sh").symlink_to("busybox")
    shutil.copyfile(FILES / "init", folder / "init")
    (folder / "init").chmod(0o755)
    names = []
    for module in kernels.modules(kernel, kernels.TO_REACH_ROOT):
        name = module.name.removesuffix(".xz")
        kernels.copy(module, folder / "modules" / module.name)
        names.append(name)
    (folder / "modules/order").write_text("".join(f"{name}\n" for name in names))
    files = "\n".join(str(path.relative_to(folder)) for path in sorted(folder.rglob("*")))
    archive = subprocess.run(
        [busybox, "cpio", "-o", "-H", "newc"],
        cwd=folder,
        input=files.encode(),
        capture_output=True,
        check=True,
    ).stdout
    image.write_bytes(gzip.compress(archive, compresslevel=1))
