"""Images that ddrescue made."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.errors import DiskOperationFailed, UnreadableSectors
from agent.volume.block import BytesSource, read
from agent.volume.drivemap import DriveMap, State
from agent.volume.imaged import ImagedSource
from agent.volume.mapfile import parse

_DATA = random.Random(1).randbytes(1 << 20)


def _imaged(*states: State) -> ImagedSource:
    known = DriveMap(len(_DATA))
    known.mark(0, len(_DATA), State.FINISHED)
    for number, state in enumerate(states):
        known.mark(number * 4096, 4096, state)
    return ImagedSource(BytesSource(_DATA), known)


def test_only_what_was_imaged_is_read() -> None:
    source = _imaged(*State)
    for number, state in enumerate(State):
        if state is State.FINISHED:
            assert read(source, number * 4096, 4096) == _DATA[number * 4096 :][:4096]
            continue
        with pytest.raises(UnreadableSectors, match="not in the image") as caught:
            read(source, number * 4096 + 100, 200)
        assert (caught.value.offset, caught.value.length) == (number * 4096 + 100, 200)
    assert read(source, len(State) * 4096, 500_000) == _DATA[len(State) * 4096 :][:500_000]


def test_a_read_that_touches_a_hole_names_the_hole() -> None:
    source = _imaged(State.FINISHED, State.BAD_SECTOR)
    with pytest.raises(UnreadableSectors) as caught:
        read(source, 0, 65_536)
    assert (caught.value.offset, caught.value.length) == (4096, 4096)


def test_a_read_outside_of_the_image_is_refused() -> None:
    with pytest.raises(DiskOperationFailed, match="ends at 1048576"):
        read(_imaged(), len(_DATA), 1)


def test_a_map_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="a map of 4096 bytes"):
        ImagedSource(BytesSource(_DATA), DriveMap(4096))


@pytest.mark.skipif(
    shutil.which("ddrescue") is None, reason="GNU ddrescue is not installed (Debian: gddrescue)"
)
def test_an_image_that_ddrescue_left_unfinished_is_read_as_far_as_it_got(tmp_path: Path) -> None:
    drive, image, mapfile = tmp_path / "drive", tmp_path / "image", tmp_path / "map"
    drive.write_bytes(_DATA)
    image.write_bytes(bytes(len(_DATA)))
    for start in (0, 500_000):
        subprocess.run(
            ["ddrescue", "-q", f"--input-position={start}", "--size=200000", drive, image, mapfile],
            check=True,
            timeout=60,
        )
    source = ImagedSource(BytesSource(image.read_bytes()), parse(mapfile.read_text(), len(_DATA)))
    for start in (0, 500_000):
        assert read(source, start, 200_000) == _DATA[start : start + 200_000]
        with pytest.raises(UnreadableSectors) as caught:
            read(source, start + 199_000, 2000)
        assert (caught.value.offset, caught.value.length) == (start + 200_000, 1000)
