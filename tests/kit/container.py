"""This machine's own system booted in a container, with systemd as its first process, and nothing kept.

What is written goes to memory. The network is this machine's.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

BOOT_WITHIN_S = 120.0
COMMAND_WITHIN_S = 120.0
STOP_WITHIN_S = 20.0
_MORE_CALLS = "landlock_create_ruleset landlock_add_rule landlock_restrict_self"
"""What the container's own filter does not know, and a real machine's kernel takes from anybody."""
_WALLS = (
    "DynamicUser=yes",
    "DevicePolicy=closed",
    "CapabilityBoundingSet=CAP_SYS_RAWIO",
    "AmbientCapabilities=CAP_SYS_RAWIO",
    "MemoryMax=64M",
    "PrivateMounts=yes",
    "ProtectProc=invisible",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "RestrictAddressFamilies=AF_UNIX",
    "RestrictNamespaces=yes",
    "SystemCallFilter=@system-service",
)
"""Kinds of those that our units put up."""
_PROGRAMS = ("systemd-nspawn", "nsenter", "unshare", "systemctl")


class NoContainer(Exception):
    """It cannot be had here; the message says why."""


class Container:
    """A running one; ``leader`` is its first process as this machine numbers it."""

    def __init__(self, leader: int) -> None:
        self._leader = leader
        self.root = Path(f"/proc/{leader}/root")

    def run(self, *command: str, check: bool = True) -> str:
        """What a command said, on both channels."""
        done = subprocess.run(
            ["nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-n", "-p", "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=COMMAND_WITHIN_S,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "SYSTEMD_PAGER": ""},
        )
        assert done.returncode == 0 or not check, f"{command}: {done.stdout}"
        return done.stdout

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file in the container."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)


@contextmanager
def booted(folder: Path, binds: Mapping[Path, str]) -> Iterator[Container]:
    """``binds``: folders of this machine, and where they are seen, read-only. Raises NoContainer."""
    _check()
    root, said = folder / "root", folder / "container.log"
    root.mkdir()
    inner = [
        "systemd-nspawn",
        "--quiet",
        f"--directory={root}",
        "--volatile=overlay",
        "--register=no",
        "--keep-unit",
        "--console=pipe",
        f"--system-call-filter={_MORE_CALLS}",
        "--capability=CAP_SYS_RAWIO",
        *(f"--bind-ro={source}:{target}" for source, target in binds.items()),
        "--boot",
        "--",
        "--unit=basic.target",
    ]
    script = f'mount --make-rprivate / && mount --bind / "{root}" && exec "$@"'
    with said.open("w") as log:
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script, "sh", *inner],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        container = Container(_leader(process, said))
        _try(container)
        yield container
    finally:
        _stop(process)


def _try(container: Container) -> None:
    """Whether services can be started behind walls here, before anything of ours is."""
    try:
        container.run("systemctl", "is-system-running", "--wait", check=False)
        container.run("systemd-run", "--quiet", "--pipe", "--wait", *(f"-p{wall}" for wall in _WALLS), "true")
    except (AssertionError, subprocess.TimeoutExpired) as error:
        raise NoContainer(f"services cannot be confined in a container here: {str(error)[-300:]}") from None


def _check() -> None:
    if os.geteuid() != 0:
        raise NoContainer("a container needs root")
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing or not Path("/lib/systemd/systemd").exists():
        raise NoContainer(f"not installed here: {', '.join(missing) or 'systemd'}")


def _leader(process: subprocess.Popen[bytes], said: Path) -> int:
    """Its first process, once it takes commands."""
    deadline = time.monotonic() + BOOT_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with suppress(OSError, ValueError):
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            for child in map(int, children):
                if (Container(child).root / "run/systemd/private").exists():
                    return child
        time.sleep(0.05)
    raise NoContainer(f"systemd does not boot in a container here: {said.read_text()[-300:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    # The second signal ends it without a shutdown.
    for _ in range(2):
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
    try:
        process.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def settle_python(inside: Container) -> None:
    """A Python that is linked against its own library finds it there as well."""
    inside.write("/etc/ld.so.conf.d/00-own-python.conf", "/opt/python/lib\n")
    inside.run("ldconfig")


def python() -> tuple[str, dict[Path, str], str]:
    """This very Python for a container: program, binds, and the PYTHONPATH of its libraries."""
    import numpy

    libraries = Path(numpy.__file__).parents[1]
    checkout = Path(__file__).parents[2]
    own = Path(sys.base_prefix)
    binds = {libraries: "/opt/libraries", checkout: "/opt/checkout", own: "/opt/python"}
    program = Path(sys.executable).resolve().relative_to(own)
    return f"/opt/python/{program}", binds, "/opt/checkout:/opt/libraries"
