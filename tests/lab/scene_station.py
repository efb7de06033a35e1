"""The station of the scenes: the drives that its bays were built for, and how it is set up.

It goes into the guest before that is saved: an edit here has the saved guest made anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fixtures.azurite import ACCOUNT, KEY
from tests.lab.board import SERVICE_IN_GUEST
from tests.lab.drive import Drive
from tests.lab.machine import Machine

DISK_BYTES: Final = 64 << 20
"""Of all drives."""
A, B = "WD-WX11LAB00017", "ZA1LAB02"
CHASSIS: Final[Sequence[Drive]] = (
    Drive(A, size_bytes=DISK_BYTES, wwn=0x50014EE2B9F0C1D2),
    Drive(B, size_bytes=DISK_BYTES, model="ST4000VN008-2DR166", firmware="SC60", wwn=0x5000C500A1B2C3D4),
    Drive(A, size_bytes=DISK_BYTES, wwn=0x50014EE2B9F0C1D2),
)
"""Bays 1 to 3. A drive can be moved from bay 1 to bay 3; in both at once are two that tell one serial."""
CONNECTIONS: Final = 4
"""So many requests are under way at once: what may be sent twice."""
BLOCK_BYTES: Final = 1 << 20
_ADDRESS: Final = "http://{}:{}/{}".format(*SERVICE_IN_GUEST, ACCOUNT)
PREPARED_WITHIN_S: Final = 300.0
_SETTINGS: Final = """\
state_dir = "/var/lib/drive-ingest-agent"
[store]
kind = "azure"
address = "{address}"
[transfer]
ring_mib = 32
block_mib = {block_mib}
connections = {connections}
give_up_after_s = 10
[devices]
udev = true
[bays]
{bays}
"""
_PREPARE: Final = """\
set -e
mkdir -p /var/log/journal
systemctl restart systemd-journald
ingest-agent bays --rules > /etc/udev/rules.d/59-drive-ingest-bays.rules
udevadm control --reload
systemctl enable --now --quiet drive-ingest-agent
"""


def prepare(machine: Machine) -> None:
    """Set the station up as docs/operations.md tells, once, in the guest that is saved."""
    bays = "\n".join(f'"{bay.id_path}" = "{bay.number}"' for bay in machine.bays)
    settings = _SETTINGS.format(
        address=_ADDRESS, block_mib=BLOCK_BYTES >> 20, connections=CONNECTIONS, bays=bays
    )
    machine.put("/etc/drive-ingest-agent/agent.toml", settings)
    machine.put("/etc/credstore/drive-ingest.store", KEY, mode=0o600)
    machine.sh(_PREPARE, timeout_s=PREPARED_WITHIN_S)
