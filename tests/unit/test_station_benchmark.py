"""What `ingest-agent bench` makes of its figures, and how it reads a drive."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from agent.errors import UnreadableSectors
from agent.model.identity import JobName, SerialNumber
from agent.station.benchmark.advice import TYPICAL_BYTES_PER_S, advise, cpu_bytes_per_s
from agent.station.benchmark.cpu_worker import METHODS, STEPS, work
from agent.station.benchmark.figures import (
    AccountFigures,
    CpuFigures,
    DriveFigures,
    DrivesFigures,
    Reading,
    Round,
    Speed,
    Work,
)
from agent.station.benchmark.occupied import is_worked, worked_drives
from agent.station.benchmark.reading import a_little_apart, in_a_row, read_for
from agent.station.places import journal_of
from agent.transfer.bottleneck import Limit
from agent.transfer.journal import Journal
from agent.volume.bitlocker.ciphers import cipher_name
from agent.volume.block import BytesSource
from tests.kit.faults import FaultySource

MB = 1_000_000
FAST = CpuFigures(4, {each: Speed(1000.0 * MB, 4000.0 * MB) for each in Work})


def _drive(first: float, last: float) -> DriveFigures:
    """Speeds in MB/s."""
    readings = [Reading(int(rate * MB), 100, 1.0) for rate in (first, last)]
    return DriveFigures("S", "1", 10**12, True, *readings, Reading(MB, 16, 1.0))


def _drives(*speeds: float, together: float | None = None) -> DrivesFigures:
    return DrivesFigures(
        tuple(_drive(rate, rate) for rate in speeds), together * MB if together is not None else None
    )


def _account(*rates: float, by: str | None = "network", cpu_s: float = 0.0) -> AccountFigures:
    rounds = tuple(Round(16 * (n + 1), int(rate * MB), 1.0, cpu_s, by) for n, rate in enumerate(rates))
    return AccountFigures("https://x.blob.core.windows.net", True, rounds)


def test_a_full_drive_takes_the_sum_of_the_times_of_its_halves() -> None:
    assert _drive(200, 100).bytes_per_s == pytest.approx(133.33 * MB, rel=0.001)


def test_a_line_for_three_drives_is_given_three() -> None:
    advice = advise(_drives(200, 200), FAST, _account(300, 610))
    assert (advice.drives, advice.limit, advice.of_one) == (3, Limit.NETWORK, Limit.DRIVE)


def test_a_line_slower_than_a_drive_still_has_one() -> None:
    advice = advise(_drives(200), FAST, _account(50, by="service"))
    assert (advice.drives, advice.limit, advice.of_one) == (1, Limit.SERVICE, Limit.SERVICE)


def test_processors_carry_what_the_sum_of_their_work_leaves() -> None:
    # Decryption, CRC-64 and TLS at 4,000 MB/s each.
    assert cpu_bytes_per_s(FAST, _drives(), None) == pytest.approx(4000 / 3 * MB)
    advice = advise(_drives(200), FAST, _account(100_000))
    assert (advice.limit, advice.drives) == (Limit.CPU, 7)
    assert advice.with_hashes == 5


def test_what_sending_cost_on_the_way_to_the_account_counts_before_what_it_cost_here() -> None:
    # Two core-seconds for a gigabyte of it, on four cores.
    account = _account(1000, cpu_s=2.0)
    assert cpu_bytes_per_s(FAST, _drives(), account) == pytest.approx(1 / (0.25 + 0.5) * 1000 * MB)


def test_a_controller_that_gives_less_than_its_drives_is_named() -> None:
    advice = advise(_drives(200, 200, 200, 200, together=410), FAST, _account(1000))
    assert (advice.limit, advice.drives) == (Limit.DRIVE, 2)
    assert advise(_drives(200, 200, together=395), FAST, _account(1000)).limit is Limit.NETWORK


def test_what_was_not_measured_is_not_made_up() -> None:
    advice = advise(DrivesFigures(), CpuFigures(4), None)
    assert (advice.drives, advice.limit, advice.of_one) == (None, None, None)
    assert not advice.is_drive_measured
    assert advice.drive_bytes_per_s == TYPICAL_BYTES_PER_S
    assert advise(DrivesFigures(), FAST, None).drives == 7


def test_long_reads_take_a_drive_from_end_to_end() -> None:
    places = list(in_a_row(0, 3 * (1 << 20) + 5))
    assert [sum(length for _, length in places), places[-1]] == [3 * (1 << 20) + 5, (3 << 20, 5)]


def test_short_reads_ascend_and_stay_inside() -> None:
    places = list(a_little_apart(1 << 20, 100 << 20))
    assert len(places) > 50
    assert all(a + length <= b for (a, length), (b, _) in pairwise(places))
    assert places[-1][0] + places[-1][1] <= 100 << 20


class _Ticking:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.25
        return self.now


def test_reading_ends_with_its_time() -> None:
    source = BytesSource(bytes(8 << 20))
    found = read_for(source, in_a_row(0, 8 << 20), 1.0, lambda: True, _Ticking())
    assert (found.bytes, found.reads, found.seconds) == (4 << 20, 4, 1.25)


def test_reading_ends_when_it_is_not_wanted() -> None:
    wishes: Iterator[bool] = iter([True, False])
    found = read_for(BytesSource(bytes(8 << 20)), in_a_row(0, 8 << 20), 60.0, lambda: next(wishes))
    assert (found.bytes, found.reads) == (2 << 20, 2)


def test_a_bad_sector_is_an_error_of_the_drive() -> None:
    source = FaultySource(BytesSource(bytes(2 << 20)), "E", start=1 << 20)
    with pytest.raises(UnreadableSectors):
        read_for(source, in_a_row(0, 2 << 20), 60.0, lambda: True)


def test_ciphers_are_measured_under_their_own_names() -> None:
    assert {str(work): cipher_name(method) for work, method in METHODS.items()} == {
        str(work): str(work) for work in METHODS
    }
    assert {*STEPS, Work.TLS} == set(Work)


@pytest.mark.parametrize("kind", Work)
def test_each_kind_of_work_is_done_and_costs_time(kind: Work) -> None:
    done = work(kind, 0.01)
    assert done["bytes"] >= 4 << 20
    assert done["bytes"] % (4 << 20) == 0
    assert done["cpu_s"] > 0


def test_a_drive_is_seen_to_be_worked_while_its_journal_is_open(tmp_path: Path) -> None:
    serial, other = SerialNumber.parse("Z[1]*"), SerialNumber.parse("Z1")
    path = journal_of(tmp_path, JobName.parse("box-7"), serial)
    assert not is_worked(tmp_path, serial)
    path.parent.mkdir(parents=True)
    journal = Journal(path, {"job": "box-7"})
    assert (is_worked(tmp_path, serial), is_worked(tmp_path, other), worked_drives(tmp_path)) == (
        True,
        False,
        1,
    )
    journal.close()
    assert (is_worked(tmp_path, serial), worked_drives(tmp_path)) == (False, 0)
