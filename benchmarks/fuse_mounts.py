"""dislocker-fuse and ntfs-3g as contexts: the way to a BitLocker volume's files that others have."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.processes import Child, PartyFailed

OPEN_S = 60
"""For a mount to stand."""
BUSY_S = 10
"""For the kernel to let go of a mount."""
_POLL_S = 0.002


def why_no_mounts() -> str | None:
    """What is missing for both, and what would mend that; None when nothing is."""
    absent = [name for name in ("dislocker-fuse", "ntfs-3g") if shutil.which(name) is None]
    if absent:
        return f"no {' and no '.join(absent)}; install the packages dislocker and ntfs-3g"
    if os.geteuid() != 0:
        return "mounting needs root"
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"/dev/fuse: {error.strerror}"
    return None


def fuse_versions() -> str:
    """Of both."""
    dislocker = first_line("dislocker-fuse", "--help").rpartition(", v")[2].partition(" ")[0]
    return f"{dislocker}, {first_line('ntfs-3g', '--version').split()[1]}"


def dislocked(
    image: Path, opened_by: Sequence[str], children: ExitStack, mounts: ExitStack
) -> tuple[Child, Path]:
    """dislocker-fuse in the foreground, and the file that it shows. A fixture's key is no secret."""
    folder = Path(mounts.enter_context(tempfile.TemporaryDirectory()))
    command: list[str | Path] = [
        "dislocker-fuse",
        "--readonly",
        "--volume",
        image,
        *opened_by,
        "--",
        "-f",
        folder,
    ]
    child = children.enter_context(Child("dislocker-fuse", command))
    mounts.callback(unmount, folder)
    _await_mount(child, folder)
    return child, folder / "dislocker-file"


def ntfs_mounted(plain: Path, children: ExitStack, mounts: ExitStack) -> tuple[Child, Path]:
    """ntfs-3g in the foreground on the file itself: a loop device between was no faster."""
    folder = Path(mounts.enter_context(tempfile.TemporaryDirectory()))
    command: list[str | Path] = ["ntfs-3g", "-o", "ro,no_detach", plain, folder]
    child = children.enter_context(Child("ntfs-3g", command))
    mounts.callback(unmount, folder)
    _await_mount(child, folder)
    return child, folder


def _await_mount(child: Child, folder: Path) -> None:
    deadline = time.monotonic() + OPEN_S
    while not folder.is_mount():
        if child.is_over():
            child.cost()
            raise PartyFailed(f"{child.name} ended before its mount stood")
        if time.monotonic() > deadline:
            raise PartyFailed(f"{child.name} made no mount in {OPEN_S} s")
        time.sleep(_POLL_S)


def unmount(folder: Path) -> None:
    """The kernel may need a moment to let go of the last file. Raises PartyFailed."""
    deadline = time.monotonic() + BUSY_S
    while folder.is_mount():
        done = subprocess.run(["umount", folder], capture_output=True, text=True)
        if done.returncode and time.monotonic() > deadline:
            raise PartyFailed(f"{folder} stays mounted: {done.stderr.strip()}")
        time.sleep(_POLL_S)


def first_line(*command: str) -> str:
    """What a program says of itself."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().partition("\n")[0]
