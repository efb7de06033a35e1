"""The shipped units: hardened as far as they can be, placed where systemd finds them, understood by it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent import config
from agent.cli.install_systemd import PLACES, install_systemd, shipped

UNITS = sorted(path for pattern in ("*.service", "*.socket") for path in shipped().glob(pattern))
SERVICES = [path for path in UNITS if path.suffix == ".service"]
MOST_EXPOSED = 2.0

needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def _analyze(*arguments: str) -> str:
    done = subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def _install(root: Path, *arguments: str) -> dict[str, str]:
    done = CliRunner().invoke(
        install_systemd,
        ["--root", str(root), "--prefix", "/opt/ingest", "--json", *arguments],
        catch_exceptions=False,
    )
    assert done.exit_code == 0, done.output
    placed = json.loads(done.output)["value"]
    return {str(Path(one["path"]).relative_to(root)): one["outcome"] for one in placed}


@needs_analyze
@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_unit_is_little_exposed(unit: Path) -> None:
    said = _analyze("security", "--offline=true", "--json=short", str(unit))
    if "--offline" in said:
        pytest.skip("this systemd cannot judge a unit that is not loaded (it is older than 250)")
    rows = json.loads(said)
    exposure = _analyze("security", "--offline=true", str(unit)).rpartition("Overall exposure level")[2]
    score = float(exposure.partition(": ")[2].split()[0])
    worst = sorted(rows, key=lambda row: -float(row["exposure"] or 0))[:5]
    assert score <= MOST_EXPOSED, [row["name"] for row in worst]


def test_the_station_has_descriptors_for_all_bays_and_the_api() -> None:
    """A service manager gives 1024 where nobody asks."""
    lines = (shipped() / "drive-ingest-agent.service").read_text("utf-8").splitlines()
    (limit,) = [line.partition("=")[2] for line in lines if line.startswith("LimitNOFILE=")]
    assert int(limit) >= 16 * 1024


@needs_analyze
def test_systemd_understands_what_is_placed(tmp_path: Path) -> None:
    _install(tmp_path)
    _furnish(tmp_path)
    assert {unit.name: _complaints(tmp_path, unit.name) for unit in UNITS} == {
        unit.name: [] for unit in UNITS
    }


@needs_analyze
def test_the_check_of_what_is_placed_can_fail(tmp_path: Path) -> None:
    _install(tmp_path)
    _furnish(tmp_path)
    unit = tmp_path / PLACES["drive-ingest-agent.service"]
    unit.write_text(unit.read_text().replace("ProtectHome=", "ProtectHouse="))
    assert "ProtectHouse" in _complaints(tmp_path, unit.name)[0]


def _furnish(tmp_path: Path) -> None:
    """What the units lean on."""
    command = tmp_path / "opt/ingest/bin/ingest-agent"
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sh").touch(mode=0o755)
    kill = tmp_path / "bin/kill"
    kill.touch(mode=0o755)
    for target in ("network-online", "time-sync", "sysinit", "basic", "shutdown", "multi-user", "sockets"):
        (tmp_path / f"usr/lib/systemd/system/{target}.target").write_text("[Unit]\n")


def _complaints(root: Path, unit: str) -> list[str]:
    named = unit.replace("@.", "@1.")
    said = _analyze("verify", f"--root={root}", "--man=no", "--recursive-errors=one", named)
    return [line for line in said.splitlines() if unit in line or named in line]


def test_every_shipped_file_has_a_place() -> None:
    assert {path.name for path in shipped().iterdir() if path.is_file()} == set(PLACES)


def test_installing_again_changes_nothing(tmp_path: Path) -> None:
    assert set(_install(tmp_path).values()) == {"placed"}
    assert set(_install(tmp_path)) == set(PLACES.values())
    assert set(_install(tmp_path).values()) == {"unchanged"}


def test_changed_settings_are_kept_and_the_new_example_is_put_beside_them(tmp_path: Path) -> None:
    _install(tmp_path)
    settings = tmp_path / PLACES["agent.toml"]
    settings.write_text("# mine\n")
    assert _install(tmp_path)[PLACES["agent.toml"]] == "kept"
    assert settings.read_text() == "# mine\n"
    assert settings.with_name("agent.toml.new").read_bytes() == (shipped() / "agent.toml").read_bytes()


def test_an_older_unit_is_replaced_whole(tmp_path: Path) -> None:
    _install(tmp_path)
    unit = tmp_path / PLACES["drive-ingest-agent.service"]
    unit.write_text("old")
    assert _install(tmp_path)[PLACES["drive-ingest-agent.service"]] == "replaced"
    text = unit.read_text()
    assert "ExecStart=/opt/ingest/bin/ingest-agent run\n" in text
    assert [path.name for path in unit.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    "prefix", ["relative", "/opt/a b", "/opt/%h", "/opt/../etc", "/home/me/venv", "/root"]
)
def test_a_prefix_that_the_service_could_not_use_is_refused(prefix: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(install_systemd, ["--root", str(tmp_path), "--prefix", prefix])
    assert type(done.exception).__name__ == "ConfigInvalid"
    assert list(tmp_path.iterdir()) == []


def test_the_example_of_the_settings_is_read(tmp_path: Path) -> None:
    settings = config.load(shipped() / "agent.toml", {})
    assert settings.state_dir == Path("/var/lib/drive-ingest-agent")
    assert settings.store.kind == "directory"


def test_what_is_placed_is_told_with_the_next_steps(tmp_path: Path) -> None:
    done = CliRunner().invoke(install_systemd, ["--root", str(tmp_path), "--prefix", "/usr"])
    assert sum(line.startswith("placed ") for line in done.output.splitlines()) == len(PLACES)
    assert "systemctl enable --now drive-ingest-agent" in done.output


def test_the_services_user_can_read_what_root_placed_under_a_narrow_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        placed = _install(tmp_path)
    finally:
        os.umask(before)
    made = list(tmp_path.rglob("*"))
    assert len(made) > len(placed)
    for path in made:
        assert path.stat().st_mode & 0o777 in ((0o755,) if path.is_dir() else (0o644, 0o755)), path
