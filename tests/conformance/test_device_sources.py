"""What every device source promises, over each adapter."""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from pathlib import Path

import pytest

from agent.devices.fake import FakeSource
from agent.devices.image import ImageEntry, ImageSource
from agent.devices.source import DeviceSource
from agent.errors import DeviceUnavailable
from agent.model.identity import SerialNumber


class _Bench(ABC):
    """Plugs and pulls one drive."""

    source: DeviceSource

    @abstractmethod
    def plug(self) -> None: ...

    @abstractmethod
    def pull(self) -> None: ...


class _Image(_Bench):
    def __init__(self, folder: Path) -> None:
        self._path = folder / "drive.img"
        self.source = ImageSource([ImageEntry(self._path, SerialNumber.parse("S 1"), "3")], poll_s=0.01)

    def plug(self) -> None:
        self._path.write_bytes(b"x" * 8192)

    def pull(self) -> None:
        self._path.unlink()


class _Fake(_Bench):
    def __init__(self, folder: Path) -> None:
        self._path = folder / "drive.img"
        self._path.write_bytes(b"x" * 8192)
        self._fake = FakeSource()
        self.source = self._fake

    def plug(self) -> None:
        self._fake.plug("3", self._path, "S 1")

    def pull(self) -> None:
        self._fake.pull("3")


@pytest.fixture(params=[_Image, _Fake])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> _Bench:
    made: _Bench = request.param(tmp_path)
    return made


async def test_nothing_is_there_before_it_is_plugged(bench: _Bench) -> None:
    assert await bench.source.devices() == []


async def test_a_plugged_drive_is_described(bench: _Bench) -> None:
    bench.plug()
    (device,) = await bench.source.devices()
    assert (device.serial.normal, device.bay, device.size_bytes, device.sector_size) == ("S1", "3", 8192, 512)


async def test_asked_twice_it_says_the_same(bench: _Bench) -> None:
    bench.plug()
    assert await bench.source.devices() == await bench.source.devices()


async def test_it_is_opened_read_only(bench: _Bench) -> None:
    bench.plug()
    (device,) = await bench.source.devices()
    fd = await bench.source.open(device)
    try:
        assert os.read(fd, 1) == b"x"
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(fd, b"y")
    finally:
        os.close(fd)


async def test_a_drive_that_was_pulled_cannot_be_opened(bench: _Bench) -> None:
    bench.plug()
    (device,) = await bench.source.devices()
    bench.pull()
    assert await bench.source.devices() == []
    with pytest.raises(DeviceUnavailable):
        await bench.source.open(device)


async def test_a_change_is_told_in_time(bench: _Bench) -> None:
    changes = bench.source.changes()
    await anext(changes)
    bench.plug()
    await asyncio.wait_for(anext(changes), 10)
    assert len(await bench.source.devices()) == 1


async def test_a_folder_is_no_drive(tmp_path: Path) -> None:
    source = ImageSource([ImageEntry(tmp_path, SerialNumber.parse("S1"), "1")])
    assert await source.devices() == []
