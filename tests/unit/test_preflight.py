"""Checks of a machine, by one that is made for them: each can pass, and each can fail."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.config import Settings, StoreSettings
from agent.devices import smart as smart_module
from agent.model.access import Identity, IdentityKind
from agent.model.secrets import Secret
from agent.station.preflight import machine as machine_module
from agent.station.preflight import place
from agent.station.preflight.finding import Finding, Outcome
from agent.station.preflight.machine import RULES, Machine
from agent.station.preflight.store import folder

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KEY = "a2V5"


def _is(finding: Finding, outcome: Outcome, said: str = "") -> None:
    assert finding.outcome is outcome, finding
    assert said in finding.detail
    assert finding.detail.count("\n") == 0
    assert finding.fix or outcome in (Outcome.PASSED, Outcome.SKIPPED)


def _put(path: Path, text: str = "", mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


@contextmanager
def _as_somebody_else() -> Iterator[None]:
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_a_disk_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path)
    _is(machine.devices(), Outcome.SKIPPED)
    for name in ("sda", "sdb", "loop0"):
        _put(tmp_path / "dev" / name)
        (tmp_path / "sys/block" / name).mkdir(parents=True)
    _is(machine.devices(), Outcome.PASSED, "sda, sdb")
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("sdb"))
    _is(machine.devices(), Outcome.FAILED, "sdb")
    assert "disk" in machine.devices().fix


def test_udev_is_needed_where_drives_come_from_it() -> None:
    # A socket's path is short.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        _look_for_udev(Path(folder))


def _look_for_udev(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    _is(machine.udev(needed=True), Outcome.FAILED)
    _is(machine.udev(needed=False), Outcome.SKIPPED)
    control = tmp_path / "run/udev/control"
    control.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(control))
        _is(machine.udev(needed=True), Outcome.FAILED)
        listener.listen()
        _is(machine.udev(needed=True), Outcome.PASSED)
    _is(machine.udev(needed=True), Outcome.FAILED)


def test_an_automounter_is_a_warning_until_the_rule_is_there(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    _put(tmp_path / "proc/17/comm", "bash\n")
    _is(machine.automounters(), Outcome.PASSED, "none")
    _put(tmp_path / "proc/18/comm", "udisksd\n")
    _is(machine.automounters(), Outcome.WARNING, "udisksd")
    _put(tmp_path / "usr/lib/udev/rules.d" / RULES)
    _is(machine.automounters(), Outcome.PASSED, "keeps it off")


def _program(folder: Path, text: str) -> None:
    _put(folder / "smartctl", f"#!/bin/sh\n{text}\n", 0o755)


@pytest.mark.parametrize(
    ("says", "outcome", "told"),
    [
        ("""echo '{"smartctl":{"version":[7,3]}}'""", Outcome.PASSED, "7.3"),
        ("""echo '{"smartctl":{"version":[6,6]}}'""", Outcome.WARNING, "older"),
        ("echo smartctl 5.0; exit 1", Outcome.WARNING, "older"),
        ("echo '[]'", Outcome.WARNING, "older"),
        (None, Outcome.WARNING, "not installed"),
    ],
    ids=["new", "old", "no JSON", "other JSON", "none"],
)
def test_smartctl_is_there_and_new_enough(
    says: str | None, outcome: Outcome, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(smart_module, "PLACES", str(tmp_path))
    monkeypatch.setattr(machine_module, "_has_capability", lambda number: True)
    if says is not None:
        _program(tmp_path, says)
    _is(Machine().smartctl(), outcome, told)


def test_smartctl_without_the_right_to_ask_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    _program(tmp_path, """echo '{"smartctl":{"version":[7,4]}}'""")
    monkeypatch.setattr(machine_module, "_has_capability", lambda number: False)
    _is(Machine(tmp_path).smartctl(), Outcome.WARNING, "CAP_SYS_RAWIO")
    _put(tmp_path / machine_module.SMART_SOCKET)
    _is(Machine(tmp_path).smartctl(), Outcome.PASSED, "asked through")


@pytest.mark.parametrize(
    ("state", "outcome"), [(True, Outcome.PASSED), (False, Outcome.WARNING), (None, Outcome.SKIPPED)]
)
def test_a_clock_that_nobody_keeps_is_a_warning(
    state: bool | None, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machine_module._clock_is_synchronised() in (True, False, None)
    monkeypatch.setattr(machine_module, "_clock_is_synchronised", lambda: state)
    _is(Machine().clock(), outcome)


def test_what_the_kernel_lacks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path)
    _is(machine.seccomp(), Outcome.WARNING)
    _is(machine.controllers(), Outcome.WARNING, "memory and io")
    _put(tmp_path / "proc/sys/kernel/seccomp/actions_avail", "kill_process kill_thread errno allow\n")
    _put(tmp_path / "sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n")
    _is(machine.seccomp(), Outcome.PASSED)
    _is(machine.controllers(), Outcome.PASSED)
    _is(machine.memory_files(), Outcome.PASSED)

    def refused(*arguments: object) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "memfd_create", refused)
    monkeypatch.setattr("agent.transfer.sandbox.kernel.syscall", refused)
    _is(machine.memory_files(), Outcome.FAILED)
    _is(machine.landlock(), Outcome.WARNING, "is not there")


def test_root_is_told_that_it_may_more_than_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    _is(Machine().user(), Outcome.WARNING)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    _is(Machine().user(), Outcome.PASSED)


def test_the_state_folder_is_this_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _is(place.state_folder(tmp_path / "later"), Outcome.SKIPPED)
    tmp_path.chmod(0o700)
    _is(place.state_folder(tmp_path), Outcome.PASSED)
    tmp_path.chmod(0o755)
    _is(place.state_folder(tmp_path), Outcome.WARNING, "0755")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    _is(place.state_folder(tmp_path), Outcome.FAILED)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file that somebody else owns")
def test_files_in_the_state_folder_that_root_left_there_are_named() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        state = Path(made)
        _put(state / "catalog.sqlite"), _put(state / "station.lock"), _put(state / "catalog.key", mode=0o400)
        os.chown(state, 65534, 65534)
        os.chown(state / "catalog.key", 65534, 65534)
        with _as_somebody_else():
            finding = place.state_folder(state)
    _is(finding, Outcome.FAILED, f"this user may not write catalog.sqlite, station.lock in {state}")
    assert "chown -R drive-ingest" in finding.fix


@pytest.mark.parametrize(
    ("free_gb", "outcome"), [(0.5, Outcome.FAILED), (5, Outcome.WARNING), (50, Outcome.PASSED)]
)
def test_room_for_the_state_is_measured(
    free_gb: float, outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = os.statvfs(tmp_path)

    class Found:
        f_bavail, f_frsize = int(free_gb * 1e9 / found.f_frsize), found.f_frsize

    monkeypatch.setattr(os, "statvfs", lambda path: Found)
    _is(place.state_space(tmp_path / "not/there"), outcome, f"{free_gb:.1f} GB")


def test_the_key_of_keys_is_opened(tmp_path: Path) -> None:
    key = tmp_path / "catalog.key"
    _is(place.catalog_key(key), Outcome.SKIPPED)
    key.write_bytes(bytes(32))
    key.chmod(0o600)
    _is(place.catalog_key(key), Outcome.PASSED)
    key.chmod(0o644)
    _is(place.catalog_key(key), Outcome.FAILED, "0644")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else for a while")
def test_who_may_not_look_into_the_state_folder_is_told_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    _put(tmp_path / "catalog.key", "k" * 32)
    with _as_somebody_else():
        found = {
            "state": place.state_folder(tmp_path / "state"),
            "key": place.catalog_key(tmp_path / "catalog.key"),
            "store": folder(tmp_path / "blobs"),
        }
        room = place.state_space(tmp_path / "state")
    _is(found["state"], Outcome.FAILED, "this user may not write")
    assert "runuser -u drive-ingest" in found["state"].fix
    _is(found["key"], Outcome.FAILED, "Permission denied")
    _is(found["store"], Outcome.FAILED, "this user may not write")
    assert "GB are free at" in room.detail


def _settings(path: Path | None, text: str | None = KEY, **more: Identity) -> Settings:
    secret = None if text is None else Secret(text)
    return Settings(Path("/nowhere"), StoreSettings("azure", "https://a.blob.example", secret, path, **more))


def test_a_credential_that_others_may_read_fails(tmp_path: Path) -> None:
    file = _put(tmp_path / "store", KEY)
    _is(place.credential_file(_settings(file), {}), Outcome.PASSED, "0600")
    file.chmod(0o644)
    _is(place.credential_file(_settings(file), {}), Outcome.FAILED, "0644")
    handed = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    _is(place.credential_file(_settings(file), handed), Outcome.PASSED, "service manager")
    identity = Identity(IdentityKind.MANAGED, None)
    _is(place.credential_file(_settings(None, None, identity=identity), {}), Outcome.SKIPPED)


def _sas(left: timedelta, permissions: str = "rwc") -> str:
    return f"sr=c&sp={permissions}&se={(NOW + left):%Y-%m-%dT%H:%M:%SZ}&sig=CANARY"


@pytest.mark.parametrize(
    ("text", "outcome", "said"),
    [
        (KEY, Outcome.PASSED, "no end"),
        (_sas(timedelta(days=30)), Outcome.PASSED, "2026-03-31"),
        (_sas(timedelta(days=3)), Outcome.WARNING, "2026-03-04"),
    ],
    ids=["key", "long", "soon"],
)
def test_the_end_of_a_credential_is_told_in_time(
    text: str, outcome: Outcome, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.station.preflight.place.check_store", lambda *parts: None)
    finding = place.credential(_settings(None, text), NOW)
    _is(finding, outcome, said)
    assert "CANARY" not in str(finding)


@pytest.mark.parametrize(
    "text",
    [_sas(timedelta(days=-900)), _sas(timedelta(days=9000), "l"), "no key at all"],
    ids=["over", "few", "-"],
)
def test_a_credential_that_will_be_refused_fails(text: str) -> None:
    finding = place.credential(_settings(None, text), datetime.now(UTC))
    _is(finding, Outcome.FAILED)
    assert "CANARY" not in str(finding)


def test_a_folder_that_takes_the_blobs_is_not_made_by_looking(tmp_path: Path) -> None:
    _is(folder(tmp_path / "blobs/deep"), Outcome.PASSED)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_written_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    _is(folder(tmp_path), Outcome.FAILED)


def test_all_checks_of_the_machine_run_here() -> None:
    found = Machine().checks(uses_udev=False)
    assert len({finding.check for finding in found}) == len(found) == 10
