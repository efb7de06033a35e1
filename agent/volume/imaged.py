"""An image that GNU ddrescue made of a failing drive, read by what its mapfile says."""

from __future__ import annotations

from agent.errors import UnreadableSectors
from agent.volume.block import BlockSource, check_range, read_ahead
from agent.volume.drivemap import DriveMap, State


class ImagedSource:
    """A BlockSource over an image, in which only finished ranges are bytes of the drive.

    Everywhere else the image has holes, which read as zeros; so a read that touches anything else
    raises UnreadableSectors.
    """

    def __init__(self, image: BlockSource, imaged: DriveMap) -> None:
        """``imaged`` is the parsed mapfile; both are read only, so this is as thread-safe as ``image``."""
        if imaged.size_bytes != image.size_bytes:
            raise ValueError(f"a map of {imaged.size_bytes} bytes for an image of {image.size_bytes}")
        self._image = image
        self._imaged = imaged
        self.size_bytes = image.size_bytes
        self.sector_size = image.sector_size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        check_range(self, offset, len(buffer))
        for piece in self._imaged.pieces(offset, len(buffer)):
            if piece.state is not State.FINISHED:
                raise UnreadableSectors(piece.start, piece.length, "not in the image, says its mapfile")
        self._image.read_into(offset, buffer)

    def read_ahead(self, offset: int, length: int) -> None:
        read_ahead(self._image, offset, length)
