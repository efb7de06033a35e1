"""Values of the domain cannot hold what does not fit."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import MalformedInput
from agent.model.codes import Disposition, LogLevel
from agent.model.identity import ContainerName, JobName, SerialNumber
from agent.model.job import DEFAULT_DIAGNOSTICS, Destination, Drive, DriveSpec, Job, JobSpec
from agent.model.keys import Password
from agent.model.secrets import Secret
from agent.model.states import JobState
from agent.model.tally import Count, Tally

KEY = Password(Secret("pw"))
PLACE = Destination.parse("data")
NOON = datetime(2024, 2, 3, 12, tzinfo=UTC)


def drive(serial: str = "S1", **values: object) -> DriveSpec:
    return DriveSpec(SerialNumber.parse(serial), KEY, **values)  # type: ignore[arg-type]


def job(*drives: Drive) -> Job:
    return Job(
        name=JobName("ship-1"),
        state=JobState.TRANSFERRING,
        drives=drives,
        destination=PLACE,
        disposition=Disposition.NO_OVERWRITE,
        diagnostics=DEFAULT_DIAGNOSTICS,
        log_level=LogLevel.ERROR,
        backup_manifest=False,
        allow_unencrypted=False,
        cancel_requested=False,
        created=NOON,
        updated=NOON,
    )


def part(serial: str, percent: int, done: int, discovered: int) -> Drive:
    books = Tally(discovered=Count(1, discovered), done=Count(0, done))
    return Drive(SerialNumber.parse(serial), percent_complete=percent, tally=books)


@pytest.mark.parametrize("text", ["ab", "a-", "job-2024-02", "a" * 64])
def test_job_name_that_the_portal_takes_is_taken(text: str) -> None:
    assert str(JobName.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "a", "1a", "-a", "Job", "a_b", "a b", "a" * 65, "ab\n", "äb", "a\u0661"]
)
def test_job_name_that_the_portal_refuses_is_refused(text: str) -> None:
    with pytest.raises(MalformedInput, match="job name"):
        JobName.parse(text)


@pytest.mark.parametrize("text", ["abc", "$root", "a-b", "0-0", "a" * 63])
def test_container_that_the_service_takes_is_taken(text: str) -> None:
    assert str(ContainerName.parse(text)) == text


@pytest.mark.parametrize("text", ["", "ab", "a--b", "-ab", "ab-", "Abc", "a" * 64, "abc\n", "$web/..", "a.b"])
def test_container_that_the_service_refuses_is_refused(text: str) -> None:
    with pytest.raises(MalformedInput, match="container name"):
        ContainerName.parse(text)


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=64), st.data())
def test_serials_are_equal_without_their_blanks(text: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(text)))
    blank = data.draw(st.sampled_from([" ", "  ", "\t"]))
    one, other = SerialNumber.parse(text), SerialNumber.parse(f" {text[:cut]}{blank}{text[cut:]} ")
    assert one == other
    assert hash(one) == hash(other)
    assert one.normal == other.normal == text


@pytest.mark.parametrize("text", ["", "  ", "x" * 65, "S\x00", "Sé", "S\x7f", "S\x1b[2J"])
def test_serial_that_no_drive_has_is_refused(text: str) -> None:
    with pytest.raises(MalformedInput, match="serial number"):
        SerialNumber.parse(text)


def test_serial_is_shown_as_it_was_read() -> None:
    assert str(SerialNumber.parse("  WD WX41 ")) == "WD WX41"


@pytest.mark.parametrize("text", ["data", "data/", "data/2024/box/"])
def test_destination_that_can_hold_a_volume_is_taken(text: str) -> None:
    assert str(Destination.parse(text)).rstrip("/") == text.rstrip("/")


@pytest.mark.parametrize(
    "text", ["$root", "$root/a", "data//", "data/a\\b", "data/../x/", "DATA", "data/a./b"]
)
def test_destination_that_cannot_hold_a_volume_is_refused(text: str) -> None:
    with pytest.raises(MalformedInput):
        Destination.parse(text)


def test_job_needs_one_to_ten_drives() -> None:
    for count in (0, 11):
        with pytest.raises(MalformedInput, match=f"1 to 10 drives, this one has {count}"):
            JobSpec(JobName("ship-1"), tuple(drive(f"S{n}") for n in range(count)), PLACE)
    assert len(JobSpec(JobName("ship-1"), tuple(drive(f"S{n}") for n in range(10)), PLACE).drives) == 10


def test_job_does_not_take_a_drive_twice_however_it_is_spaced() -> None:
    with pytest.raises(MalformedInput, match="twice"):
        JobSpec(JobName("ship-1"), (drive("S 1"), drive("S1")), PLACE)


def test_drive_without_manifest_needs_a_destination() -> None:
    with pytest.raises(MalformedInput, match="drive S1 has no manifest"):
        JobSpec(JobName("ship-1"), (drive(),))
    assert JobSpec(JobName("ship-1"), (drive(manifest_file="\\m.xml"),)).destination is None


def test_drive_without_key_needs_permission() -> None:
    bare = DriveSpec(SerialNumber.parse("S1"), None)
    with pytest.raises(MalformedInput, match="drive S1 has no BitLocker key"):
        JobSpec(JobName("ship-1"), (bare,), PLACE)
    assert JobSpec(JobName("ship-1"), (bare,), PLACE, allow_unencrypted=True).drives == (bare,)


@pytest.mark.parametrize("digits", ["", "0" * 31, "0" * 33, "g" * 32, "0" * 63])
def test_manifest_hash_is_md5_or_sha256_in_hex(digits: str) -> None:
    with pytest.raises(MalformedInput, match="manifestHash of drive S1"):
        JobSpec(JobName("ship-1"), (drive(manifest_file="\\m.xml", manifest_hash=digits),))


def test_job_is_as_far_as_the_bytes_of_its_drives() -> None:
    assert job(part("A", 50, 50, 100), part("B", 0, 0, 300)).percent_complete == 12
    assert job(part("A", 99, 99, 100), part("B", 100, 1, 1)).percent_complete == 99


def test_drive_that_has_not_told_how_much_is_on_it_counts_as_the_mean_of_the_others() -> None:
    assert job(part("A", 80, 80, 100), part("B", 0, 0, 0)).percent_complete == 40
    assert job(part("A", 90, 90, 100), part("B", 0, 0, 300), part("C", 0, 0, 0)).percent_complete == 15


def test_job_does_not_fall_back_when_another_drive_tells_how_much_is_on_it() -> None:
    before = job(part("A", 80, 80, 100), part("B", 0, 0, 0))
    after = replace(
        job(part("A", 80, 80, 100), part("B", 0, 0, 10**12)), percent_reached=before.percent_complete
    )
    assert before.percent_complete == after.percent_complete == 40


def test_job_is_not_at_100_before_all_its_drives_are() -> None:
    assert job(part("A", 100, 10**15, 10**15), part("B", 99, 999, 1000)).percent_complete == 99
    assert job(part("A", 100, 1, 1), part("B", 0, 0, 0)).percent_complete == 50
    assert job(part("A", 100, 1, 1), part("B", 100, 0, 0)).percent_complete == 100


def test_job_that_has_discovered_nothing_is_at_zero() -> None:
    assert job(part("A", 0, 0, 0)).percent_complete == 0


def test_job_finds_its_drive_by_serial() -> None:
    assert job(part("A", 5, 0, 0)).drive(SerialNumber.parse(" A ")).percent_complete == 5
    with pytest.raises(KeyError):
        job(part("A", 5, 0, 0)).drive(SerialNumber.parse("B"))


counts = st.builds(Count, st.integers(0, 10**6), st.integers(0, 10**15))


@given(counts, counts, counts)
def test_books_balance_exactly_when_everything_has_an_outcome(
    done: Count, failed: Count, skipped: Count
) -> None:
    whole = Count(done.files + failed.files + skipped.files, done.bytes + failed.bytes + skipped.bytes)
    assert Tally(whole, done, failed, skipped).balances
    assert not Tally(whole + Count(1, 0), done, failed, skipped).balances
    assert not Tally(whole + Count(0, 1), done, failed, skipped).balances
