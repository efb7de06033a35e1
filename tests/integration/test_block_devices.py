"""Real block devices: read directly, read-only, and with sectors that the kernel cannot read."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.errors import UnreadableSectors
from agent.volume.block import FdSource, SubSource, aligned_buffer, read
from agent.volume.direct import DirectSource, drive_source
from agent.volume.drivemap import TROUBLE, State
from agent.volume.rescue import RescueSource
from agent.volume.window import WindowCache

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("losetup") is None or not os.path.exists("/dev/loop-control"),
    reason="loop devices need root, losetup and the loop driver",
)

_DATA = random.Random(13).randbytes(4 << 20)


@contextmanager
def _loop(image: Path, *options: str) -> Iterator[int]:
    """A read-only loop device over the image, as an open read-only descriptor."""
    command = ["losetup", "--read-only", "--find", "--show", *options, str(image)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if done.returncode:
        pytest.skip(f"no loop device to be had here: {done.stderr.strip()}")
    device = done.stdout.strip()
    try:
        fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True, timeout=30)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "drive.img"
    path.write_bytes(_DATA)
    return path


@pytest.mark.parametrize("sector", [512, 4096])
def test_a_loop_device_reads_directly_what_it_reads_through_the_cache(image: Path, sector: int) -> None:
    chance = random.Random(sector)
    with _loop(image, f"--sector-size={sector}") as fd:
        buffered = FdSource(fd, len(_DATA), sector)
        ranges = [(0, len(_DATA)), (len(_DATA) - 1, 1), (sector, sector)]
        for length in (chance.randrange(9000) for _ in range(100)):
            ranges.append((chance.randrange(len(_DATA) - length), length))
        through_cache = [read(buffered, *each) for each in ranges]
        direct = drive_source(fd, len(_DATA), sector)
        for skew in (0, 1, 8, 512, sector):
            for (offset, length), expected in zip(ranges, through_cache, strict=True):
                buffer = aligned_buffer(length + skew)[skew:]
                direct.read_into(offset, buffer)
                assert buffer == expected == _DATA[offset : offset + length]
        assert direct.is_direct
    assert image.read_bytes() == _DATA


def test_a_device_of_larger_sectors_than_it_was_said_to_have_is_still_read_directly(image: Path) -> None:
    with _loop(image, "--sector-size=4096") as fd:
        source = DirectSource(fd, len(_DATA), 512)
        assert read(source, 512, 10_000) == _DATA[512:10_512]
        assert source.is_direct


def test_a_read_only_device_is_read_and_cannot_be_written(image: Path) -> None:
    with _loop(image) as fd:
        device = os.readlink(f"/proc/self/fd/{fd}")
        assert read(drive_source(fd, len(_DATA)), 0, len(_DATA)) == _DATA
        with pytest.raises(PermissionError):
            _write(device)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.pwrite(fd, bytes(512), 0)
    assert image.read_bytes() == _DATA


def _write(device: str) -> None:
    fd = os.open(device, os.O_RDWR)
    try:
        os.pwrite(fd, bytes(512), 0)
    finally:
        os.close(fd)


_GOOD_BYTES = (2 << 20) + 5 * 512
"""What is left of the image; the kernel reports the rest of the device as EIO."""


@contextmanager
def _half_dead(image: Path) -> Iterator[int]:
    with _loop(image, "--direct-io=on") as fd:
        os.truncate(image, _GOOD_BYTES)
        with pytest.raises(OSError, match="Input/output"):
            os.pread(fd, 512, len(_DATA) - 512)
        yield fd


def test_bad_sectors_of_a_real_device_are_found_to_the_sector(image: Path) -> None:
    with _half_dead(image) as fd:
        drive = drive_source(fd, len(_DATA))
        source = RescueSource(drive, time.monotonic)
        source.retrying = False
        with pytest.raises(UnreadableSectors):
            read(source, 2 << 20, 65_536)
        assert list(source.bad.ranges(*TROUBLE)) == [(2 << 20, 65_536)]
        assert read(source, 0, 2 << 20) == _DATA[: 2 << 20]
        source.retrying = True
        with pytest.raises(UnreadableSectors, match="bad sector, tried 3 times") as caught:
            read(source, 2 << 20, 65_536)
        # The page of the image that is half there still has bytes up to its end.
        end_of_page = -(-_GOOD_BYTES // 4096) * 4096
        assert _GOOD_BYTES <= caught.value.offset <= end_of_page
        assert caught.value.offset + caught.value.length == (2 << 20) + 65_536
        (bad,) = source.bad.ranges(State.BAD_SECTOR)
        assert bad == (caught.value.offset, caught.value.length)
        assert read(source, 2 << 20, 5 * 512) == _DATA[2 << 20 : _GOOD_BYTES]
        assert source.why_gone() is None


def test_bad_sectors_of_a_real_device_cost_the_neighbours_in_their_window_nothing(image: Path) -> None:
    with _half_dead(image) as fd:
        source = RescueSource(drive_source(fd, len(_DATA)), time.monotonic)
        cache = WindowCache(SubSource(source, 512, len(_DATA) - 512))
        assert read(cache, (2 << 20) + 512, 1000) == _DATA[(2 << 20) + 1024 : (2 << 20) + 2024]
        with pytest.raises(UnreadableSectors):
            read(cache, 3 << 20, 1000)


def test_a_device_that_can_be_read_again_has_recovered(image: Path) -> None:
    with _half_dead(image) as fd:
        source = RescueSource(drive_source(fd, len(_DATA)), time.monotonic)
        with pytest.raises(UnreadableSectors):
            read(source, 3 << 20, 65_536)
        assert not source.recovered()
        with pytest.raises(UnreadableSectors):
            read(source, (3 << 20) + 65_536, 65_536)
        image.write_bytes(_DATA)
        assert source.recovered()
        assert read(source, (3 << 20) + 65_536, 65_536) == _DATA[(3 << 20) + 65_536 : (3 << 20) + 131_072]
