"""A disk that somebody writes to is not touched: no flag of it is changed, and it is asked nothing."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from agent.devices import udev as udev_module
from agent.devices.facts import DriveFacts
from agent.devices.hindrance import HindranceKind
from agent.devices.readonly import BLKROGET, BLKROSET, look, protect, unprotect
from agent.devices.smart import Smartctl
from agent.devices.udev import UdevSource
from agent.devices.udevdb import disks
from agent.errors import DeviceUnavailable

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("losetup") is None or not os.path.exists("/dev/loop-control"),
    reason="loop devices need root, losetup and the loop driver",
)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Path]:
    image = tmp_path / "drive.img"
    image.write_bytes(bytes(1 << 20))
    done = subprocess.run(["losetup", "--find", "--show", str(image)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no loop device to be had here: {done.stderr.strip()}")
    made = Path(done.stdout.strip())
    yield made
    with suppress(OSError):
        _set(made, False)
    subprocess.run(["losetup", "--detach", str(made)], check=True)


def _set(node: Path, is_read_only: bool) -> None:
    fd = os.open(node, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, BLKROSET, struct.pack("i", is_read_only))
    finally:
        os.close(fd)


def _is_read_only(node: Path) -> bool:
    fd = os.open(node, os.O_RDONLY)
    try:
        return bool(struct.unpack("i", fcntl.ioctl(fd, BLKROGET, bytes(4)))[0])
    finally:
        os.close(fd)


@contextmanager
def _written(node: Path) -> Iterator[int]:
    """Somebody has it open to write."""
    fd = os.open(node, os.O_RDWR)
    try:
        yield fd
    finally:
        os.close(fd)


def _as_drive(node: Path, monkeypatch: pytest.MonkeyPatch) -> DriveFacts:
    """The loop device as the one disk of this machine, described as udev would a SATA drive."""
    (plain,) = (facts for facts in disks() if facts.node == str(node))
    described = {"is_described": True, "bus": "ata", "is_ata": True, "serial_short": "WD-1"}
    facts = DriveFacts(**{name: getattr(plain, name) for name in DriveFacts.__slots__} | described)
    monkeypatch.setattr(udev_module, "disks", lambda: [facts])
    return facts


class _Asked(Smartctl):
    """Keeps of whom it was asked."""

    def __init__(self) -> None:
        super().__init__("no-such-smartctl")
        self.nodes: list[str] = []

    async def ask(self, node: str):  # type: ignore[no-untyped-def]
        self.nodes.append(node)
        return await super().ask(node)


async def test_a_disk_that_is_written_is_shown_and_neither_asked_nor_changed(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _as_drive(node, monkeypatch)
    smartctl = _Asked()
    source = UdevSource({}, loop_devices=True, smartctl=smartctl)
    with _written(node) as fd:
        (device,) = await source.devices()
        assert device.hindrance is not None
        assert device.hindrance.kind is HindranceKind.IN_USE
        assert f"({os.getpid()}) has it open to write" in device.hindrance.detail
        with pytest.raises(DeviceUnavailable):
            await source.open(device)
        os.pwrite(fd, b"still mine", 0)
        assert smartctl.nodes == []
        assert not _is_read_only(node)
    (free,) = await source.devices()
    assert free.hindrance is None
    assert smartctl.nodes == [str(node)]
    os.close(await source.open(free))
    assert _is_read_only(node)


async def test_a_writer_that_comes_after_the_look_keeps_its_disk(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _as_drive(node, monkeypatch)
    source = UdevSource({}, loop_devices=True, smartctl=Smartctl("no-such-smartctl"))
    (device,) = await source.devices()
    assert device.hindrance is None
    with _written(node) as fd:
        with pytest.raises(DeviceUnavailable, match=r"is not touched: .* has it open to write"):
            await source.open(device)
        assert not _is_read_only(node)
        os.pwrite(fd, b"still mine", 0)


async def test_a_writer_that_comes_while_the_disk_is_protected_gets_it_back_as_it_was(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _as_drive(node, monkeypatch)
    source = UdevSource({}, loop_devices=True, smartctl=Smartctl("no-such-smartctl"))
    (device,) = await source.devices()
    seen: list[list[str]] = [[], ["cp (7)"]]
    monkeypatch.setattr(udev_module, "writers", lambda folder: seen.pop(0))
    with pytest.raises(DeviceUnavailable, match=r"cp \(7\) has it open to write"):
        await source.open(device)
    assert seen == []
    assert not _is_read_only(node)


def test_only_what_was_writable_is_taken_back(node: Path) -> None:
    fd = os.open(node, os.O_RDONLY)
    try:
        changed = protect(fd)
        assert [part.name for part in changed] == [node.name]
        found = look(fd)
        assert found is not None
        assert found.is_proven
        assert protect(fd) == []
        unprotect(fd, [])
        assert _is_read_only(node)
        unprotect(fd, changed)
        assert not _is_read_only(node)
    finally:
        os.close(fd)
