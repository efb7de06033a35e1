"""Names and places of logs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from agent.formats.lognames import LogPlace, ReportKind, log_blob_name, log_place
from agent.model.identity import ContainerName, JobName, SerialNumber

JOB = JobName.parse("test-bn1-import-cpu100-02")
STAMP = datetime(2017, 8, 13, 19, 46, 18, 350_999, tzinfo=UTC)


@pytest.mark.parametrize("kind", ["error", "verbose", "manifest"])
def test_a_log_is_named_as_in_the_published_examples(kind: str) -> None:
    name = log_blob_name(JOB, SerialNumber.parse("KV6H86XP"), STAMP, ReportKind(kind))
    assert name == f"waies/test-bn1-import-cpu100-02_KV6H86XP_20170813-194618-350_{kind}.xml"


def test_the_stamp_is_written_in_utc() -> None:
    local = STAMP.astimezone(timezone(timedelta(hours=9)))
    serial = SerialNumber.parse("S1")
    assert log_blob_name(JOB, serial, local, ReportKind.ERROR) == log_blob_name(
        JOB, serial, STAMP, ReportKind.ERROR
    )
    with pytest.raises(ValueError, match="time zone"):
        log_blob_name(JOB, serial, STAMP.replace(tzinfo=None), ReportKind.ERROR)


def test_a_serial_cannot_lead_out_of_the_folder() -> None:
    name = log_blob_name(JOB, SerialNumber.parse("../../A B\\"), STAMP, ReportKind.ERROR)
    assert name.count("/") == 1
    assert "\\" not in name


@pytest.mark.parametrize(
    ("diagnostics", "only", "container", "folder"),
    [
        ("waimportexport", None, "waimportexport", ""),
        ("my-logs", None, "my-logs", ""),
        ("waimportexport", "one-box", "one-box", "waimportexport/"),
        ("my-logs", "one-box", "one-box", "waimportexport/my-logs/"),
        ("one-box", "one-box", "one-box", ""),
    ],
)
def test_logs_go_into_the_one_container_that_a_credential_is_for(
    diagnostics: str, only: str | None, container: str, folder: str
) -> None:
    found = log_place(ContainerName(diagnostics), None if only is None else ContainerName(only))
    assert found == LogPlace(ContainerName(container), folder)
