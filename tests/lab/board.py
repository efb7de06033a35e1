"""The machine that QEMU is told to be: its command line.

By emulation only, never by KVM: a host that shows /dev/kvm may be unable to run a stock kernel by it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.lab import drive as drives
from tests.lab.drive import Drive, Medium

FIRST_SLOT: Final = 0x10
MOST_BAYS: Final = 8
"""Each port's I/O window takes 4 KiB of the 64 that a PC has."""
SERVICE_IN_GUEST: Final = ("10.0.2.100", 10000)
"""Where the guest finds the host's Blob service; it reaches nothing else."""
ABSENT_BYTES: Final = 4096
KERNEL_LINE: Final = (
    "console=ttyS0 quiet loglevel=4 mitigations=off random.trust_cpu=on tsc=reliable audit=0 "
    "systemd.show_status=false"
)


@dataclass(frozen=True, slots=True)
class Board:
    """Files and drives of one run; ``folder`` is the run's own."""

    kernel: Path
    initramfs: Path
    root: Path
    """A qcow2 overlay of this run; it is written to."""
    folder: Path
    chassis: Sequence[Drive]
    """The drive of bay 1, of bay 2, …; one drive may sit in several."""
    media: Mapping[int, Medium] = field(default_factory=dict)
    """What is on the drive of a bay; nothing but zeros where none is named."""
    service_port: int | None = None
    """The host's port (loopback) that SERVICE_IN_GUEST leads to; None: no service."""
    cargo: Path | None = None
    """A file that the guest finds as /dev/vdc."""
    incoming: Path | None = None
    """A saved state to go on from."""
    memory_mib: int = 1536

    def __post_init__(self) -> None:
        if not 0 < len(self.chassis) <= MOST_BAYS:
            raise ValueError(f"{len(self.chassis)} bays: 1 to {MOST_BAYS}")
        if unknown := set(self.media) - set(self.bays):
            raise ValueError(f"no such bays: {sorted(unknown)}")

    @property
    def bays(self) -> range:
        return range(1, len(self.chassis) + 1)

    @property
    def qmp_socket(self) -> Path:
        return self.folder / "qmp"

    @property
    def control_socket(self) -> Path:
        return self.folder / "control"

    @property
    def console(self) -> Path:
        return self.folder / "console.log"

    @property
    def absent(self) -> Path:
        """The ports of empty bays, one a line: the guest reads it whenever it boots."""
        return self.folder / "absent"

    def disk_file(self, bay: int) -> Path:
        return self.folder / f"disk{bay}.img"


def port_address(bay: int) -> str:
    """PCI address of the bay's port, as the guest sees it."""
    return f"0000:00:{FIRST_SLOT + bay - 1:02x}.0"


def controller_address(bay: int) -> str:
    """PCI address of the bay's controller: firmware numbers buses in the order of their ports."""
    return f"0000:{bay:02x}:00.0"


def id_path(bay: int) -> str:
    """udev's ID_PATH of a drive in this bay."""
    return f"pci-{controller_address(bay)}-ata-1.0"


def absent_text(board: Board, inserted: frozenset[int]) -> bytes:
    """Contents of ``Board.absent``, filled up to whole sectors."""
    lines = "".join(f"{port_address(bay)}\n" for bay in board.bays if bay not in inserted)
    return lines.encode("ascii").ljust(ABSENT_BYTES, b"\n")


def command_line(board: Board) -> list[str]:
    """QEMU with all its options; nothing is left to its defaults or to the user's settings."""
    return [
        "qemu-system-x86_64",
        *("-nodefaults", "-no-user-config"),
        *("-display", "none"),
        *("-machine", "q35"),
        *("-accel", "tcg,thread=multi,tb-size=512"),
        *("-cpu", "Westmere"),
        *("-smp", "2"),
        *("-m", f"{board.memory_mib}M"),
        *("-rtc", "base=utc"),
        *("-kernel", str(board.kernel)),
        *("-initrd", str(board.initramfs)),
        *("-append", KERNEL_LINE),
        *("-serial", f"file:{board.console}"),
        *("-qmp", f"unix:{board.qmp_socket},server=on,wait=off"),
        *("-device", "virtio-rng-pci"),
        *_control(board),
        *_virtio_disks(board),
        *_network(board),
        *_bays(board),
        *(("-incoming", f"exec:cat {board.incoming}") if board.incoming else ()),
    ]


def _control(board: Board) -> Iterator[str]:
    yield from ("-device", "virtio-serial-pci")
    yield from ("-chardev", f"socket,id=control,path={board.control_socket},server=on,wait=off")
    yield from ("-device", "virtserialport,chardev=control,name=lab.control")


def _virtio_disks(board: Board) -> Iterator[str]:
    """The system, the list of empty bays, the cargo: /dev/vda, vdb, vdc."""
    root = {"driver": "file", "filename": str(board.root), "discard": "unmap"}
    yield from _virtio("root", {"driver": "qcow2", "cache": {"no-flush": True}, "file": root})
    # The host writes to it while the guest has it.
    yield from _virtio("absent", _raw(board.absent) | {"read-only": True})
    cargo = {"driver": "null-co", "size": 512} if board.cargo is None else _raw(board.cargo)
    yield from _virtio("cargo", cargo | {"read-only": True})


def _raw(file: Path) -> dict[str, object]:
    read_only = {"driver": "file", "filename": str(file), "read-only": True, "locking": "off"}
    return {"driver": "raw", "file": read_only}


def _virtio(name: str, node: Mapping[str, object]) -> Iterator[str]:
    yield from ("-blockdev", json.dumps({**node, "node-name": name}))
    yield from ("-device", f"virtio-blk-pci,drive={name},id=virtio-{name}")


def _network(board: Board) -> Iterator[str]:
    network = "user,id=net,restrict=on"
    if board.service_port is not None:
        address, port = SERVICE_IN_GUEST
        reach = f"socat - TCP:127.0.0.1:{board.service_port}"
        network += f",guestfwd=tcp:{address}:{port}-cmd:{reach}"
    yield from ("-netdev", network)
    yield from ("-device", "virtio-net-pci,netdev=net,romfile=")


def _bays(board: Board) -> Iterator[str]:
    for bay, drive in zip(board.bays, board.chassis, strict=True):
        medium = board.media.get(bay, Medium())
        port = (
            f"pcie-root-port,id=port{bay},bus=pcie.0,addr={FIRST_SLOT + bay - 1:#x},chassis={bay},slot={bay}"
        )
        yield from ("-device", port)
        yield from ("-object", json.dumps(drives.throttle_object(bay, medium)))
        yield from ("-blockdev", json.dumps(drives.block_node(bay, board.disk_file(bay), medium)))
        yield from ("-device", json.dumps(drives.ahci_device(bay)))
        yield from ("-device", json.dumps(drives.disk_device(bay, drive)))
