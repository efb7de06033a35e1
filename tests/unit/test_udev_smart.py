"""What a drive says of its condition, and smartctl that says nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from agent.devices.health import Health, Verdict, read_health
from agent.devices.smart import Smartctl

# As smartctl 7.3 wrote it of a SATA drive, cut down to what is looked at.
SOUND: dict[str, Any] = {
    "smartctl": {"version": [7, 3], "exit_status": 0},
    "serial_number": "WD-WCC7K0ABC123",
    "wwn": {"naa": 5, "oui": 5358, "id": 0x2B9F0C1D2},
    "smart_status": {"passed": True},
    "ata_smart_attributes": {
        "table": [
            {"id": 5, "name": "Reallocated_Sector_Ct", "when_failed": "", "raw": {"value": 0}},
            {"id": 197, "name": "Current_Pending_Sector", "when_failed": "", "raw": {"value": 0}},
            {"id": 198, "name": "Offline_Uncorrectable", "when_failed": "", "raw": {"value": 0}},
            {"id": 199, "name": "UDMA_CRC_Error_Count", "when_failed": "", "raw": {"value": 3}},
        ]
    },
    "temperature": {"current": 34},
}


def _with(number: int, raw: int, when_failed: str = "") -> dict[str, Any]:
    table = [
        row | {"raw": {"value": raw}, "when_failed": when_failed} if row["id"] == number else row
        for row in SOUND["ata_smart_attributes"]["table"]
    ]
    return SOUND | {"ata_smart_attributes": {"table": table}}


def test_a_sound_drive_is_healthy_and_its_counts_are_told() -> None:
    health = read_health(SOUND)
    assert health.verdict is Verdict.HEALTHY
    assert (health.identity.serial, health.identity.wwn) == ("WD-WCC7K0ABC123", "0x50014ee2b9f0c1d2")
    assert health.line() == (
        "healthy: the drive's own test of its attributes passed; 34 °C; reallocated 0; pending 0; "
        "uncorrectable 0; cable errors 3"
    )


@pytest.mark.parametrize(
    ("report", "verdict", "reason"),
    [
        (_with(197, 12), Verdict.FAILING, "12 sectors wait to be read or replaced"),
        (_with(198, 2), Verdict.FAILING, "2 sectors could not be corrected"),
        (_with(5, 9), Verdict.WORN, "9 sectors were replaced by spare ones"),
        (_with(5, 0, "now"), Verdict.FAILING, "attribute 5 is below its threshold"),
        (SOUND | {"smart_status": {"passed": False}}, Verdict.FAILING, "the drive predicts its own failure"),
        (SOUND | {"temperature": {"current": 63}}, Verdict.WORN, "63 °C is too hot"),
        ({"scsi_grown_defect_list": 4}, Verdict.WORN, "4 sectors were replaced by spare ones"),
        (
            {"nvme_smart_health_information_log": {"media_errors": 7}, "smart_status": {"passed": True}},
            Verdict.FAILING,
            "7 media errors",
        ),
        ({}, Verdict.UNKNOWN, "the drive does not tell its condition"),
    ],
)
def test_a_verdict_has_its_reason(report: dict[str, Any], verdict: Verdict, reason: str) -> None:
    health = read_health(report)
    assert health.verdict is verdict
    assert reason in health.reasons
    assert health.is_failing is (verdict is Verdict.FAILING)


def test_a_raw_value_with_something_else_above_counts_its_low_part() -> None:
    assert read_health(_with(5, (0x1234 << 32) | 1)).reallocated == 1


@pytest.mark.parametrize(
    "report",
    [
        {"serial_number": 7, "wwn": "x", "smart_status": [], "temperature": {"current": "hot"}},
        {"ata_smart_attributes": {"table": [None, 5, {"id": "5"}, {"id": 197, "raw": {"value": -3}}]}},
        {"ata_smart_attributes": {"table": {"id": 5}}, "wwn": {"naa": True}, "smartctl": {"messages": [3]}},
    ],
)
def test_a_report_of_another_shape_tells_nothing(report: dict[str, Any]) -> None:
    health = read_health(report)
    assert health.verdict is Verdict.UNKNOWN
    assert (health.identity.serial, health.identity.wwn, health.pending) == ("", "", None)


def _program(folder: Path, script: str) -> Smartctl:
    file = folder / "smartctl"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return Smartctl(str(file), within_s=1)


async def _told(folder: Path, script: str) -> Health:
    return await _program(folder, script).ask("/dev/sdx")


async def test_the_program_is_asked_once_about_the_node(tmp_path: Path) -> None:
    report = tmp_path / "report"
    report.write_text(json.dumps(SOUND))
    health = await _told(tmp_path, f'echo "$@" >> {tmp_path}/asked; cat {report}; exit 4')
    assert health == read_health(SOUND)
    assert (tmp_path / "asked").read_text() == "--json=c --info --health --attributes /dev/sdx\n"


async def test_one_that_does_not_answer_is_left_and_killed(tmp_path: Path) -> None:
    health = await _told(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 600")
    assert health.reasons == ("no answer within 1 s",)
    pid = int((tmp_path / "pid").read_text())
    async with asyncio.timeout(30):
        while _runs(pid):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").split()[2] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("said", ["", "no JSON", "[1]", '{"a":' * 100_000, "\\0377"])
async def test_a_report_that_is_none_is_an_unknown_condition(tmp_path: Path, said: str) -> None:
    (tmp_path / "said").write_text(said)
    assert (await _told(tmp_path, f"cat {tmp_path}/said")).verdict is Verdict.UNKNOWN


async def test_an_endless_report_is_cut_off(tmp_path: Path) -> None:
    assert (await _told(tmp_path, "exec cat /dev/zero")).verdict is Verdict.UNKNOWN


async def test_a_station_without_smartctl_knows_that() -> None:
    health = await Smartctl("no-such-smartctl").ask("/dev/sdx")
    assert health.reasons == ("no-such-smartctl is not installed",)
