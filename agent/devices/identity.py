"""Which serial number a drive has, from all who tell one; where they disagree nobody is believed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from agent.devices.facts import DriveFacts
from agent.devices.hindrance import Hindrance, HindranceKind
from agent.errors import MalformedInput
from agent.model.identity import SerialNumber

MADE_UP: Final = re.compile(
    r"(DEADBEEF)+|(?:DEAD|BEEF|CAFE|BABE)+|NONE|NULL|UNKNOWN|N/?A|SERIAL(NUMBER)?|NOTAPPLICABLE|"
    r"TOBEFILLEDBYO\.?E\.?M\.?|DEFAULTSTRING",
    re.ASCII,
)
RISING: Final = ("01234567890123456789", "12345678901234567890", "0123456789ABCDEF0123456789ABCDEF")
MIN_RISING: Final = 6
RAID_MODELS: Final = re.compile(
    r"LOGICAL[ _]VOLUME|VIRTUAL[ _]D(ISK|RIVE)|MEGARAID|MR\d{4}|PERC|SMART[ _]ARRAY|RAID|ARRAY", re.ASCII
)
"""Of disks that a controller composes: their serial is the volume's."""
RAID_VENDORS: Final = frozenset(
    {"LSI", "AVAGO", "BROADCOM", "ADAPTEC", "ASR", "AMCC", "3WARE", "ARECA", "HPT"}
)


@dataclass(frozen=True, slots=True)
class SmartIdentity:
    """What the drive itself answered to smartctl; empty where it did not."""

    serial: str = ""
    wwn: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """``serial`` is the likely one even when ``hindrance`` says why nobody may rely on it."""

    serial: SerialNumber
    hindrance: Hindrance | None = None


def identify(facts: DriveFacts, smart: SmartIdentity) -> Identity:
    """From udev, page 0x80 and SMART, which must agree; blanks do not count."""
    told = {who: text for who, text in _witnesses(facts, smart).items() if text.strip()}
    if not told:
        return _nameless(facts, f"{facts.name} tells no serial number")
    try:
        serials = {who: SerialNumber.parse(text) for who, text in told.items()}
    except MalformedInput as error:
        return _nameless(facts, f"{facts.name} tells a serial number that is none: {error.detail}")
    serial = next(iter(serials.values()))
    doubt = _doubt(facts, smart, serials)
    return Identity(serial, Hindrance(HindranceKind.SERIAL_DOUBTFUL, doubt) if doubt else None)


def _witnesses(facts: DriveFacts, smart: SmartIdentity) -> dict[str, str]:
    """Best form first: udev writes an underscore for each blank within a serial."""
    told = {"SMART": smart.serial, "page 0x80": facts.vpd_serial}
    if facts.bus == "scsi":
        return told | {"udev": facts.scsi_serial}  # ID_SERIAL_SHORT of a SCSI disk is its WWN
    return told | {"udev": facts.serial_short}


def _nameless(facts: DriveFacts, detail: str) -> Identity:
    return Identity(SerialNumber.parse(f"?{facts.name}"), Hindrance(HindranceKind.SERIAL_UNKNOWN, detail))


def _doubt(facts: DriveFacts, smart: SmartIdentity, serials: dict[str, SerialNumber]) -> str:
    """Why the serial is not to be relied on; empty when it is."""
    forms = {serial.normal.replace("_", "").upper() for serial in serials.values()}
    if len(forms) > 1:
        said = ", ".join(f"{who} says {serial}" for who, serial in serials.items())
        return f"{facts.name} tells different serial numbers: {said}"
    for serial in serials.values():
        if is_made_up(serial.normal):
            return f"{facts.name} tells serial number {serial}, which is made up"
    if facts.wwn and smart.wwn and int_of(facts.wwn) != int_of(smart.wwn):
        return f"{facts.name} tells different WWNs: udev says {facts.wwn}, SMART says {smart.wwn}"
    if facts.bus == "usb" and not facts.is_ata and "SMART" not in serials:
        return (
            f"{facts.name} is behind a USB bridge, and the drive itself does not answer to smartctl: "
            f"serial number {serials['udev'] if 'udev' in serials else next(iter(serials.values()))} "
            "may be the bridge's"
        )
    if facts.bus == "scsi" and _is_raid_volume(facts):
        return (
            f"{facts.name} is a volume of a RAID controller ({facts.vendor} {facts.model}): "
            "its serial is no drive's"
        )
    return ""


def is_made_up(serial: str) -> bool:
    """Whether a serial without blanks is one of those that bridges make up."""
    text = serial.upper().replace("-", "").replace("_", "")
    if len(set(text)) <= 1 or MADE_UP.fullmatch(text):
        return True
    return len(text) >= MIN_RISING and any(text in rising for rising in RISING)


def _is_raid_volume(facts: DriveFacts) -> bool:
    return facts.vendor.upper().strip("_ ") in RAID_VENDORS or bool(RAID_MODELS.search(facts.model.upper()))


def int_of(wwn: str) -> int | None:
    """A WWN as a number, as udev (``0x…``) or we write it; None for one that is none."""
    try:
        return int(wwn, 16)
    except ValueError:
        return None
