"""Several sources of drives as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from agent.devices.health import Health
from agent.devices.source import Device, DeviceSource
from agent.errors import DeviceUnavailable


class SeveralSources:
    """What one of them shows is opened by the one that showed it."""

    def __init__(self, sources: Sequence[DeviceSource]) -> None:
        self._sources = tuple(sources)
        self._shown_by: dict[str, DeviceSource] = {}

    async def devices(self) -> list[Device]:
        shown = [(source, device) for source in self._sources for device in await source.devices()]
        self._shown_by = {device.key: source for source, device in shown}
        return [device for _, device in shown]

    async def changes(self) -> AsyncIterator[None]:
        news = asyncio.Event()

        async def follow(source: DeviceSource) -> None:
            async for _ in source.changes():
                news.set()

        followers = [asyncio.create_task(follow(source)) for source in self._sources]
        try:
            while True:
                yield
                await news.wait()
                news.clear()
        finally:
            for follower in followers:
                follower.cancel()
            await asyncio.gather(*followers, return_exceptions=True)

    async def open(self, device: Device) -> int:
        source = self._shown_by.get(device.key)
        if source is None:
            raise DeviceUnavailable(f"drive {device.serial} is not in bay {device.bay} any more")
        return await source.open(device)

    async def health(self, device: Device) -> Health | None:
        source = self._shown_by.get(device.key)
        return await source.health(device) if source is not None else None
