"""What a transfer waits for: the rule."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.transfer.bottleneck import (
    AHEAD_BY,
    FEWEST,
    KEPT_FROM,
    WINDOW,
    Bottleneck,
    Limit,
    Look,
    divided,
    shared_out,
)
from agent.transfer.processors import Demand, Wanted, used_by, wanted_by

C = 16
DRIVE = Look(fills=8, requests=0, connections=C)
NETWORK = Look(fills=0, requests=C, connections=C, travelling=14, awaiting=2)
SERVICE = Look(fills=0, requests=C, connections=C, travelling=1, awaiting=15)
WRITING = Look(fills=0, requests=C, connections=C, computing=14, awaiting=2)
IDLE = Look(fills=0, requests=0, connections=C)


def _after(*looks: Look) -> Limit | None:
    bottleneck = Bottleneck()
    for look in looks:
        bottleneck.take(look)
    return bottleneck.named


@pytest.mark.parametrize(
    ("look", "named"),
    [
        (DRIVE, Limit.DRIVE),
        (NETWORK, Limit.NETWORK),
        (SERVICE, Limit.SERVICE),
        (WRITING, Limit.CPU),
        (DRIVE._replace(is_reader_computing=True), Limit.CPU),
        (NETWORK._replace(is_cpu_short=True), Limit.CPU),
        (NETWORK._replace(held=Limit.CAP), Limit.CAP),
        (DRIVE._replace(held=Limit.SERVICE), Limit.SERVICE),
        # What few bytes a full ring waits for is not what holds it up.
        (NETWORK._replace(fills=3), Limit.NETWORK),
        # Blocks so large that only two fit the ring: the reader has nothing to do.
        (Look(fills=0, requests=2, connections=C, travelling=2), Limit.NETWORK),
        # A store that does not tell where its requests stand.
        (Look(fills=0, requests=C, connections=C), Limit.SERVICE),
        (IDLE, None),
    ],
)
def test_what_all_looks_show_is_named(look: Look, named: Limit | None) -> None:
    assert _after(*[look] * WINDOW) is named


def test_nothing_is_named_of_a_moment() -> None:
    assert _after(*[DRIVE] * (FEWEST - 1)) is None
    assert _after(*[DRIVE] * FEWEST) is Limit.DRIVE


def test_a_transfer_that_is_idle_most_of_the_time_is_limited_by_nothing() -> None:
    assert _after(*[DRIVE, IDLE, IDLE, IDLE] * WINDOW) is None
    assert _after(*[DRIVE] * WINDOW, *[IDLE] * WINDOW) is None


def test_small_requests_that_are_all_sent_count_as_on_the_line_for_their_round_trip() -> None:
    # 500 answers a second, 20 ms there and back: ten requests are always on the line.
    assert divided(0, 0, 12, 500 * 0.020) == (0, 10, 2)
    assert divided(0, 6, 6, 500 * 0.020) == (0, 10, 2)
    assert divided(0, 12, 0, 500 * 0.020) == (0, 12, 0)
    assert divided(3, 0, 4, 1e9) == (3, 4, 0)


def _names_in_turn(looks: list[Look]) -> list[Limit | None]:
    bottleneck, names = Bottleneck(), list[Limit | None]()
    for look in looks:
        bottleneck.take(look)
        if not names or names[-1] is not bottleneck.named:
            names.append(bottleneck.named)
    return names


@pytest.mark.parametrize("run", [1, 3, 10])
def test_between_two_that_hold_it_up_in_turn_the_name_does_not_flap(run: int) -> None:
    names = _names_in_turn(([DRIVE] * run + [NETWORK] * run) * (20 * WINDOW // run))
    assert len(names) <= 2


def test_a_lasting_change_is_named_within_a_window() -> None:
    bottleneck = Bottleneck()
    for look in [*[DRIVE] * WINDOW, *[NETWORK] * (WINDOW * 3 // 4)]:
        bottleneck.take(look)
    assert bottleneck.named is Limit.NETWORK


_LOOKS = st.builds(
    Look,
    fills=st.integers(0, 200),
    requests=st.integers(0, 32),
    connections=st.integers(1, 32),
    computing=st.floats(0, 32),
    travelling=st.floats(0, 32),
    awaiting=st.floats(0, 32),
    held=st.none() | st.sampled_from(Limit),
    is_reader_computing=st.booleans(),
    is_cpu_short=st.booleans(),
)


@given(_LOOKS)
def test_a_look_is_shared_out_whole_or_not_at_all(look: Look) -> None:
    parts = shared_out(look)
    assert all(part >= 0 for part in parts.values())
    is_busy = look.held is not None or look.fills or look.requests
    assert sum(parts.values()) == (pytest.approx(1.0) if is_busy else 0)


@given(st.lists(_LOOKS, max_size=3 * WINDOW))
def test_what_is_named_had_a_quarter_of_the_window_and_nobody_is_far_ahead_of_it(looks: list[Look]) -> None:
    bottleneck = Bottleneck()
    for look in looks:
        bottleneck.take(look)
        if bottleneck.named is not None:
            share = bottleneck.shares[bottleneck.named]
            assert share >= KEPT_FROM
            assert max(bottleneck.shares.values()) < share + AHEAD_BY


def _measured(*readings: Wanted) -> Demand:
    left = list(readings)
    demand = Demand(1, lambda pid: left.pop(0))
    assert not demand.is_known
    for second in range(len(readings)):
        demand.measure(float(second))
    return demand


def test_demand_is_of_the_time_between_and_threads_come_and_go() -> None:
    demand = _measured({1: 10**9, 2: 5 * 10**9}, {1: 19 * 10**8, 3: 3 * 10**8})
    assert demand.of(1) == pytest.approx(0.9)
    assert demand.of(2) == 0
    assert demand.cores == pytest.approx(1.2)
    assert demand.is_known
    assert not _measured({1: 10**9}).is_known
    assert _measured({1: 10**9}).cores == 0
    assert _measured({}, {}).cores == 0


def _spin(is_over: Callable[[], bool]) -> None:
    while not is_over():
        pass


def test_a_thread_that_computes_wants_a_core_and_one_that_sleeps_wants_none() -> None:
    over, asleep = threading.Event(), threading.Event()
    spinning = threading.Thread(target=_spin, args=(over.is_set,))
    sleeping = threading.Thread(target=asleep.wait)
    spinning.start()
    sleeping.start()
    try:
        before = wanted_by(os.getpid())
        while wanted_by(os.getpid())[spinning.native_id or 0] - before[spinning.native_id or 0] < 2 * 10**8:
            pass
        after = wanted_by(os.getpid())
    finally:
        over.set()
        asleep.set()
        spinning.join()
        sleeping.join()
    assert after[sleeping.native_id or 0] - before[sleeping.native_id or 0] < 10**8


def test_of_a_process_that_is_not_to_be_seen_its_cpu_time_is_known() -> None:
    before = time.process_time_ns()
    (used,) = used_by(os.getpid()).values()
    assert before <= used <= time.process_time_ns()


def test_of_a_process_that_is_gone_nothing_is_known() -> None:
    assert wanted_by(2**22 + 1) == {}
