"""What QEMU is told: the machine of the laboratory, its bays, the drives in them and their faults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab import board as boards
from tests.lab import drive as drives
from tests.lab.board import Board, command_line
from tests.lab.drive import Drive, Medium

CHASSIS = [Drive("WD-1", wwn=0x50014EE2B9F0C1D2), Drive("WD-2"), Drive("WD-1")]


def _board(**more: Any) -> Board:
    folder = Path("/run/lab")
    return Board(Path("/k"), Path("/i"), folder / "root.qcow2", folder, CHASSIS, **more)


def _values(board: Board, option: str) -> list[Any]:
    """What an option was given, each time; objects as such."""
    line = command_line(board)
    values = [line[at + 1] for at, word in enumerate(line) if word == option]
    return [json.loads(value) if value.startswith("{") else value for value in values]


def _devices(board: Board, driver: str) -> list[dict[str, Any]]:
    return [each for each in _values(board, "-device") if isinstance(each, dict) and each["driver"] == driver]


def test_a_machine_is_always_emulated() -> None:
    line = command_line(_board())
    assert _values(_board(), "-accel") == ["tcg,thread=multi,tb-size=512"]
    assert not [word for word in line if "kvm" in word.lower() or word == "-enable-kvm"]


def test_each_bay_has_a_port_and_a_controller_of_its_own() -> None:
    board = _board()
    assert [each["bus"] for each in _devices(board, "ich9-ahci")] == ["port1", "port2", "port3"]
    assert [each["bus"] for each in _devices(board, "ide-hd")] == ["bay1.0", "bay2.0", "bay3.0"]
    ports = [each for each in _values(board, "-device") if str(each).startswith("pcie-root-port")]
    assert len(ports) == len({port.split("addr=")[1].split(",")[0] for port in ports}) == 3


def test_a_drive_says_of_itself_what_was_chosen() -> None:
    first, second, third = _devices(_board(), "ide-hd")
    assert (first["serial"], second["serial"], third["serial"]) == ("WD-1", "WD-2", "WD-1")
    assert first["wwn"] == 0x50014EE2B9F0C1D2
    assert "wwn" not in second


def test_where_a_bay_is_follows_from_its_number() -> None:
    assert boards.port_address(1) == "0000:00:10.0"
    assert boards.id_path(3) == "pci-0000:03:00.0-ata-1.0"


@pytest.mark.parametrize(
    ("serial", "model", "firmware"),
    [("S" * 21, "M", "F"), ("", "M", "F"), ("S", "M" * 41, "F"), ("S", "M", "F" * 9), ("Ä", "M", "F")],
)
def test_a_name_that_ata_has_no_room_for_is_refused(serial: str, model: str, firmware: str) -> None:
    with pytest.raises(ValueError, match="ASCII characters"):
        Drive(serial, model=model, firmware=firmware)


def test_a_drive_of_half_a_sector_is_refused() -> None:
    with pytest.raises(ValueError, match="whole sectors"):
        Drive("WD-1", size_bytes=1000)


def test_bad_sectors_are_a_rule_each_directly_below_the_raw_format() -> None:
    node: Any = drives.block_node(1, Path("/d"), Medium(bad=[range(7, 9), range(8, 10)]))
    assert node["driver"] == "throttle"
    raw = node["file"]
    faults = raw["file"]
    assert (raw["driver"], faults["driver"], faults["image"]["filename"]) == ("raw", "blkdebug", "/d")
    assert [rule["sector"] for rule in faults["inject-error"]] == [7, 8, 9]
    assert not any(rule["once"] for rule in faults["inject-error"])


def test_a_drive_without_bad_sectors_has_no_rules() -> None:
    node: Any = drives.block_node(1, Path("/d"), Medium())
    assert node["file"]["file"]["driver"] == "file"


def test_more_bad_sectors_than_a_command_line_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 1000"):
        drives.block_node(1, Path("/d"), Medium(bad=[range(1001)]))
    longest = json.dumps(drives.block_node(1, Path("/d"), Medium(bad=[range(1 << 33, (1 << 33) + 1000)])))
    assert len(longest) < 128 << 10


def test_every_drive_can_be_slowed_and_one_is_from_the_beginning() -> None:
    board = _board(media={2: Medium(bytes_per_s=1_000_000)})
    limits = {each["id"]: each["limits"]["bps-total"] for each in _values(board, "-object")}
    assert limits == {"throttle1": 0, "throttle2": 1_000_000, "throttle3": 0}


def test_the_guest_reaches_one_service_of_the_host_and_nothing_else() -> None:
    (alone,) = _values(_board(), "-netdev")
    assert "restrict=on" in alone
    assert "guestfwd" not in alone
    (served,) = _values(_board(service_port=4711), "-netdev")
    assert "restrict=on" in served
    assert served.endswith("guestfwd=tcp:10.0.2.100:10000-cmd:socat - TCP:127.0.0.1:4711")


def test_nobody_writes_to_what_the_host_gives_along() -> None:
    nodes = {each["node-name"]: each for each in _values(_board(cargo=Path("/c.deb")), "-blockdev")}
    assert nodes["cargo"]["read-only"] is True
    assert nodes["cargo"]["file"]["filename"] == "/c.deb"
    assert nodes["absent"]["read-only"] is True


def test_only_a_machine_that_goes_on_is_given_a_state() -> None:
    assert _values(_board(), "-incoming") == []
    assert _values(_board(incoming=Path("/s")), "-incoming") == ["exec:cat /s"]


def test_a_guest_that_boots_is_told_which_bays_are_empty() -> None:
    text = boards.absent_text(_board(), frozenset({2}))
    assert text.split() == [b"0000:00:10.0", b"0000:00:12.0"]
    assert len(text) == boards.ABSENT_BYTES
    assert boards.absent_text(_board(), frozenset({1, 2, 3})).strip() == b""


def test_media_for_bays_that_are_not_there_and_too_many_bays_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no such bays: \[4\]"):
        _board(media={4: Medium()})
    with pytest.raises(ValueError, match="9 bays"):
        Board(Path("/k"), Path("/i"), Path("/r"), Path("/f"), [Drive("WD-1")] * 9)
