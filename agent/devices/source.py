"""The port through which drives are seen. One conformance suite runs over every adapter.

A source tells *that* something changed, and on request *what is there now*. The station always acts
on what is there now, so a lost event, a cold plug and a restart all end in the same state.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent.devices.health import Health
from agent.devices.hindrance import Hindrance
from agent.model.identity import SerialNumber


@dataclass(frozen=True, slots=True)
class Device:
    """A drive that is attached.

    ``key`` names this attachment: the same drive pulled and plugged back gets another. ``bay`` is the
    label for the technician. ``sector_size`` and ``size_bytes`` are in bytes. ``mapfile`` is GNU ddrescue's,
    of an image that it made: what it could not read of the drive are holes in the image. With a
    ``hindrance`` the drive is left alone and ``serial`` only likely. ``is_failing``: SMART says that parts
    of it cannot be read or will not be for long. ``controller`` names what several bays share, empty
    where it is not told.
    """

    key: str
    serial: SerialNumber
    bay: str
    size_bytes: int
    sector_size: int = 512
    mapfile: Path | None = None
    hindrance: Hindrance | None = None
    is_failing: bool = False
    controller: str = ""


class DeviceSource(Protocol):
    """Drives that are attached to this station."""

    async def devices(self) -> list[Device]:
        """What is attached right now. Never raises for a drive that is not there."""
        ...

    def changes(self) -> AsyncIterator[None]:
        """Yields whenever ``devices`` may have something new to say; endless."""
        ...

    async def open(self, device: Device) -> int:
        """A read-only descriptor, which the caller closes. Raises DeviceUnavailable."""
        ...

    async def health(self, device: Device) -> Health | None:
        """What the drive says of its condition now; None where there is nobody to ask. Never raises."""
        ...
