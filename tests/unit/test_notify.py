"""What the service manager is told, on a real socket."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.station.notify import MAX_STATUS_CHARS, Notifier
from tests.kit.manager import Manager, listening, unheard_of


def _heard(manager: Manager) -> list[dict[str, str]]:
    manager.listen(0.05)
    return manager.said


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_a_message_arrives_at_either_kind_of_socket(kind: str, tmp_path: Path) -> None:
    address = unheard_of() if kind == "abstract" else str(tmp_path / "notify")
    with listening(address) as manager:
        notifier = Notifier.of({"NOTIFY_SOCKET": manager.address})
        notifier.ready()
        notifier.extend(30)
        notifier.stopping()
        assert _heard(manager) == [{"READY": "1"}, {"EXTEND_TIMEOUT_USEC": "30000000"}, {"STOPPING": "1"}]


def test_a_reload_tells_its_moment_on_the_monotonic_clock(tmp_path: Path) -> None:
    with listening(str(tmp_path / "notify")) as manager:
        Notifier(manager.address).reloading()
        (message,) = _heard(manager)
        assert message["RELOADING"] == "1"
        assert int(message["MONOTONIC_USEC"]) > 0


@pytest.mark.parametrize("address", [None, "", "relative", "@", "vsock:2:1"])
def test_without_a_socket_nothing_is_sent_and_nothing_fails(address: str | None) -> None:
    notifier = Notifier(address, 1.0)
    notifier.ready()
    notifier.status("x")
    notifier.beat()


def test_a_manager_that_went_away_is_no_trouble(tmp_path: Path) -> None:
    with listening(str(tmp_path / "notify")) as manager:
        notifier = Notifier(manager.address)
    notifier.ready()


def test_a_manager_that_does_not_read_never_makes_the_station_wait(tmp_path: Path) -> None:
    with listening(str(tmp_path / "notify")) as manager:
        notifier = Notifier(manager.address)
        for number in range(5000):
            notifier.status(f"status {number}")
        assert 0 < len(_heard(manager)) < 5000


def test_a_status_is_one_line_and_is_told_once(tmp_path: Path) -> None:
    with listening(str(tmp_path / "notify")) as manager:
        notifier = Notifier(manager.address)
        notifier.status("bay\n3\tREADY=1")
        notifier.status("bay 3 READY=1")
        notifier.status("x" * 1000)
        said = [message["STATUS"] for message in _heard(manager)]
    assert said[0] == "bay 3 READY=1"
    assert len(said) == 2
    assert len(said[1]) == MAX_STATUS_CHARS


def test_beats_come_as_often_as_the_watchdog_needs_and_no_oftener(tmp_path: Path) -> None:
    with listening(str(tmp_path / "notify")) as manager:
        environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "60000000"}
        notifier = Notifier.of({**environment, "WATCHDOG_PID": str(os.getpid())})
        for _ in range(10):
            notifier.beat()
        assert notifier.beat_every_s == 20
        assert _heard(manager) == [{"WATCHDOG": "1"}]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
    ],
    ids=["none", "zero", "no number", "another process"],
)
def test_no_watchdog_means_no_beats(environment: dict[str, str], tmp_path: Path) -> None:
    with listening(str(tmp_path / "notify")) as manager:
        notifier = Notifier.of({"NOTIFY_SOCKET": manager.address, **environment})
        notifier.beat()
        assert notifier.beat_every_s is None
        assert _heard(manager) == []
