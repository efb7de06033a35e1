"""A bay of the running guest, and what hands can do to the drive in it."""

from __future__ import annotations

import shlex
from typing import Final, Protocol

from tests.lab import board
from tests.lab.drive import Drive, throttle_id

SMART_FAILS: Final = "/etc/lab/smart-fails"
"""Folder of the guest: drives whose serial is a file here fail their own health check."""
_COMMAND: Final = 4
"""Offset of the command register in a PCI configuration; 0: the device answers nothing any more."""
_ALIVE: Final = r"\x07\x05"
_DEAD: Final = r"\x00\x00"


class Hands(Protocol):
    """What a bay needs of its machine."""

    def sh(self, command: str, *, timeout_s: float = ...) -> str: ...

    def until(self, command: str, *, timeout_s: float = ...) -> str: ...

    def qmp(self, command: str, arguments: dict[str, object] | None = None) -> object: ...

    def gone(self, device: str) -> None: ...

    def mark_inserted(self, bay: int, *, inserted: bool) -> None: ...


class Bay:
    """Numbered from 1. The guest's kernel sees what happens, as it would see it of a chassis."""

    def __init__(self, hands: Hands, number: int, drive: Drive) -> None:
        self.number, self.drive = number, drive
        self._hands = hands
        self._port = f"/sys/bus/pci/devices/{board.port_address(number)}"
        self._controller = f"{self._port}/{board.controller_address(number)}"

    @property
    def serial(self) -> str:
        return self.drive.serial

    @property
    def id_path(self) -> str:
        """udev's ID_PATH: the key of this bay in the settings of the agent."""
        return board.id_path(self.number)

    @property
    def link(self) -> str:
        """The node of the drive in this bay, by its place, whatever name it has at the moment."""
        return f"/dev/disk/by-path/{self.id_path}"

    def node(self) -> str:
        """Such as /dev/sda, of the drive that is in the bay now."""
        return self._hands.sh(f"readlink -e {self.link}").strip()

    def insert(self, *, wait: bool = True) -> None:
        """Push the drive in; with ``wait``, until udev has described it (some 2 s)."""
        self._hands.mark_inserted(self.number, inserted=True)
        self._hands.sh(f"echo 1 > $(echo {self._port}/pci_bus/*/rescan)")
        if wait:
            self.wait_present()

    def eject(self, *, wait: bool = True) -> None:
        """Take it out in order: caches are flushed, it is told at once. ``insert`` brings it back."""
        self._hands.sh(f"echo 1 > {self._controller}/remove")
        self._hands.mark_inserted(self.number, inserted=False)
        if wait:
            self.wait_absent()

    def yank(self, *, command_timeout_s: int = 3) -> None:
        """The link dies, under whatever goes on; returns at once.

        The kernel notices by commands that get no answer: 14 s of resets after ``command_timeout_s``
        (which hardware has as 30); of an idle drive it notices nothing until it is asked: see ``poke``.
        """
        self._hands.sh(
            f"for each in {self._controller}/ata*/host*/target*/*/timeout;"
            f" do echo {command_timeout_s} > $each; done; {self._write_command(_DEAD)}"
        )
        self._hands.mark_inserted(self.number, inserted=False)

    def poke(self) -> None:
        """Have the kernel look whether anybody is there, as the interrupt of a hot plug would; takes 14 s."""
        self._hands.sh(f"echo '- - -' > $({self._first_host()})/scan", timeout_s=120)

    def plug_back(self, *, wait: bool = True) -> None:
        """The same drive, into the bay from which it was yanked, and which the kernel has given up."""
        self._hands.mark_inserted(self.number, inserted=True)
        self._hands.sh(self._write_command(_ALIVE))
        self.poke()
        if wait:
            self.wait_present()

    def pull(self) -> None:
        """Controller and drive vanish for good, in a second; commands under way fail."""
        self._hands.mark_inserted(self.number, inserted=False)
        self._hands.qmp("device_del", {"id": f"bay{self.number}"})
        self._hands.gone(f"bay{self.number}")
        self.wait_absent()

    def throttle(self, bytes_per_s: int) -> None:
        """How fast the drive can be read from now on; 0: as fast as it goes."""
        where = {"path": f"/objects/{throttle_id(self.number)}", "property": "limits"}
        self._hands.qmp("qom-set", {**where, "value": {"bps-total": bytes_per_s}})

    def fail_smart(self) -> None:
        """From now on the drive's own health check says FAILED."""
        self._hands.sh(f"mkdir -p {SMART_FAILS} && touch {SMART_FAILS}/{shlex.quote(self.serial)}")

    def wait_present(self, *, timeout_s: float = 120) -> None:
        """Until udev has described the drive and its partitions."""
        described = f"udevadm info -q property {self.link} 2>&1 | grep -q ^ID_SERIAL_SHORT={self.serial}$"
        self._hands.until(described, timeout_s=timeout_s)
        self._hands.sh("udevadm settle")

    def wait_absent(self, *, timeout_s: float = 180) -> None:
        """Until udev knows the drive no more."""
        self._hands.until(f"! test -e {self.link}", timeout_s=timeout_s)

    def _write_command(self, register: str) -> str:
        file = f"$(echo {self._controller}/config)"
        return f"printf '{register}' | dd of={file} bs=1 seek={_COMMAND} conv=notrunc status=none"

    def _first_host(self) -> str:
        """That of the controller's first port; ``sort`` by number, as there may be a host9 and a host10."""
        return f"ls -d {self._controller}/ata*/host*/scsi_host/host* | sort -V | head -n 1"
