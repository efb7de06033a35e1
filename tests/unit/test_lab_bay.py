"""What hands do to a bay of the laboratory reaches that bay, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.lab.bay import Bay
from tests.lab.board import Board
from tests.lab.drive import Drive
from tests.lab.machine import Machine

DRIVE = Drive("WD-1")
NUMBER = 2


class Recording:
    """Hands that write down what they are asked to do."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.asked: list[tuple[str, dict[str, object]]] = []
        self.deleted: list[str] = []
        self.inserted: dict[int, bool] = {}

    def sh(self, command: str, *, timeout_s: float = 0) -> str:
        self.commands.append(command)
        return ""

    def until(self, command: str, *, timeout_s: float = 0) -> str:
        return self.sh(command)

    def qmp(self, command: str, arguments: dict[str, object] | None = None) -> object:
        self.asked.append((command, arguments or {}))
        return {}

    def gone(self, device: str) -> None:
        self.deleted.append(device)

    def mark_inserted(self, bay: int, *, inserted: bool) -> None:
        self.inserted[bay] = inserted


@pytest.mark.parametrize(
    ("deed", "is_there"),
    [("insert", True), ("eject", False), ("yank", False), ("plug_back", True), ("pull", False)],
)
def test_a_deed_is_done_to_its_own_bay_and_is_known_at_the_next_boot(deed: str, is_there: bool) -> None:
    hands = Recording()
    getattr(Bay(hands, NUMBER, DRIVE), deed)()
    assert hands.inserted == {NUMBER: is_there}
    named = " ".join(hands.commands)
    addresses = set(re.findall(r"0000:[0-9a-f]{2}:[0-9a-f]{2}\.0", named))
    assert addresses <= {"0000:00:11.0", "0000:02:00.0"}
    assert addresses


def test_a_yank_shortens_the_patience_of_the_kernel_before_the_link_dies() -> None:
    hands = Recording()
    Bay(hands, NUMBER, DRIVE).yank(command_timeout_s=7)
    (command,) = hands.commands
    assert 0 < command.index("echo 7 >") < command.index(r"printf '\x00\x00'")


def test_a_pull_is_done_when_qemu_has_taken_the_controller_away() -> None:
    hands = Recording()
    Bay(hands, NUMBER, DRIVE).pull()
    assert hands.asked == [("device_del", {"id": "bay2"})]
    assert hands.deleted == ["bay2"]


def test_a_drive_is_slowed_by_its_own_throttle() -> None:
    hands = Recording()
    Bay(hands, NUMBER, DRIVE).throttle(500_000)
    ((command, arguments),) = hands.asked
    assert command == "qom-set"
    assert arguments["path"] == "/objects/throttle2"
    assert arguments["value"] == {"bps-total": 500_000}


def test_a_drive_is_not_moved_into_a_bay_that_was_built_for_another(tmp_path: Path) -> None:
    chassis = [Drive("WD-1"), Drive("WD-2")]
    machine = Machine(Board(tmp_path, tmp_path, tmp_path, tmp_path, chassis))
    with pytest.raises(ValueError, match="bay 2 was not built for the drive of bay 1"):
        machine.move(1, 2)
