"""From settings to a device source."""

from __future__ import annotations

from agent.config import Settings
from agent.devices.image import ImageEntry, ImageSource
from agent.devices.several import SeveralSources
from agent.devices.source import DeviceSource
from agent.errors import ConfigInvalid


def configured_source(settings: Settings) -> DeviceSource:
    """The drives that udev sees, if it is asked, and the image files and devices that the settings name.

    Raises ConfigInvalid where udev is asked and libudev is not there.
    """
    images = ImageSource(
        [ImageEntry(image.path, image.serial, image.bay, image.sector_size) for image in settings.images]
    )
    if not settings.devices.udev:
        return images
    udev = _udev(settings)
    return SeveralSources([udev, images]) if settings.images else udev


def _udev(settings: Settings) -> DeviceSource:
    try:
        # Loads libudev, which a machine that ingests images only need not have.
        from agent.devices.udev import UdevSource
    except ImportError as error:
        raise ConfigInvalid(f"devices.udev needs libudev: {error}") from None
    return UdevSource(settings.bays, loop_devices=settings.devices.loop_devices)
