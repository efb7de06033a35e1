"""What lies on the drives of the laboratory, and whether it was written to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import disks
from tests.lab.board import Board
from tests.lab.drive import Drive, Medium

SIZE_BYTES = 3 << 20


@pytest.fixture
def image(tmp_path: Path) -> Path:
    file = tmp_path / "image"
    file.write_bytes(b"content" * 300_000)
    return file


def _board(folder: Path, image: Path) -> Board:
    chassis = [Drive("WD-1", size_bytes=SIZE_BYTES), Drive("WD-2", size_bytes=SIZE_BYTES)]
    return Board(folder, folder, folder, folder, chassis, {1: Medium(image)})


def test_a_drive_has_its_images_bytes_and_zeros_behind_them(tmp_path: Path, image: Path) -> None:
    board = _board(tmp_path, image)
    disks.lay_out(board)
    assert board.disk_file(1).read_bytes() == image.read_bytes().ljust(SIZE_BYTES, b"\0")
    assert board.disk_file(2).read_bytes() == bytes(SIZE_BYTES)


def test_an_image_that_is_longer_than_its_drive_is_refused(tmp_path: Path, image: Path) -> None:
    image.write_bytes(bytes(SIZE_BYTES + 1))
    with pytest.raises(ValueError, match="does not fit"):
        disks.lay_out(_board(tmp_path, image))


@pytest.mark.parametrize("at", [0, 2_099_999, 2_100_000, SIZE_BYTES - 1])
def test_one_byte_that_was_written_is_found(tmp_path: Path, image: Path, at: int) -> None:
    board = _board(tmp_path, image)
    disks.lay_out(board)
    assert disks.is_unchanged(board, 1)
    with board.disk_file(1).open("r+b") as file:
        file.seek(at)
        file.write(b"\1")
    assert not disks.is_unchanged(board, 1)
    assert disks.is_unchanged(board, 2)
    assert image.read_bytes() == b"content" * 300_000
