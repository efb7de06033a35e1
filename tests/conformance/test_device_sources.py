"""What every device source promises, over each adapter."""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.devices.fake import FakeSource
from agent.devices.health import Verdict
from agent.devices.image import ImageEntry, ImageSource
from agent.devices.several import SeveralSources
from agent.devices.source import Device, DeviceSource
from agent.errors import DeviceUnavailable
from agent.model.identity import SerialNumber
from tests.kit import udevd


class _Bench(ABC):
    """Plugs and pulls one drive."""

    source: DeviceSource

    @abstractmethod
    def plug(self) -> None: ...

    @abstractmethod
    def pull(self) -> None: ...

    def close(self) -> None:
        """Leave nothing behind; most have nothing."""
        return

    async def attached(self) -> list[Device]:
        """What the source shows of this bench."""
        return await self.source.devices()


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


class _Several(_Fake):
    """A drive beside an image that is not there."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        absent = ImageEntry(folder / "absent", SerialNumber.parse("S2"), "4")
        self.source = SeveralSources([ImageSource([absent]), self._fake])


class _Udev(_Bench):
    """A loop device dressed as a drive; only where udevd describes it (test_udev_conformance.py)."""

    def __init__(self, folder: Path) -> None:
        from agent.devices.smart import Smartctl
        from agent.devices.udev import UdevSource

        self._image = folder / "drive.img"
        self._image.write_bytes(b"x" * 8192)
        self._machine = udevd.here()
        self._drive: udevd.LoopDrive | None = None
        smartctl = Smartctl("no-such-smartctl")
        self.source = UdevSource({"conformance": "3"}, loop_devices=True, smartctl=smartctl)

    def plug(self) -> None:
        told = {"ID_BUS": "ata", "ID_ATA": "1", "ID_SERIAL": "X_S_1", "ID_SERIAL_SHORT": "S 1"}
        self._drive = self._machine.insert(self._image, {**told, "ID_PATH": "conformance"})

    def pull(self) -> None:
        assert self._drive is not None
        drive, self._drive = self._drive, None
        self._machine.pull(drive)

    async def attached(self) -> list[Device]:
        return [device for device in await self.source.devices() if device.bay == "3"]

    def close(self) -> None:
        if self._drive is not None:
            self.pull()


BENCHES: list[type[_Bench]] = [_Image, _Fake, _Several]
if udevd.is_here():
    BENCHES.append(_Udev)


@pytest.fixture(params=BENCHES)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[_Bench]:
    made: _Bench = request.param(tmp_path)
    yield made
    made.close()


async def test_nothing_is_there_before_it_is_plugged(bench: _Bench) -> None:
    assert await bench.attached() == []


async def test_a_plugged_drive_is_described(bench: _Bench) -> None:
    bench.plug()
    (device,) = await bench.attached()
    assert (device.serial.normal, device.bay, device.size_bytes, device.sector_size) == ("S1", "3", 8192, 512)


async def test_asked_twice_it_says_the_same(bench: _Bench) -> None:
    bench.plug()
    assert await bench.attached() == await bench.attached()


async def test_it_is_opened_read_only(bench: _Bench) -> None:
    bench.plug()
    (device,) = await bench.attached()
    fd = await bench.source.open(device)
    try:
        assert os.read(fd, 1) == b"x"
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(fd, b"y")
    finally:
        os.close(fd)


async def test_a_drive_that_was_pulled_cannot_be_opened(bench: _Bench) -> None:
    bench.plug()
    (device,) = await bench.attached()
    bench.pull()
    assert await bench.attached() == []
    with pytest.raises(DeviceUnavailable):
        await bench.source.open(device)


async def test_a_drive_that_comes_back_is_another_attachment_where_that_can_be_told(bench: _Bench) -> None:
    bench.plug()
    (first,) = await bench.attached()
    bench.pull()
    assert await bench.attached() == []
    bench.plug()
    (again,) = await bench.attached()
    assert again.serial == first.serial
    assert again.key != first.key or isinstance(bench, _Image)


async def test_asking_for_its_condition_is_never_an_error(bench: _Bench) -> None:
    bench.plug()
    (device,) = await bench.attached()
    bench.pull()
    health = await bench.source.health(device)
    assert health is None or health.verdict is Verdict.UNKNOWN


async def test_a_change_is_told_in_time(bench: _Bench) -> None:
    changes = bench.source.changes()
    await anext(changes)
    bench.plug()
    await asyncio.wait_for(anext(changes), 10)
    assert len(await bench.attached()) == 1


async def test_a_folder_is_no_drive(tmp_path: Path) -> None:
    source = ImageSource([ImageEntry(tmp_path, SerialNumber.parse("S1"), "1")])
    assert await source.devices() == []


async def test_an_image_that_somebody_still_writes_to_is_not_opened(tmp_path: Path) -> None:
    bench = _Image(tmp_path)
    bench.plug()
    (device,) = await bench.attached()
    with (tmp_path / "drive.img").open("r+b"), pytest.raises(DeviceUnavailable, match="open to write"):
        await bench.source.open(device)
    fd = await bench.source.open(device)
    # Who opens it from now on is not held up, and does us no harm.
    with (tmp_path / "drive.img").open("r+b") as file:
        file.write(b"y")
    os.close(fd)
