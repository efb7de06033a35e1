"""Our Debian package, and its way into the guest."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.lab.machine import Machine
from tests.lab.store import CHECKOUT
from tests.lab.trouble import LabMissing

INSTALL_WITHIN_S: Final = 300.0


def newest() -> Path:
    """The package that was built last; raises LabMissing when there is none."""
    built = sorted(
        (CHECKOUT / "dist").glob("drive-ingest-agent_*.deb"), key=lambda file: file.stat().st_mtime
    )
    if not built:
        raise LabMissing("there is no package in dist/: `make lab` builds it")
    return built[-1]


def install(machine: Machine) -> None:
    """As a station's owner does; the package is the machine's cargo, which is longer by whole sectors."""
    cargo = machine.board.cargo
    assert cargo is not None
    machine.sh(f"head -c {cargo.stat().st_size} /dev/vdc > /var/tmp/package.deb")
    machine.sh("DEBIAN_FRONTEND=noninteractive dpkg -i /var/tmp/package.deb", timeout_s=INSTALL_WITHIN_S)
    machine.sh("rm /var/tmp/package.deb")
