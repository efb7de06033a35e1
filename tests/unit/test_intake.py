"""Which job a drive belongs to, or the sentence why it is left alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agent.errors import MoveRefused, SerialConflict, SerialNotSpecified
from agent.model.codes import Disposition, LogLevel
from agent.model.identity import JobName, SerialNumber
from agent.model.job import DEFAULT_DIAGNOSTICS, Drive, Job
from agent.model.states import DriveState, JobState
from agent.station.intake import choose

SERIAL = SerialNumber.parse("WD-1")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _pair(name: str, job_state: JobState, drive_state: DriveState) -> tuple[Job, Drive]:
    drive = Drive(SERIAL, drive_state, copy_status="BitLockerKeyInvalid")
    job = Job(
        JobName.parse(name),
        job_state,
        (drive,),
        None,
        Disposition.RENAME,
        DEFAULT_DIAGNOSTICS,
        LogLevel.ERROR,
        False,
        False,
        False,
        NOW,
        NOW,
    )
    return job, drive


def test_the_job_that_waits_for_the_drive_gets_it() -> None:
    finished = _pair("old", JobState.PACKAGING, DriveState.COMPLETED_MORE_INFO)
    waiting = _pair("new", JobState.SHIPPING, DriveState.SPECIFIED)
    assert choose(SERIAL, [finished, waiting], 1) == waiting


def test_a_drive_in_the_middle_of_its_transfer_goes_on() -> None:
    going = _pair("job", JobState.TRANSFERRING, DriveState.TRANSFERRING)
    assert choose(SERIAL, [going], 1) == going


def test_a_serial_of_no_job_is_an_extra_drive() -> None:
    with pytest.raises(SerialNotSpecified, match="WD-1 is an extra drive"):
        choose(SERIAL, [], 1)


def test_a_serial_attached_twice_is_a_conflict_before_anything_else() -> None:
    with pytest.raises(SerialConflict, match="2 attached drives"):
        choose(SERIAL, [_pair("job", JobState.SHIPPING, DriveState.SPECIFIED)], 2)


def test_a_serial_of_two_open_jobs_is_a_conflict_that_names_them() -> None:
    both = [_pair(name, JobState.SHIPPING, DriveState.SPECIFIED) for name in ("aa", "bb")]
    with pytest.raises(SerialConflict, match="aa, bb"):
        choose(SERIAL, both, 1)


@pytest.mark.parametrize(
    "state", [DriveState.COMPLETED, DriveState.COMPLETED_MORE_INFO, DriveState.SHIPPED_BACK]
)
def test_a_processed_drive_is_not_worked_again(state: DriveState) -> None:
    with pytest.raises(MoveRefused, match=r"already processed.*BitLockerKeyInvalid"):
        choose(SERIAL, [_pair("job", JobState.PACKAGING, state)], 1)


def test_a_job_that_is_not_released_waits() -> None:
    with pytest.raises(MoveRefused, match="is in Creating and not yet"):
        choose(SERIAL, [_pair("job", JobState.CREATING, DriveState.SPECIFIED)], 1)


def test_a_faulted_drive_waits_for_operators() -> None:
    with pytest.raises(MoveRefused, match="waits for operators"):
        choose(SERIAL, [_pair("job", JobState.TRANSFERRING, DriveState.FAULTED)], 1)
