"""Who carries files to a Blob service in the benchmark, and how each is started, watched and ended."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from agent import __version__
from benchmarks.fuse_mounts import dislocked, first_line, fuse_versions, ntfs_mounted, why_no_mounts
from benchmarks.install_peers import AZCOPY, RCLONE
from benchmarks.processes import Child, Cost
from benchmarks.transfer_images import Material
from benchmarks.transfer_own import CONTAINER, run_own
from benchmarks.transfer_targets import Target

DEADLINE_S = 300
CHECKOUT = Path(__file__).parents[1]
_INSTALL = "python -m benchmarks.install_peers"


@dataclass(frozen=True, slots=True)
class Spent:
    """From the start of a party's first process to the end of its last, and what each took."""

    wall_s: float
    costs: tuple[Cost, ...]

    @property
    def cpu_s(self) -> float:
        """Of all processes."""
        return sum(cost.cpu_s for cost in self.costs)

    @property
    def peak_bytes(self) -> int:
        """Of all processes together."""
        return sum(cost.peak_bytes for cost in self.costs)


class Party(Protocol):
    """One way of carrying files. ``integrity`` says what of it is checked on the way."""

    name: str
    integrity: str

    def missing(self) -> str | None:
        """Why it cannot run here, and what would mend that; None when it can."""
        ...

    def versions(self) -> str:
        """Of all parts. Only asked when nothing is missing."""
        ...

    def files(self, material: Material) -> int:
        """How many of the files it carries."""
        ...

    def run(self, material: Material, target: Target) -> Spent:
        """Carry them, from nothing to its end. Raises PartyFailed."""
        ...


class _Whole:
    def files(self, material: Material) -> int:
        return material.workload.files


class Own(_Whole):
    """``ingest-agent replay`` on the volume."""

    integrity = "CRC-64 of every block and blob, compared by the service"

    def __init__(self, name: str, *, is_encrypted: bool = True, has_md5: bool = False) -> None:
        self.name, self._is_encrypted = name, is_encrypted
        self._options = ("--content-md5",) if has_md5 else ()
        if has_md5:
            self.integrity += "; MD5 of each file stored"

    def missing(self) -> str | None:
        return None

    def versions(self) -> str:
        return (
            f"{__version__} ({', '.join(f'{name} {version(name)}' for name in ('cryptography', 'anycrc'))})"
        )

    def run(self, material: Material, target: Target) -> Spent:
        image, key = (
            (material.bitlocker, material.startup_key) if self._is_encrypted else (material.plain, None)
        )
        done = run_own(
            image,
            key,
            target.endpoint,
            options=self._options,
            authority=target.authority,
            credential=target.sas,
        )
        return Spent(done.wall_s, (done.cost,))


class AzCopy(_Whole):
    """From a folder of plain files. Its standard input stays open: at its end it would spin a core."""

    def __init__(self, name: str = "AzCopy", options: Sequence[str] = (), integrity: str = "none") -> None:
        self.name, self.integrity, self._options = name, integrity, tuple(options)

    def missing(self) -> str | None:
        if not AZCOPY.exists():
            return f"not installed; {_INSTALL}"
        done = subprocess.run([AZCOPY, "--version"], capture_output=True, text=True, check=False)
        said = (done.stderr or done.stdout).strip().partition("\n")[0]
        return f"it does not start: {said}; it needs the package libsecret-1-0" if done.returncode else None

    def versions(self) -> str:
        return first_line(str(AZCOPY), "--version").rpartition(" ")[2]

    def run(self, material: Material, target: Target) -> Spent:
        with ExitStack() as stack:
            return _spent([self.start(material.folder, target, stack)])

    def start(self, folder: Path, target: Target, stack: ExitStack) -> Child:
        """Copies ``folder``; logs and plans go to a folder of their own."""
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="ingest-bench-azcopy-"))
        known = {
            "AZCOPY_LOG_LOCATION": f"{scratch}/logs",
            "AZCOPY_JOB_PLAN_LOCATION": f"{scratch}/plans",
            "AZCOPY_DISABLE_SYSLOG": "true",
        }
        command: tuple[str | Path, ...] = (
            *(AZCOPY, "copy", folder, f"{target.endpoint}/{CONTAINER}?{target.sas}"),
            *("--recursive", "--as-subdir=false", "--from-to=LocalBlob"),
            *("--output-level=quiet", "--log-level=NONE", *self._options),
        )
        return stack.enter_context(
            Child(
                self.name,
                command,
                environment=_environment(target) | known,
                holds_stdin=True,
                deadline_s=DEADLINE_S,
            )
        )


