"""A process that ends without a word, at every moment that leaves another world behind.

One run gives all moments: whatever changes in the store or in the journal makes a new one, so between
two of them it does not matter where the kill strikes. From each the transfer must end as if nothing had
happened: with its journal, and with the journal lost; and whatever becomes of the requests that had left
and had not arrived.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from itertools import product

import pytest

from agent.model.treatment import Treatment
from agent.model.verification import Depth, Verification
from tests.sim.checks import (
    checkpointed,
    chosen,
    every_point,
    sent_again,
    told,
    wrong_at_the_end,
    wrong_in_the_store,
)
from tests.sim.drive import SimDrive, sim_drive, sim_volume
from tests.sim.store import NEVER
from tests.sim.world import Run, Weather, World, new_world, run_drive

ARRIVALS = (NEVER, 0, 12)
"""After so many calls of the next life the requests of the one before arrive."""
SEEDS = range(1, 4) if every_point() else (1,)
POINTS = 15


def test_a_run_is_the_same_each_time(sim: SimDrive, world: World, undisturbed: Run) -> None:
    again = run_drive(sim, world)
    assert [call.operation for call in again.calls] == [call.operation for call in undisturbed.calls]
    assert [call.subject for call in again.calls[:-2]] == [call.subject for call in undisturbed.calls[:-2]]
    assert list(wrong_at_the_end(sim, again, undisturbed)) == []


AS_ASKED: dict[str, object] = {}
READ_BACK = {"treatment": Treatment(Verification(Depth.READBACK), content_md5=True, sha256=True)}


@pytest.mark.parametrize("is_journal_kept", [True, False], ids=["its journal", "the journal lost"])
@pytest.mark.parametrize(
    ("drive", "change"),
    [(sim_drive, AS_ASKED), (sim_volume, AS_ASKED), (sim_volume, READ_BACK)],
    ids=["a manifest", "a whole volume", "read back"],
)
def test_a_kill_at_any_moment_loses_nothing_and_sends_little_again(
    drive: Callable[[], SimDrive], change: dict[str, object], is_journal_kept: bool
) -> None:
    sim = drive()
    world = new_world(sim)
    undisturbed = run_drive(sim, world, **change)
    moments = [
        (seed, number, moment)
        for seed in SEEDS
        for number, moment in enumerate(run_drive(sim, world, _kept(seed), **change).moments)
    ]
    wrong = {}
    for (seed, number, moment), arrival in chosen(list(product(moments, ARRIVALS)), POINTS):
        found = list(wrong_in_the_store(sim, moment))
        left = moment if is_journal_kept else dataclasses.replace(moment, journal={})
        weather = Weather(seed + 100, late=(moment.travelling, arrival))
        run = run_drive(sim, left, weather, **change)
        found += wrong_at_the_end(sim, run, undisturbed)
        if arrival == NEVER:
            found += sent_again(sim, moment, run, is_journal_kept=is_journal_kept)
        wrong[seed, number, arrival] = found
    assert told(wrong) == ""


def _kept(seed: int) -> Weather:
    return Weather(seed, keeps_moments=True)


@pytest.mark.parametrize("harm", ["cut", "blank", "torn"])
def test_a_journal_that_is_damaged_is_set_aside_and_nothing_is_lost(
    sim: SimDrive, world: World, undisturbed: Run, harm: str
) -> None:
    moments = run_drive(sim, world, _kept(1)).moments
    moment = moments[len(moments) * 2 // 3]
    wrong = {}
    for number, journal in enumerate(chosen(list(_damaged(moment, harm)), 12)):
        run = run_drive(sim, World(moment.store, journal))
        if run.told.last.get("error") == "StateUnusable":
            run = run_drive(sim, run.after)
        wrong[number] = list(wrong_at_the_end(sim, run, undisturbed))
    assert told(wrong) == ""


def _damaged(moment: World, harm: str) -> Iterator[dict[str, bytes]]:
    """A write-ahead log that breaks off (torn), and database files cut off or with a blank page."""
    if harm == "torn":
        main, log = (moment.journal[name] for name in ("journal.sqlite", "journal.sqlite-wal"))
        for end in range(0, len(log), 3000):
            yield {"journal.sqlite": main, "journal.sqlite-wal": log[:end]}
        return
    whole = checkpointed(moment)
    for page in range(0, len(whole), 4096):
        rest = b"" if harm == "cut" else bytes(4096) + whole[page + 4096 :]
        yield {"journal.sqlite": whole[:page] + rest}
