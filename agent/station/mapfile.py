"""The mapfile of an image that GNU ddrescue made, read where a mistake in it is the operator's."""

from __future__ import annotations

from typing import Final

from agent.devices.source import Device
from agent.errors import DeviceUnavailable, MalformedInput
from agent.volume.mapfile import parse

MAX_MAPFILE_BYTES: Final = 16 * 1024 * 1024


def read_mapfile(device: Device) -> str | None:
    """The text of the device's mapfile, None when it has none; blocks.

    Raises DeviceUnavailable when it cannot be read or does not fit the image.
    """
    if device.mapfile is None:
        return None
    try:
        with device.mapfile.open("rb") as file:
            data = file.read(MAX_MAPFILE_BYTES + 1)
        if len(data) > MAX_MAPFILE_BYTES:
            raise MalformedInput(f"it has more than {MAX_MAPFILE_BYTES} bytes")
        text = data.decode("utf-8", "replace")
        parse(text, device.size_bytes)
    except OSError as error:
        raise DeviceUnavailable(f"{device.mapfile} cannot be read: {error.strerror}") from None
    except MalformedInput as error:
        raise DeviceUnavailable(f"{device.mapfile} is no mapfile of this image: {error.detail}") from None
    return text
