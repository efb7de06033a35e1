"""A SATA drive recorded from a machine, seen through libudev. Collected by test_udev_recorded.py only,
which starts this in a process that umockdev wraps."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.devices.hindrance import HindranceKind
from agent.devices.smart import Smartctl
from agent.devices.udev import UdevSource
from agent.errors import DeviceUnavailable
from tests.kit.umockdev import Bed

RECORDING = (Path(__file__).parents[1] / "data/udev/sata-drive.umockdev").read_text("utf-8")
DISK = "/devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sdx"
SERIAL = "WD-WCC7K0ABC123"
BAYS = {"pci-0000:00:1f.2-ata-1": "upper left"}
WAIT_S = 30


@pytest.fixture(scope="module")
def whole_bed() -> Bed:
    return Bed()


@pytest.fixture
def bed(whole_bed: Bed) -> Iterator[Bed]:
    yield whole_bed
    _pull(whole_bed)


def _pull(bed: Bed) -> None:
    for path in sorted((line[3:] for line in RECORDING.splitlines() if line.startswith("P: ")), reverse=True):
        bed.remove(path)


@pytest.fixture
def source() -> UdevSource:
    return UdevSource(BAYS, smartctl=Smartctl("no-such-smartctl"))


async def test_a_drive_that_was_there_before_is_described(bed: Bed, source: UdevSource) -> None:
    bed.add(RECORDING)
    (device,) = await source.devices()
    assert (device.serial.shown, device.bay) == (SERIAL, "upper left")
    assert (device.size_bytes, device.sector_size) == (528384 * 512, 512)
    assert device.hindrance is None


async def test_it_comes_goes_and_comes_back_as_another_attachment(bed: Bed, source: UdevSource) -> None:
    changes = source.changes()
    await anext(changes)  # whoever listens first misses nothing
    assert await source.devices() == []
    bed.add(RECORDING)
    await asyncio.wait_for(anext(changes), WAIT_S)
    (first,) = await source.devices()
    _pull(bed)
    await asyncio.wait_for(anext(changes), WAIT_S)
    assert await source.devices() == []
    bed.add(RECORDING.replace("DISKSEQ=10", "DISKSEQ=11"))
    await asyncio.wait_for(anext(changes), WAIT_S)
    (again,) = await source.devices()
    assert again.serial == first.serial
    assert again.key != first.key
    await changes.aclose()  # type: ignore[attr-defined]


async def test_a_flood_of_events_is_little_news(bed: Bed, source: UdevSource) -> None:
    bed.add(RECORDING)
    changes = source.changes()
    await anext(changes)
    for _ in range(300):
        bed.tell(DISK, "change")
        await asyncio.sleep(0)  # the wrapper's socket holds few
    count = 0
    while True:
        try:
            await asyncio.wait_for(anext(changes), 2)
        except TimeoutError:
            break
        count += 1
    assert 1 <= count <= 30
    assert len(await source.devices()) == 1


async def test_a_serial_that_udev_and_the_drive_tell_differently_is_doubtful(
    bed: Bed, source: UdevSource
) -> None:
    bed.add(RECORDING.replace(f"ID_SERIAL_SHORT={SERIAL}", "ID_SERIAL_SHORT=WD-WCC7K0ABC999"))
    (device,) = await source.devices()
    assert device.hindrance is not None
    assert device.hindrance.kind is HindranceKind.SERIAL_DOUBTFUL
    assert "page 0x80 says WD-WCC7K0ABC123, udev says WD-WCC7K0ABC999" in device.hindrance.detail


async def test_a_serial_that_is_no_text_is_none(bed: Bed, source: UdevSource) -> None:
    known = RECORDING.replace("H: vpd_pg80=0080001457442D57", "H: vpd_pg80=00800014FFFE0A57")
    bed.add(known)
    bed.set_property(DISK, "ID_SERIAL_SHORT", b"WD-\xff\xfe")
    (device,) = await source.devices()
    assert device.hindrance is not None
    assert device.hindrance.kind is HindranceKind.SERIAL_UNKNOWN
    assert device.serial.shown == "?sdx"


async def test_a_drive_that_udev_has_not_described_yet_is_waited_for(bed: Bed, source: UdevSource) -> None:
    known = [line for line in RECORDING.splitlines() if not line.startswith(("E: ID_", "E: DEVLINKS"))]
    bed.add("\n".join(known) + "\n")
    assert await source.devices() == []


async def test_a_reader_without_a_medium_and_an_optical_drive_are_no_drives(
    bed: Bed, source: UdevSource
) -> None:
    bed.add(RECORDING.replace("A: size=528384", "A: size=0"))
    assert await source.devices() == []
    _pull(bed)
    bed.add(RECORDING.replace("E: ID_TYPE=disk", "E: ID_TYPE=cd\nE: ID_CDROM=1"))
    assert await source.devices() == []


async def test_a_node_that_is_not_the_drive_is_not_opened(bed: Bed, source: UdevSource) -> None:
    bed.add(RECORDING)
    (device,) = await source.devices()
    # The wrapper's nodes are files: they have not the number that sysfs tells.
    with pytest.raises(DeviceUnavailable, match="is not in bay upper left any more"):
        await source.open(device)
