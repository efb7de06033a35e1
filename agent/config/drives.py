"""The settings of what drives are seen: ``[[image]]``, ``[devices]`` and ``[bays]``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.config.tables import known
from agent.errors import ConfigInvalid, MalformedInput
from agent.model.identity import SerialNumber

_OF_IMAGE = ("path", "serial", "bay", "sector_size")
_ID_PATH = re.compile(r"[A-Za-z0-9:._+-]{1,200}\Z", re.ASCII)
"""What udev makes of the way to a device (udevadm info, ID_PATH)."""


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """A file or device that stands in for a drive."""

    path: Path
    serial: SerialNumber
    bay: str
    sector_size: int = 512


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """``udev``: the drives of this machine are seen. ``loop_devices``: those dressed as drives as well."""

    udev: bool = False
    loop_devices: bool = False


def read_images(tables: Any) -> tuple[ImageSettings, ...]:
    """From the tables ``[[image]]``. Raises ConfigInvalid naming the setting."""
    if not isinstance(tables, list):
        raise ConfigInvalid("image must be a list of tables: write [[image]], with two brackets")
    return tuple(_image(number, table) for number, table in enumerate(tables, 1))


def _image(number: int, table: Any) -> ImageSettings:
    place = f"image[{number}]"
    known(table, place, _OF_IMAGE)
    for name in ("path", "serial"):
        if not isinstance(table.get(name), str) or (name == "path" and not table[name]):
            raise ConfigInvalid(f"{place}.{name} is missing")
    try:
        serial = SerialNumber.parse(table["serial"])
    except MalformedInput as error:
        raise ConfigInvalid(f"{place}.serial: {error.detail}") from None
    sector_size = table.get("sector_size", 512)
    if sector_size not in (512, 4096):
        raise ConfigInvalid(f"{place}.sector_size must be 512 or 4096")
    return ImageSettings(Path(table["path"]), serial, str(table.get("bay", number)), sector_size)


def read_devices(table: Any) -> DeviceSettings:
    """From the table ``[devices]``. Raises ConfigInvalid naming the setting."""
    for name, value in known(table, "devices", ("udev", "loop_devices")).items():
        if not isinstance(value, bool):
            raise ConfigInvalid(f"devices.{name} must be true or false")
    return DeviceSettings(**table)


def read_bays(table: Any) -> dict[str, str]:
    """From the table ``[bays]``: labels by ID_PATH. Raises ConfigInvalid naming the setting."""
    if not isinstance(table, dict):
        raise ConfigInvalid("bays must be a table of ID_PATH to label")
    labels: dict[str, str] = {}
    for path, label in table.items():
        if not _ID_PATH.match(path):
            raise ConfigInvalid(f"bays: {path!r} is no ID_PATH of udev")
        if not isinstance(label, str) or not label.strip().isprintable() or not 1 <= len(label.strip()) <= 32:
            raise ConfigInvalid(f'bays."{path}" must be a label of 1 to 32 characters')
        if label.strip() in labels.values():
            raise ConfigInvalid(f'bays."{path}": there is another bay {label.strip()!r}')
        labels[path] = label.strip()
    return labels
