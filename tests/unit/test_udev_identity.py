"""Which serial a drive has, when those who tell one agree and when they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.devices.bays import bay_of
from agent.devices.facts import DriveFacts
from agent.devices.hindrance import Hindrance, HindranceKind
from agent.devices.identity import SmartIdentity, identify, is_made_up

SATA = DriveFacts(
    name="sda",
    node="/dev/sda",
    device_number=0x800,
    sequence="10",
    size_bytes=1 << 30,
    sector_size=512,
    path="/sys/devices/pci0000:00/ata1/host0/block/sda",
    is_virtual=False,
    is_described=True,
    bus="ata",
    is_ata=True,
    serial_short="WD-WCC7K0ABC123",
    vpd_serial="WD-WCC7K0ABC123",
    wwn="0x50014ee2b9f0c1d2",
    id_path="pci-0000:00:1f.2-ata-1.0",
    id_path_ata="pci-0000:00:1f.2-ata-1",
)
SILENT = SmartIdentity()
USB = replace(SATA, bus="usb", is_ata=False, vpd_serial="", serial_short="0123F00D4711", wwn="")
SCSI = replace(
    SATA,
    bus="scsi",
    is_ata=False,
    serial_short="35000c500a1b2c3d4",
    scsi_serial="ZC1ABCDE",
    vpd_serial="ZC1ABCDE",
)


def _doubt(facts: DriveFacts, smart: SmartIdentity = SILENT) -> str:
    hindrance = identify(facts, smart).hindrance
    assert hindrance is not None
    assert hindrance.kind is HindranceKind.SERIAL_DOUBTFUL
    assert hindrance.next_step
    return hindrance.detail


def test_a_sata_drive_whose_witnesses_agree_has_that_serial() -> None:
    found = identify(SATA, SmartIdentity("WD-WCC7K0ABC123", "0x50014ee2b9f0c1d2"))
    assert (found.serial.shown, found.hindrance) == ("WD-WCC7K0ABC123", None)


def test_one_witness_is_enough_for_a_sata_drive() -> None:
    found = identify(replace(SATA, vpd_serial=""), SILENT)
    assert (found.serial.normal, found.hindrance) == ("WD-WCC7K0ABC123", None)


def test_blanks_within_a_serial_are_shown_and_do_not_count() -> None:
    """udev writes each as an underscore, which the service would not take for a blank."""
    found = identify(replace(SATA, serial_short="S1_AB_99", vpd_serial="S1 AB 99"), SILENT)
    assert found.hindrance is None
    assert (found.serial.shown, found.serial.normal) == ("S1 AB 99", "S1AB99")


def test_the_serial_of_a_scsi_disk_is_not_its_wwn() -> None:
    assert identify(SCSI, SILENT).serial.normal == "ZC1ABCDE"


def test_page_0x80_that_says_otherwise_is_told_with_both() -> None:
    assert "page 0x80 says X9, udev says WD-WCC7K0ABC123" in _doubt(replace(SATA, vpd_serial="X9"))


def test_smart_that_says_otherwise_is_told_with_all() -> None:
    detail = _doubt(USB, SmartIdentity("WD-WCC7K0ABC123"))
    assert detail == "sda tells different serial numbers: SMART says WD-WCC7K0ABC123, udev says 0123F00D4711"


def test_another_wwn_is_another_drive() -> None:
    detail = _doubt(SATA, SmartIdentity("WD-WCC7K0ABC123", "0x50014ee2b9f0c1d3"))
    assert "udev says 0x50014ee2b9f0c1d2, SMART says 0x50014ee2b9f0c1d3" in detail


def test_a_usb_bridge_whose_drive_does_not_answer_is_not_believed() -> None:
    assert "0123F00D4711 may be the bridge's" in _doubt(USB)


def test_a_usb_bridge_that_passes_the_drives_serial_on_is_believed() -> None:
    assert identify(USB, SmartIdentity("0123F00D4711")).hindrance is None


def test_a_usb_bridge_through_which_udev_asked_the_drive_is_believed() -> None:
    """With SAT, udev's ata_id reads the drive's own identity, and says ID_ATA."""
    assert identify(replace(SATA, serial_short="WD-1X"), SmartIdentity("WD-1X")).serial.normal == "WD-1X"


@pytest.mark.parametrize(
    ("vendor", "model"),
    [
        ("LSI", "MR9271-8i"),
        ("DELL", "PERC_H730"),
        ("HP", "LOGICAL_VOLUME"),
        ("AVAGO", "anything"),
        ("", "Virtual_Disk"),
    ],
)
def test_a_volume_of_a_raid_controller_has_no_drives_serial(vendor: str, model: str) -> None:
    assert "RAID controller" in _doubt(replace(SCSI, vendor=vendor, model=model))


@pytest.mark.parametrize(
    "serial",
    [
        *(
            "0",
            "000000000000",
            "FFFFFFFF",
            "DEADBEEF",
            "DeadBeefDeadBeef",
            "123456789012",
            "0123456789ABCDEF",
        ),
        *(
            "0123456789",
            "UNKNOWN",
            "None",
            "to be filled by O.E.M.",
            "12345678",
            "ABCDEF",
            "XXXXXXXX",
            "00-00-00",
        ),
    ],
)
def test_made_up_serials_are_known(serial: str) -> None:
    assert is_made_up("".join(serial.split()))
    assert "made up" in _doubt(replace(SATA, serial_short=serial, vpd_serial="", is_ata=True))


@pytest.mark.parametrize(
    "serial", ["WD-WCC7K0ABC123", "9WM35C3U", "S1", "ZC1ABCDE", "Z1D0012345", "1234567B", "DEAD0001"]
)
def test_ordinary_serials_are_not_made_up(serial: str) -> None:
    assert not is_made_up(serial)


@pytest.mark.parametrize("told", ["", "   ", "\x01\x02", "é" * 8, "x" * 65])
def test_a_drive_without_a_serial_is_named_by_its_device(told: str) -> None:
    found = identify(replace(SATA, serial_short=told, vpd_serial=""), SILENT)
    assert found.serial.shown == "?sda"
    assert found.hindrance is not None
    assert found.hindrance.kind is HindranceKind.SERIAL_UNKNOWN
    assert found.hindrance.line().startswith("sda tells ")


@pytest.mark.parametrize(
    ("facts", "is_one"),
    [
        (SATA, True),
        (replace(SATA, name="nvme0n1"), True),
        (replace(SATA, size_bytes=0), False),
        (replace(SATA, is_optical=True), False),
        (replace(SATA, is_hidden=True), False),
        (replace(SATA, is_virtual=True, name="nbd0"), False),
        (replace(SATA, name="dm-0"), False),
        (replace(SATA, name="md127"), False),
        (replace(SATA, name="zram0"), False),
        (replace(SATA, name="sr0"), False),
        (replace(SATA, name="mmcblk0boot1"), False),
        (replace(SATA, name="loop3", is_virtual=True), False),
    ],
)
def test_what_could_be_somebodys_drive(facts: DriveFacts, is_one: bool) -> None:
    assert facts.is_candidate(loop_devices=False) is is_one


def test_loop_devices_count_when_they_may_and_are_dressed_as_drives() -> None:
    dressed = replace(SATA, name="loop3", is_virtual=True)
    assert dressed.is_candidate(loop_devices=True)
    assert not replace(dressed, bus="").is_candidate(loop_devices=True)


def test_a_bay_is_known_by_either_form_of_its_path_and_else_shown_as_the_path() -> None:
    assert bay_of(SATA, {"pci-0000:00:1f.2-ata-1": "7"}) == "7"
    assert bay_of(SATA, {"pci-0000:00:1f.2-ata-1.0": "8"}) == "8"
    assert bay_of(SATA, {"pci-0000:00:1f.2-ata-2": "9"}) == "pci-0000:00:1f.2-ata-1.0"
    assert bay_of(replace(SATA, id_path="", id_path_ata=""), {}) == "sda"


@pytest.mark.parametrize("kind", HindranceKind)
def test_a_hindrance_says_whose_it_is_and_what_to_do(kind: HindranceKind) -> None:
    hindrance = Hindrance(kind, "sdb does something")
    assert hindrance.line() == (f"sdb does something [{hindrance.side}: {kind}]. {hindrance.next_step}")
    assert hindrance.next_step.endswith(".")
