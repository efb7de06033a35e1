"""A device source that a test or a simulation plugs and unplugs by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

from agent.devices.health import Health
from agent.devices.image import open_read_only
from agent.devices.source import Device
from agent.errors import DeviceUnavailable
from agent.model.identity import SerialNumber


class FakeSource:
    """Bays into which files are plugged."""

    def __init__(self) -> None:
        self._bays: dict[str, tuple[Device, Path]] = {}
        self._attachments = count(1)
        self._changed = asyncio.Event()

    def plug(self, bay: str, path: Path, serial: str, sector_size: int = 512, **more: Any) -> Device:
        """Attach a file as a drive; ``more`` are further fields of its Device."""
        key = f"fake:{next(self._attachments)}"
        device = Device(key, SerialNumber.parse(serial), bay, path.stat().st_size, sector_size, **more)
        self._bays[bay] = (device, path)
        self._changed.set()
        return device

    def pull(self, bay: str) -> None:
        """Detach whatever is in the bay."""
        del self._bays[bay]
        self._changed.set()

    async def devices(self) -> list[Device]:
        return [device for device, _ in self._bays.values()]

    async def changes(self) -> AsyncIterator[None]:
        while True:
            self._changed.clear()
            yield
            await self._changed.wait()

    async def open(self, device: Device) -> int:
        for attached, path in self._bays.values():
            if attached == device:
                return open_read_only(path)
        raise DeviceUnavailable(f"drive {device.serial} is not in bay {device.bay} any more")

    async def health(self, device: Device) -> Health | None:
        return None
