"""Who uses a disk of this machine, told from /proc and /sys as they are on others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.devices.automounters import automounters
from agent.devices.usage import is_claimed, user_of, writers


class _Machine:
    """A disk sdy of number 65:128 with one partition, and nothing that uses it."""

    def __init__(self, root: Path) -> None:
        self.disk, self.proc = root / "sdy", root / "proc"
        self.part = self.disk / "sdy1"
        for folder, number in ((self.disk, "65:128"), (self.part, "65:129")):
            (folder / "holders").mkdir(parents=True)
            (folder / "dev").write_text(f"{number}\n")
        (self.part / "partition").write_text("1\n")
        (self.proc / "self").mkdir(parents=True)
        self.mounts("22 1 254:0 / / rw - ext4 /dev/root rw")
        (self.proc / "swaps").write_text("Filename Type Size Used Priority\n")

    def mounts(self, *lines: str) -> None:
        (self.proc / "self/mountinfo").write_text("\n".join(lines) + "\n")

    def user(self) -> str | None:
        return user_of(self.disk, self.proc)


@pytest.fixture
def machine(tmp_path: Path) -> _Machine:
    return _Machine(tmp_path)


def test_a_disk_that_nobody_uses_is_free(machine: _Machine) -> None:
    assert machine.user() is None


def test_a_mounted_partition_is_told_with_its_place(machine: _Machine) -> None:
    machine.mounts(
        "22 1 254:0 / / rw - ext4 /dev/root rw",
        r"30 22 65:129 / /media/My\040Drive ro,nosuid shared:1 - ntfs3 /dev/sdy1 ro",
    )
    assert machine.user() == "sdy1 is mounted at /media/My Drive"


def test_a_mounted_whole_disk_is_in_use(machine: _Machine) -> None:
    machine.mounts("30 22 65:128 / /mnt rw - ext4 /dev/sdy rw")
    assert machine.user() == "sdy is mounted at /mnt"


def test_a_disk_in_a_raid_or_a_logical_volume_is_in_use(machine: _Machine) -> None:
    (machine.part / "holders/md127").mkdir()
    assert machine.user() == "sdy1 is held by md127"


def test_a_mapping_is_told_with_its_name(machine: _Machine) -> None:
    (machine.disk / "holders/dm-0/dm").mkdir(parents=True)
    (machine.disk / "holders/dm-0/dm/name").write_text("vg0-root\n")
    assert machine.user() == "sdy is held by dm-0 (vg0-root)"


@pytest.mark.parametrize(
    "line", ["", "x", "1 2 3", "30 22 65:x / /a rw - ext4", "30 22 : / / rw - a b c", " - "]
)
def test_lines_of_another_shape_are_passed_over(machine: _Machine, line: str) -> None:
    machine.mounts(line)
    (machine.proc / "swaps").write_text(f"Filename\n{line}\n\n")
    assert machine.user() is None


def test_a_machine_without_proc_has_no_users_to_show(machine: _Machine, tmp_path: Path) -> None:
    assert user_of(machine.disk, tmp_path / "none") is None
    assert user_of(tmp_path / "gone", machine.proc) is None


def test_the_disk_of_the_root_file_system_is_in_use() -> None:
    """On this machine, as it is."""
    number = os.stat("/").st_dev
    folder = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    if not folder.exists():
        pytest.skip("the root file system of this machine is on no block device")
    disk = folder.parent if (folder / "partition").exists() else folder
    user = user_of(disk)
    assert user is not None
    assert " is mounted at /" in user or " is held by " in user


def test_a_file_is_claimed_by_nobody_and_has_no_writers(tmp_path: Path, machine: _Machine) -> None:
    file = tmp_path / "file"
    file.touch()
    assert not is_claimed(str(file))
    with file.open("wb"):
        assert writers(machine.disk) == []
    with pytest.raises(FileNotFoundError):
        is_claimed(str(tmp_path / "none"))


def test_automounters_are_known_by_name(tmp_path: Path) -> None:
    for number, name in (("1", "systemd"), ("20", "udisksd"), ("21", "python3"), ("22", "devmon")):
        (tmp_path / number).mkdir()
        (tmp_path / number / "comm").write_text(f"{name}\n")
    (tmp_path / "30").mkdir()
    (tmp_path / "sys").mkdir()
    assert automounters(tmp_path) == ["devmon", "udisksd"]
