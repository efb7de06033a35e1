"""Names and places of logs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from agent.errors import MalformedInput
from agent.formats.lognames import ReportKind, log_blob_name, log_place
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
    assert str(log_place("").blob(name)) == f"waimportexport/{name}"


@pytest.mark.parametrize(
    ("path", "sas", "place"),
    [
        ("", None, "waimportexport/x"),
        ("logs", None, "logs/x"),
        ("logs/2024/", None, "logs/2024/x"),
        ("", "photos", "photos/waimportexport/x"),
        ("logs", "photos", "photos/logs/x"),
    ],
)
def test_the_place_follows_credential_and_path(path: str, sas: str | None, place: str) -> None:
    found = log_place(path, None if sas is None else ContainerName.parse(sas))
    assert str(found.blob("x")) == place


def test_a_container_that_cannot_be_is_refused() -> None:
    with pytest.raises(MalformedInput):
        log_place("Logs And More")
