"""Protection of what is no block device, settings of bays, and the rules that are made of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent import config
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
