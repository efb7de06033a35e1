"""From settings to a device source."""

from __future__ import annotations

from agent.config import Settings
from agent.devices.image import ImageEntry, ImageSource


def configured_source(settings: Settings) -> ImageSource:
    """The image files and devices that the settings name."""
    return ImageSource(
        [ImageEntry(image.path, image.serial, image.bay, image.sector_size) for image in settings.images]
    )
