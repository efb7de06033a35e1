"""A drive of the laboratory, what is on it, and how QEMU is told of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

SECTOR_BYTES: Final = 512
MOST_BAD_SECTORS: Final = 1000
"""A rule a sector: an argument of a command line holds 128 KiB."""


@dataclass(frozen=True, slots=True)
class Drive:
    """What a drive says of itself; it is soldered to the saved machine, so choose all of them beforehand."""

    serial: str
    model: str = "WDC WD40EFRX-68N32N0"
    wwn: int | None = None
    size_bytes: int = 256 << 20
    rpm: int = 5400
    firmware: str = "82.00A82"

    def __post_init__(self) -> None:
        """ATA has 20, 40 and 8 characters for these; QEMU would cut them without a word."""
        for text, most in ((self.serial, 20), (self.model, 40), (self.firmware, 8)):
            if not 0 < len(text) <= most or not text.isascii():
                raise ValueError(f"{text!r} is not 1 to {most} ASCII characters")
        if self.size_bytes % SECTOR_BYTES:
            raise ValueError(f"{self.size_bytes} bytes are not whole sectors")


@dataclass(frozen=True, slots=True)
class Medium:
    """What is on a drive: an image's bytes, zeros behind them; and its faults."""

    image: Path | None = None
    bad: Sequence[range] = ()
    """Sectors of 512 bytes that cannot be read, as half-open ranges; in all at most MOST_BAD_SECTORS."""
    bytes_per_s: int = 0
    """How fast it can be read; 0: as fast as it goes. A command of 30 s would freeze the guest."""

    def bad_sectors(self) -> list[int]:
        sectors = sorted(set(chain.from_iterable(self.bad)))
        if len(sectors) > MOST_BAD_SECTORS:
            raise ValueError(f"{len(sectors)} bad sectors: at most {MOST_BAD_SECTORS}")
        return sectors


def throttle_id(bay: int) -> str:
    return f"throttle{bay}"


def throttle_object(bay: int, medium: Medium) -> Mapping[str, object]:
    """``-object``: always there, so that a running drive can be slowed as well."""
    return {"qom-type": "throttle-group", "id": throttle_id(bay), "limits": {"bps-total": medium.bytes_per_s}}


def block_node(bay: int, file: Path, medium: Medium) -> Mapping[str, object]:
    """``-blockdev``: throttle over raw over the faults over the file.

    The faults lie directly below the raw format: it is that which tells blkdebug of its reads.
    """
    node: dict[str, object] = {"driver": "file", "filename": str(file), "cache": {"no-flush": True}}
    if sectors := medium.bad_sectors():
        faults = [{"event": "read_aio", "sector": sector, "errno": 5, "once": False} for sector in sectors]
        node = {"driver": "blkdebug", "image": node, "inject-error": faults}
    node = {"driver": "raw", "file": node}
    return {
        "driver": "throttle",
        "throttle-group": throttle_id(bay),
        "file": node,
        "node-name": f"node{bay}",
    }


def ahci_device(bay: int) -> Mapping[str, object]:
    """``-device``: the bay's own controller, behind its own port, is what can be taken away."""
    return {"driver": "ich9-ahci", "id": f"bay{bay}", "bus": f"port{bay}"}


def disk_device(bay: int, drive: Drive) -> Mapping[str, object]:
    """``-device``: the drive on the first port of the bay's controller."""
    device: dict[str, object] = {
        "driver": "ide-hd",
        "id": f"disk{bay}",
        "bus": f"bay{bay}.0",
        "drive": f"node{bay}",
        "serial": drive.serial,
        "model": drive.model,
        "ver": drive.firmware,
        "rotation_rate": drive.rpm,
        "rerror": "report",
        "werror": "report",
    }
    return device if drive.wwn is None else device | {"wwn": drive.wwn}