class Rclone(_Whole):
    """From a folder of plain files, as it comes."""

    name = "rclone"
    integrity = "MD5 of every block, compared by the service; MD5 of each file stored"

    def missing(self) -> str | None:
        return None if RCLONE.exists() else f"not installed; {_INSTALL}"

    def versions(self) -> str:
        return first_line(str(RCLONE), "version").rpartition(" ")[2]

    def run(self, material: Material, target: Target) -> Spent:
        with ExitStack() as stack:
            settings = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "rclone.conf"
            settings.write_text(
                f"[bench]\ntype = azureblob\naccount = {target.account}\nkey = {target.key}\n"
                f"endpoint = {target.endpoint}\n",
                "utf-8",
            )
            command = (RCLONE, f"--config={settings}", "copy", material.folder, f"bench:{CONTAINER}")
            child = Child(self.name, command, environment=_environment(target), deadline_s=DEADLINE_S)
            return _spent([stack.enter_context(child)])


class Pair(_Whole):
    """What is done without us: dislocker-fuse, over its file ntfs-3g, and AzCopy from that mount."""

    name = "dislocker + ntfs-3g + AzCopy"
    integrity = "none"

    def __init__(self) -> None:
        self._azcopy = AzCopy()

    def missing(self) -> str | None:
        return why_no_mounts() or self._azcopy.missing()

    def versions(self) -> str:
        return f"{fuse_versions()}, {self._azcopy.versions()}"

    def run(self, material: Material, target: Target) -> Spent:
        begun = time.monotonic()
        with ExitStack() as children, ExitStack() as mounts:
            opened_by = [f"--bekfile={material.startup_key}"]
            dislocker, plain = dislocked(material.bitlocker, opened_by, children, mounts)
            ntfs, root = ntfs_mounted(plain, children, mounts)
            azcopy = self._azcopy.start(root, target, children)
            azcopy.wait([dislocker, ntfs])
            dislocker.look()
            ntfs.look()
            mounts.close()
            return Spent(_ended(azcopy) - begun, (azcopy.cost(), ntfs.cost(), dislocker.cost()))


class Sdk:
    """The SDK's ``upload_blob``, 16 at once from one process; of the files it carries the first."""

    name = "SDK upload_blob"
    integrity = "none"
    most_files = 2000

    def missing(self) -> str | None:
        return None

    def versions(self) -> str:
        return version("azure-storage-blob")

    def files(self, material: Material) -> int:
        return min(self.most_files, material.workload.files)

    def run(self, material: Material, target: Target) -> Spent:
        command = (sys.executable, "-m", "benchmarks.transfer_sdk", target.endpoint, material.folder)
        child = Child(
            self.name,
            (*command, str(self.files(material))),
            stdin=target.sas.encode(),
            folder=CHECKOUT,
            environment=_environment(target),
            deadline_s=DEADLINE_S,
        )
        with child:
            return _spent([child])


def _environment(target: Target) -> dict[str, str]:
    return dict(os.environ) | target.trust | {"NO_PROXY": "127.0.0.1"}


def _spent(children: Sequence[Child]) -> Spent:
    costs = tuple(child.cost() for child in children)
    return Spent(max(map(_ended, children)) - children[0].begun, costs)


def _ended(child: Child) -> float:
    child.wait()
    assert child.ended is not None
    return child.ended
