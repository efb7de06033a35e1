"""Protection of what is no block device, settings of bays, and the rules that are made of them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agent import config
from agent.cli.main import cli
from agent.devices import udevdb, usage
from agent.devices.facts import DriveFacts
from agent.devices.readonly import look, protect
from agent.devices.rules import bay_rules
from agent.errors import ConfigInvalid
from agent.station.reload import adopt


def _load(folder: Path, text: str) -> config.Settings:
    file = folder / "agent.toml"
    file.write_text(f'state_dir = "{folder}"\n{text}')
    return config.load(file, {})


def test_an_image_file_needs_no_protection(tmp_path: Path) -> None:
    file = tmp_path / "image"
    file.write_bytes(b"x")
    fd = os.open(file, os.O_RDONLY)
    try:
        protect(fd)
        assert look(fd) is None
    finally:
        os.close(fd)
    assert os.access(file, os.W_OK)


def test_the_drives_of_the_machine_are_seen_when_the_settings_say_so(tmp_path: Path) -> None:
    assert not _load(tmp_path, "").devices.udev
    settings = _load(tmp_path, '[devices]\nudev = true\n[bays]\n"pci-0000:00:1f.2-ata-1" = " upper left "\n')
    assert settings.devices == config.DeviceSettings(udev=True, loop_devices=False)
    assert settings.bays == {"pci-0000:00:1f.2-ata-1": "upper left"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[devices]\nudev = 1", "devices.udev must be true or false"),
        ("[devices]\nsmart = true", "there is no setting devices.smart"),
        ("devices = 3", "devices must be a table"),
        ("bays = 3", "bays must be a table of ID_PATH to label"),
        ('[bays]\n"a*" = "1"', "bays: 'a*' is no ID_PATH of udev"),
        ('[bays]\n"a\\"b" = "1"', "is no ID_PATH of udev"),
        ('[bays]\n"a" = 1', 'bays."a" must be a label of 1 to 32 characters'),
        ('[bays]\n"a" = "\\u0007"', 'bays."a" must be a label'),
        ('[bays]\n"a" = "  "', 'bays."a" must be a label'),
        ('[bays]\n"a" = "1"\n"b" = "1 "', "bays.\"b\": there is another bay '1'"),
    ],
)
def test_a_wrong_setting_of_drives_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigInvalid) as error:
        _load(tmp_path, text)
    assert said in error.value.detail


def test_other_bays_count_after_a_restart(tmp_path: Path) -> None:
    old, new = _load(tmp_path, ""), _load(tmp_path, '[devices]\nudev = true\n[bays]\n"a" = "1"\n')
    adopted = adopt(old, new)
    assert adopted.held == ("devices", "bays")
    assert (adopted.settings.devices, adopted.settings.bays) == (old.devices, old.bays)


def test_the_rules_name_each_bay_in_both_forms() -> None:
    rules = bay_rules(["pci-0000:00:1f.2-ata-1"]).splitlines()
    for name in ("ID_PATH", "ID_PATH_ATA_COMPAT"):
        assert f'ENV{{{name}}}=="pci-0000:00:1f.2-ata-1", ENV{{DRIVE_INGEST_BAY}}="1"' in rules
    labels = {line.split('"')[1] for line in rules if line.startswith("LABEL")}
    assert {line.split('GOTO="')[1].strip('"') for line in rules if "GOTO=" in line} <= labels


def test_the_shipped_rules_run_nothing_in_the_background() -> None:
    text = (Path(__file__).parents[2] / "systemd/60-drive-ingest.rules").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert not any("RUN" in line for line in lines)
    assert any("--setro" in line for line in lines)


def test_no_rules_are_printed_that_would_keep_a_disk_from_who_uses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel would refuse the writes of a mounted system disk."""
    file = tmp_path / "agent.toml"
    file.write_text(
        f'state_dir = "{tmp_path}"\n[devices]\nudev = true\n[bays]\n"pci-0000:00:1f.2-ata-1" = "7"\n'
    )
    disk = DriveFacts("sda", "/dev/sda", 0x800, "1", 512, 512, "/sys/sda", is_virtual=False)
    system = replace(disk, id_path="pci-0000:00:1f.2-ata-1.0", id_path_ata="pci-0000:00:1f.2-ata-1")
    elsewhere = replace(disk, id_path="pci-0000:00:1f.2-ata-2.0", id_path_ata="pci-0000:00:1f.2-ata-2")
    users: list[str | None] = ["sda1 is mounted at /", None]
    found = [system]
    monkeypatch.setattr(udevdb, "disks", lambda: found)
    monkeypatch.setattr(usage, "user_of", lambda folder: users[0])

    def ask() -> Result:
        return CliRunner().invoke(cli, ["--config", str(file), "bays", "--rules"])

    refused = ask()
    assert (refused.exit_code != 0, refused.stdout) == (True, "")
    assert isinstance(refused.exception, ConfigInvalid)
    assert "bay 7 (pci-0000:00:1f.2-ata-1): sda1 is mounted at /" in refused.exception.detail
    found[:] = [elsewhere]
    assert ask().stdout == bay_rules(["pci-0000:00:1f.2-ata-1"])
    found[:], users[:] = [system], [None]
    assert ask().stdout == bay_rules(["pci-0000:00:1f.2-ata-1"])
