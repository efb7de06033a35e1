"""A process that ends without a word, at every moment that leaves another world behind.

One run gives all moments: whatever changes in the store or in the journal makes a new one, so between
two of them it does not matter where the kill strikes. From each the transfer must end as if nothing had
happened: with its journal, and with the journal lost; and whatever becomes of the requests that had left
and had not arrived.
"""

from __future__ import annotations

import dataclasses
from itertools import product

import pytest

from tests.sim.checks import chosen, sent_again, told, wrong_at_the_end, wrong_in_the_store
from tests.sim.drive import SimDrive
from tests.sim.world import Run, Weather, World, run_drive

NEVER = 1_000_000
ARRIVALS = (NEVER, 0, 12)
"""After so many calls of the next life the requests of the one before arrive."""
SEEDS = range(1, 9)
POINTS = 40


def test_a_run_is_the_same_each_time(sim: SimDrive, world: World, undisturbed: Run) -> None:
    again = run_drive(sim, world)
    assert [call.operation for call in again.calls] == [call.operation for call in undisturbed.calls]
    assert [call.subject for call in again.calls[:-2]] == [call.subject for call in undisturbed.calls[:-2]]
    assert list(wrong_at_the_end(sim, again, undisturbed)) == []


@pytest.mark.parametrize("is_journal_kept", [True, False], ids=["its journal", "the journal lost"])
def test_a_kill_at_any_moment_loses_nothing_and_sends_little_again(
    sim: SimDrive, world: World, undisturbed: Run, is_journal_kept: bool
) -> None:
    moments = [
        (seed, number, moment)
        for seed in SEEDS
        for number, moment in enumerate(run_drive(sim, world, Weather(seed, keeps_moments=True)).moments)
    ]
    wrong = {}
    for (seed, number, moment), arrival in chosen(list(product(moments, ARRIVALS)), POINTS):
        found = list(wrong_in_the_store(sim, moment))
        left = moment if is_journal_kept else dataclasses.replace(moment, journal={})
        weather = Weather(seed + 100, late=(moment.travelling, arrival))
        run = run_drive(sim, left, weather)
        found += wrong_at_the_end(sim, run, undisturbed)
        if arrival == NEVER:
            found += sent_again(sim, moment, run, is_journal_kept=is_journal_kept)
        wrong[seed, number, arrival] = found
    assert told(wrong) == ""
