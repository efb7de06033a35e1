"""The rules by which the drives of an account share it, for whatever happens."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.transfer.aimd import LONGEST_RETRY_AFTER_S, Needs, settle, shares
from agent.transfer.board import Board, Rows
from agent.transfer.limiter import Limiter
from tests.kit import clock
from tests.unit.test_limiter import Drive, Service

CEILING = 16
_WANTED = st.lists(st.integers(0, 64), min_size=1, max_size=10)


@given(st.integers(0, 200), _WANTED)
def test_all_of_the_limit_is_given_out_and_nobody_is_left_without(limit: int, wanted: list[int]) -> None:
    given_out = shares(limit, wanted)
    assert sum(given_out) == max(limit, len(wanted))
    assert min(given_out) >= 1


@given(st.integers(0, 200), _WANTED)
def test_who_wants_more_gets_no_less_and_who_wants_the_same_gets_the_same_but_for_what_is_left_over(
    limit: int, wanted: list[int]
) -> None:
    pairs = sorted(zip(wanted, shares(limit, wanted), strict=True))
    for (less, its), (more, others) in pairwise(pairs):
        assert others >= its or (less == more and its - others <= max(1, limit - sum(wanted)))
    # Who is given less than it wants is given no less, but for a remainder, than anybody else's need.
    short = [got for want, got in pairs if got < want]
    if short:
        assert max(got for want, got in pairs if got <= max(1, want)) - min(short) <= 1


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, CEILING),
        st.integers(0, 40),
        st.integers(0, CEILING),
        st.booleans(),
        st.floats(0, 500),
        st.floats(0.01, 2),
    ),
    max_size=80,
)


@given(_STEPS)
def test_whatever_drives_tell_the_limit_stays_within_bounds_and_no_pause_is_cut_short(
    steps: list[tuple[str, int, int, int, bool, float, float]],
) -> None:
    rows: Rows = {}
    now, shut_until = 1000.0, 0.0
    for drive, under_way, waiting, answered, is_refused, retry_after_s, passed_s in steps:
        now += passed_s
        asked = retry_after_s if is_refused else 0.0
        needs = Needs(under_way, waiting, CEILING, answered, now - 0.01 if is_refused else None, asked)
        share = settle(rows, "acct", drive, needs, now)
        assert 1 <= share.requests <= CEILING
        assert 0 <= share.limit <= 3 * CEILING
        assert share.gap_s >= 0
        assert shut_until <= share.shut_until <= max(shut_until, now + LONGEST_RETRY_AFTER_S)
        if asked:
            assert share.shut_until >= now + min(asked, LONGEST_RETRY_AFTER_S)
        shut_until = share.shut_until


@given(_STEPS)
def test_a_pause_that_one_drive_was_asked_for_is_heard_by_all(
    steps: list[tuple[str, int, int, int, bool, float, float]],
) -> None:
    rows: Rows = {}
    now = 1000.0
    for drive, under_way, waiting, answered, _, retry_after_s, passed_s in steps:
        now += passed_s
        told = settle(
            rows, "acct", drive, Needs(under_way, waiting, CEILING, answered, now, retry_after_s), now
        )
        for other in ("a", "b", "c", "new"):
            assert settle(rows, "acct", other, Needs(0, 1, CEILING), now).shut_until == told.shut_until
        assert settle(rows, "another", "a", Needs(0, 1, CEILING), now).shut_until == 0


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    rate=st.integers(10, 400),
    streams=st.integers(2, CEILING),
    late_s=st.integers(0, 30),
    seed=st.integers(0, 99),
)
def test_two_greedy_drives_get_the_same_whatever_the_account_bears_and_whoever_was_first(
    tmp_path: Path, rate: int, streams: int, late_s: int, seed: int
) -> None:
    board = tmp_path / f"{rate}-{streams}-{late_s}-{seed}.json"

    async def scene() -> None:
        service = Service(rate=rate)
        first = Drive("first", service, Board(board), streams)
        await asyncio.sleep(late_s)
        second = Drive("second", service, Board(board), streams)
        await asyncio.sleep(20)
        service.accepted.clear()
        await asyncio.sleep(60)
        fewer, more = sorted(service.accepted[name] for name in ("first", "second"))
        assert more <= 1.35 * fewer
        for drive in (first, second):
            await drive.kill()

    random.seed(seed)
    clock.run(scene())


OTHER_PROCESS = """
import asyncio, sys
from pathlib import Path
from agent.transfer.board import Board
from agent.transfer.limiter import Limiter
async def main():
    limiter = Limiter(Board(Path(sys.argv[1])), "acct", "other", 4, asyncio.Event())
    while True:
        begun = await limiter.enter()
        print(begun, flush=True)
        await asyncio.sleep(0.02)
        limiter.leave(begun)
asyncio.run(main())
"""
PAUSE_S = 5.0


async def test_a_pause_that_one_process_was_asked_for_holds_up_another(tmp_path: Path) -> None:
    path = tmp_path / "pace.json"
    limiter = Limiter(Board(path), "acct", "this", 4, asyncio.Event())
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OTHER_PROCESS, str(path), stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert other.stdout is not None
    try:
        for _ in range(20):
            assert await other.stdout.readline()
        limiter.leave(await limiter.enter(), refused=True, retry_after_s=PAUSE_S)
        said = time.monotonic()
        begun = [float(await other.stdout.readline())]
        while begun[-1] < said + PAUSE_S - 0.1:
            begun.append(float(await other.stdout.readline()))
    finally:
        other.kill()
        await other.wait()
        limiter.close()
    # It hears of it within a beat; another one is for a turn at the board that was this process's.
    assert [at for at in begun if said + 2.2 < at < said + PAUSE_S - 0.1] == []
