"""Rows are put in order outside of memory, and pieces read ahead keep theirs."""

from __future__ import annotations

import io
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cli.volume_ahead import AHEAD, Buffers, Here, ahead
from agent.cli.volume_lines import iso_time
from agent.cli.volume_sort import READ_BYTES, Sorter
from agent.errors import StateUnusable

rows = st.lists(st.tuples(st.integers(0, 2**64 - 1) | st.integers(0, 3), st.binary(max_size=40)))


@given(rows, st.integers(1, 2000))
def test_rows_come_back_by_rank_and_equal_ranks_as_they_came(
    given_rows: list[tuple[int, bytes]], run_bytes: int
) -> None:
    sorter = Sorter(io.BytesIO(), run_bytes)
    for rank, row in given_rows:
        sorter.add(rank, row)
    assert list(sorter) == sorted(given_rows, key=lambda each: each[0])


def test_rows_larger_than_a_read_survive_a_file() -> None:
    with tempfile.TemporaryFile() as scratch:
        sorter = Sorter(scratch, READ_BYTES)
        sizes = [3 * READ_BYTES, 1, READ_BYTES, 0, READ_BYTES - 12, 7 * READ_BYTES + 5]
        for number, size in enumerate(sizes):
            sorter.add(len(sizes) - number, bytes([number]) * size)
        assert [len(row) for _, row in sorter] == sizes[::-1]
        assert scratch.seek(0, 2) > sum(sizes)


def test_a_full_scratch_file_is_the_stations_trouble() -> None:
    with open("/dev/full", "r+b", buffering=0) as scratch:
        sorter = Sorter(scratch, 100)
        with pytest.raises(StateUnusable, match="No space left"):
            sorter.add(1, bytes(1000))


def test_results_come_in_order_and_only_so_many_are_made_ahead() -> None:
    made: list[int] = []
    gate = threading.Event()

    def jobs() -> Iterator[Callable[[], int]]:
        for number in range(100):
            made.append(number)
            yield lambda number=number: (number % 2 == 0 and gate.wait(0.001), number)[1]  # type: ignore[misc]

    for taken, result in enumerate(ahead(jobs())):
        assert result == taken
        assert len(made) <= taken + AHEAD + 1
    assert len(made) == 100


def test_what_a_job_raises_comes_in_its_place_and_ends_the_rest() -> None:
    def fail() -> int:
        raise ValueError("third")

    results = ahead(iter([lambda: 1, lambda: 2, fail, lambda: 4]))
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(ValueError, match="third"):
        next(results)


def test_a_buffer_is_not_given_out_while_its_result_is_alive() -> None:
    buffers = Buffers(4096)
    given_out = [buffers.take() for _ in range(AHEAD + 1)]
    for number, buffer in enumerate(given_out):
        buffer[:] = bytes([number]) * 4096
    assert [buffer[0] for buffer in given_out] == list(range(AHEAD + 1))


@pytest.mark.parametrize(
    ("filetime", "shown"),
    [
        (0, "1601-01-01T00:00:00.0000000Z"),
        (133_515_072_001_234_567, "2024-02-04T08:00:00.1234567Z"),
        (2_650_467_743_999_999_999, "9999-12-31T23:59:59.9999999Z"),
        (2_650_467_744_000_000_000, None),
        (2**64 - 1, None),
    ],
)
def test_times_keep_all_their_decimals(filetime: int, shown: str | None) -> None:
    assert iso_time(filetime) == shown


def test_a_job_that_is_done_here_is_done_in_its_turn_and_by_the_caller() -> None:
    done: list[tuple[int, str]] = []

    def job(number: int) -> int:
        done.append((number, threading.current_thread().name))
        return number

    own = threading.current_thread().name
    jobs = (Here(partial(job, n)) if n % 3 else partial(job, n) for n in range(30))
    for taken, result in enumerate(ahead(jobs)):
        assert result == taken
        assert max(number for number, by in done if by == own or number == taken) == taken
    assert sorted(number for number, _ in done) == list(range(30))
    assert all((by == own) == bool(number % 3) for number, by in done)


def test_what_a_job_that_is_done_here_raises_comes_in_its_place() -> None:
    def fail() -> int:
        raise ValueError("third")

    results = ahead(iter([lambda: 1, Here(lambda: 2), Here(fail), lambda: 4]))
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(ValueError, match="third"):
        next(results)
