"""What is on the drives of a run: copies of images, so that nobody writes to these."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

from tests.lab.board import Board
from tests.lab.drive import Medium

_STEP: Final = 1 << 20


def lay_out(board: Board) -> None:
    """A file for each bay's drive, of the drive's size; raises ValueError for an image that is longer."""
    for bay, drive in zip(board.bays, board.chassis, strict=True):
        image, file = _image(board, bay), board.disk_file(bay)
        if image is None:
            file.touch()
        elif image.stat().st_size > drive.size_bytes:
            raise ValueError(f"{image}: does not fit on a drive of {drive.size_bytes} bytes")
        else:
            subprocess.run(["cp", "--sparse=always", "--reflink=auto", image, file], check=True)
        os.truncate(file, drive.size_bytes)


def is_unchanged(board: Board, bay: int) -> bool:
    """Whether a drive is still its image with nothing but zeros behind it."""
    with board.disk_file(bay).open("rb") as now, open(_image(board, bay) or os.devnull, "rb") as before:
        while piece := now.read(_STEP):
            if piece != before.read(_STEP).ljust(len(piece), b"\0"):
                return False
    return True


def _image(board: Board, bay: int) -> Path | None:
    return board.media.get(bay, Medium()).image
