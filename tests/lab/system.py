"""The guest's file system: Debian with systemd and udev, as small as it goes, and the laboratory's own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.lab import sources
from tests.lab.steps import fetch, run

FILES: Final = Path(__file__).parent / "files"
PACKAGES: Final = (
    "systemd-sysv",
    "udev",
    "kmod",
    "python3",
    "smartmontools",
    "iproute2",
    "procps",
    "busybox-static",
)
LEFT_OUT: Final = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")
NOT_WANTED: Final = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "smartmontools.service",
    "systemd-networkd-wait-online.service",
    "systemd-timesyncd.service",
    "systemd-pstore.service",
    "systemd-logind.service",
    "systemd-binfmt.service",
    "proc-sys-fs-binfmt_misc.automount",
    "getty-static.service",
    "getty@tty1.service",
    "serial-getty@ttyS0.service",
    "modprobe@drm.service",
    "modprobe@configfs.service",
    "modprobe@efi_pstore.service",
    "ldconfig.service",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
)
"""An emulated boot is shorter by each of them."""
NETWORK: Final = "[Match]\nDriver=virtio_net\n[Network]\nAddress=10.0.2.15/24\nLinkLocalAddressing=no\n"
JOURNAL: Final = "[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\nSyncIntervalSec=1s\n"
"""A power cut must leave what was said before it."""


def unpack(tree: Path) -> None:
    """Debian of this machine's release and from its sources into a new folder; half a minute."""
    fetch(
        "mmdebstrap",
        "--quiet",
        "--variant=apt",
        "--mode=root",
        f"--include={','.join(PACKAGES)}",
        '--aptopt=Acquire::Languages "none"',
        '--aptopt=APT::Install-Recommends "false"',
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
        sources.release(),
        str(tree),
        *sources.lines(),
    )


def configure(tree: Path) -> None:
    """The laboratory's own: its channel, the network of two addresses, nothing that takes time."""
    _write(tree / "etc/hostname", "station\n")
    _write(tree / "etc/hosts", "127.0.0.1 localhost station\n")
    _write(tree / "etc/fstab", "/dev/vda / ext4 rw,noatime 0 0\n")
    _write(tree / "etc/machine-id", "5eed" * 8 + "\n")
    _write(tree / "etc/systemd/network/10-lab.network", NETWORK)
    _write(tree / "etc/systemd/journald.conf.d/lab.conf", JOURNAL)
    for file, target, mode in (
        ("control.py", "opt/lab/control.py", 0o755),
        ("lab-control.service", "etc/systemd/system/lab-control.service", 0o644),
        ("80-lab-control.rules", "etc/udev/rules.d/80-lab-control.rules", 0o644),
        ("smartctl", "usr/local/sbin/smartctl", 0o755),
    ):
        (tree / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(FILES / file, tree / target)
        (tree / target).chmod(mode)
    run("chroot", str(tree), "systemctl", "--quiet", "enable", "systemd-networkd.service")
    run("chroot", str(tree), "systemctl", "--quiet", "set-default", "multi-user.target")
    run("chroot", str(tree), "systemctl", "--quiet", "mask", *NOT_WANTED)


def pack(tree: Path, image: Path) -> None:
    """The folder as an ext4 image with 4 GiB free, as `doctor` wants it; it takes no mount."""
    used = int(subprocess.check_output(["du", "-sm", tree]).split()[0])
    run(
        "mke2fs",
        *("-q", "-t", "ext4", "-m", "0"),
        *("-d", str(tree)),
        *("-O", "^metadata_csum"),
        *("-E", "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0"),
        str(image),
        f"{used * 115 // 100 + 4096}M",
    )


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
