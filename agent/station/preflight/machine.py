"""Checks of this machine: its user, drives, programs, clock and kernel. They read, and change nothing."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from agent.devices.automounters import automounters
from agent.devices.smart import find
from agent.station.preflight.finding import Finding, failed, passed, skipped, warning
from agent.transfer.sandbox import kernel

SMARTCTL_WITHIN_S = 10.0
OLDEST_SMARTCTL = (7, 0)
CAP_SYS_RAWIO = 17
SMART_SOCKET = "run/drive-ingest-smart.sock"
RULES = "60-drive-ingest.rules"
RULES_FOLDERS = ("etc/udev/rules.d", "run/udev/rules.d", "usr/local/lib/udev/rules.d", "usr/lib/udev/rules.d")

_STA_UNSYNC = 0x40
_LANDLOCK_CREATE_RULESET, _ASK_VERSION = 444, 1


@dataclass(frozen=True, slots=True)
class Machine:
    """``root`` is where its files begin, so that another one can be looked at."""

    root: Path = Path("/")

    def checks(self, *, uses_udev: bool) -> list[Finding]:
        """All of them."""
        return [
            self.user(),
            self.devices(),
            self.udev(needed=uses_udev),
            self.automounters(),
            self.smartctl(),
            self.clock(),
            self.memory_files(),
            self.seccomp(),
            self.landlock(),
            self.controllers(),
        ]

    def user(self) -> Finding:
        """Root may read everything, and so hides what the service's user may not."""
        if os.geteuid() != 0:
            return passed("user", f"runs as user {os.geteuid()}, not as root")
        return warning(
            "user",
            "this runs as root, so it is not seen what the service's own user may do",
            "runuser -u drive-ingest -- ingest-agent doctor",
        )

    def devices(self) -> Finding:
        """Every disk of the machine can be read."""
        names = self._disks()
        if not names:
            return skipped("device permissions", "no disk is attached to look at")
        closed = [name for name in names if not os.access(self.root / "dev" / name, os.R_OK)]
        if closed:
            return failed(
                "device permissions",
                f"this user may not read {', '.join(closed)}",
                "usermod -aG disk drive-ingest, then systemctl restart drive-ingest-agent",
            )
        return passed("device permissions", f"{', '.join(names)} can be read")

    def _disks(self) -> list[str]:
        try:
            found = sorted(path.name for path in (self.root / "sys/block").iterdir())
        except OSError:
            return []
        return [
            name for name in found if name.startswith(("sd", "nvme")) and (self.root / "dev" / name).exists()
        ]

    def udev(self, *, needed: bool) -> Finding:
        """The daemon that tells of drives runs."""
        if _listens(self.root / "run/udev/control"):
            return passed("udev", "systemd-udevd runs")
        if not needed:
            return skipped("udev", "systemd-udevd does not run, and the settings name no drives of it")
        return failed(
            "udev", "systemd-udevd does not run: no drive will be seen", "systemctl start systemd-udevd"
        )

    def automounters(self) -> Finding:
        """Nobody else takes drives that are plugged in, or the shipped rule keeps them off."""
        running = automounters(self.root / "proc")
        has_rule = any((self.root / folder / RULES).exists() for folder in RULES_FOLDERS)
        if running and not has_rule:
            return warning(
                "automounters",
                f"{', '.join(running)} runs and may mount customers' drives",
                "ingest-agent install-systemd places the udev rule that keeps it off; or stop it",
            )
        if running:
            return passed("automounters", f"{', '.join(running)} runs; the udev rule keeps it off the bays")
        return passed("automounters", "none runs")

    def smartctl(self) -> Finding:
        """Drives can be asked for their health."""
        program = find()
        if program is None:
            return warning(
                "smartctl", "it is not installed: drives' health is not known", "apt install smartmontools"
            )
        version = _smartctl_version(program)
        if version is None or version < OLDEST_SMARTCTL:
            return warning("smartctl", "it is older than 7.0 and tells no JSON", "install smartmontools 7.0")
        said = f"smartctl {version[0]}.{version[1]}"
        if os.access(self.root / SMART_SOCKET, os.W_OK):
            return passed("smartctl", f"{said}, asked through /{SMART_SOCKET}")
        if not _has_capability(CAP_SYS_RAWIO):
            return warning(
                "smartctl",
                f"{said}, but without CAP_SYS_RAWIO SATA drives do not answer it",
                "systemctl start drive-ingest-smart.socket, which the service brings along",
            )
        return passed("smartctl", said)

    def clock(self) -> Finding:
        """The kernel says that somebody keeps its clock right."""
        state = _clock_is_synchronised()
        if state is None:
            return skipped("clock", "the kernel does not tell whether its clock is kept right")
        if state:
            return passed("clock", "it is kept in step with a time server")
        return warning(
            "clock",
            "nobody keeps it in step; the store refuses requests of a clock that is 15 minutes off",
            "timedatectl set-ntp true",
        )

    def memory_files(self) -> Finding:
        """Reader and uploader share memory by memfd_create(2)."""
        try:
            os.close(os.memfd_create("doctor", os.MFD_CLOEXEC))
        except OSError as error:
            return failed(
                "shared memory", f"memfd_create is refused: {error.strerror}", "allow it in the unit's filter"
            )
        return passed("shared memory", "memfd_create works")

    def seccomp(self) -> Finding:
        """System calls of the process that reads drives can be filtered."""
        actions = self.root / "proc/sys/kernel/seccomp/actions_avail"
        try:
            known = actions.read_text("ascii").split()
        except OSError:
            known = []
        if "kill_process" in known:
            return passed("seccomp", "filters of system calls are there")
        return warning(
            "seccomp",
            "this kernel has no filters of system calls: the reader is confined less",
            "use a kernel with CONFIG_SECCOMP_FILTER",
        )

    def landlock(self) -> Finding:
        """Files can be hidden from the process that reads drives."""
        try:
            version = kernel.syscall(_LANDLOCK_CREATE_RULESET, None, 0, _ASK_VERSION)
        except OSError as error:
            why = "is switched off" if error.errno == errno.EOPNOTSUPP else "is not there"
            return warning(
                "Landlock",
                f"it {why}: the reader is confined less",
                "use a kernel from 5.13 on, with landlock in its lsm= list",
            )
        return passed("Landlock", f"ABI {version}")

    def controllers(self) -> Finding:
        """Memory and I/O of the service can be limited."""
        try:
            found = (self.root / "sys/fs/cgroup/cgroup.controllers").read_text("ascii").split()
        except OSError:
            found = []
        lacking = [name for name in ("memory", "io") if name not in found]
        if not lacking:
            return passed("limits", "cgroup v2 limits memory and I/O")
        return warning(
            "limits",
            f"cgroup v2 does not limit {' and '.join(lacking)}: MemorySwapMax=0 may have no effect",
            "start the machine with systemd.unified_cgroup_hierarchy=1",
        )


def _listens(path: Path) -> bool:
    """Whether anybody may be behind this socket; one that a dead process left refuses."""
    if not path.is_socket():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
        try:
            asking.connect(os.fspath(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True  # it is closed to this user
    return True


def _smartctl_version(program: str) -> tuple[int, int] | None:
    try:
        done = subprocess.run(  # noqa: S603 - found in the path of this user, no argument of others
            [program, "--json=c", "--version"], capture_output=True, check=False, timeout=SMARTCTL_WITHIN_S
        )
        major, minor = json.loads(done.stdout)["smartctl"]["version"][:2]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        return None
    return int(major), int(minor)


def _has_capability(number: int) -> bool:
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
    except OSError:
        return False
    effective = next((line.split()[1] for line in lines if line.startswith("CapEff:")), "0")
    return bool(int(effective, 16) >> number & 1)


def _clock_is_synchronised() -> bool | None:
    """adjtimex(2) that changes nothing; ``status`` is the sixth word of struct timex."""
    words = (ctypes.c_long * 64)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.adjtimex(ctypes.byref(words)) < 0:
        return None
    status = ctypes.c_int.from_buffer(words, 5 * ctypes.sizeof(ctypes.c_long)).value
    return not status & _STA_UNSYNC
