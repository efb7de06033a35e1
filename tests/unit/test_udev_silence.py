"""A drive that spins up answers late, which is no trouble; one that stays silent is."""

from __future__ import annotations

import asyncio

import pytest

from agent.devices import udev as udev_module
from agent.devices.facts import DriveFacts
from agent.devices.health import Health, unknown
from agent.devices.hindrance import Hindrance, HindranceKind
from agent.devices.smart import Smartctl
from agent.devices.udev import UdevSource

SATA = DriveFacts(
    *("sdq", "/dev/no-such-drive", 0x4100, "7", 512, 512, "/sys/devices/no-such-drive"),
    is_virtual=False,
    is_described=True,
    bus="ata",
    is_ata=True,
    serial_short="WD-1",
)


class _Spinning(Smartctl):
    """Answers when it is up to speed."""

    def __init__(self) -> None:
        super().__init__("no-such-smartctl")
        self.is_up = asyncio.Event()

    async def ask(self, node: str) -> Health:
        await self.is_up.wait()
        return unknown("it has no SMART")


@pytest.fixture
def drive(monkeypatch: pytest.MonkeyPatch) -> _Spinning:
    monkeypatch.setattr(udev_module, "disks", lambda: [SATA])
    monkeypatch.setattr(udev_module, "EXAMINE_WITHIN_S", 0.01)
    return _Spinning()


async def _hindrance(source: UdevSource) -> Hindrance | None:
    (device,) = await source.devices()
    assert device.serial.shown == "WD-1"
    return device.hindrance


async def test_a_drive_that_spins_up_is_no_news_until_it_takes_too_long(
    drive: _Spinning, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = UdevSource({}, smartctl=drive)
    early = await _hindrance(source)
    assert early is not None
    assert (early.kind, early.is_news) == (HindranceKind.NOT_ANSWERING, False)
    assert early.detail == "drive WD-1 does not answer yet"
    monkeypatch.setattr(udev_module, "SPIN_UP_WITHIN_S", 0.0)
    late = await _hindrance(source)
    assert late is not None
    assert (late.kind, late.is_news) == (HindranceKind.NOT_ANSWERING, True)
    drive.is_up.set()
    await asyncio.sleep(0)
    assert await _hindrance(source) is None


async def test_one_that_answered_meanwhile_may_take_its_time_again(
    drive: _Spinning, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [SATA]
    monkeypatch.setattr(udev_module, "disks", lambda: found)
    source = UdevSource({}, smartctl=drive)
    assert await _hindrance(source) is not None
    found.clear()
    assert await source.devices() == []
    found.append(SATA)
    assert (await _hindrance(source)) == Hindrance(
        HindranceKind.NOT_ANSWERING, "drive WD-1 does not answer yet", is_news=False
    )
