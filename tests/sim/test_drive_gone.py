"""The drive, or the process that reads it, is gone at each moment: one event, and the place is kept."""

from __future__ import annotations

import dataclasses

import pytest

from tests.sim.checks import chosen, told, wrong_at_the_end, wrong_on_the_way
from tests.sim.drive import SimDrive
from tests.sim.world import Run, Weather, World, run_drive

POINTS = 10


@pytest.mark.parametrize(
    ("moment", "error"),
    [
        ("pulled_at", "DeviceUnavailable"),
        ("reader_dies_at", "WorkerLost"),
        ("reader_breaks_at", "WorkerLost"),
    ],
)
@pytest.mark.parametrize("is_journal_kept", [True, False], ids=["its journal", "the journal lost"])
def test_a_drive_or_a_reader_that_is_gone_is_one_event_and_nothing_is_lost(
    sim: SimDrive, world: World, undisturbed: Run, moment: str, error: str, is_journal_kept: bool
) -> None:
    received, sent = undisturbed.messages
    count = {"pulled_at": undisturbed.reads, "reader_dies_at": received, "reader_breaks_at": sent}[moment]
    wrong = {}
    for number in chosen(range(count), POINTS):
        run = run_drive(sim, world, dataclasses.replace(Weather(6), **{moment: number}))
        found = list(wrong_on_the_way(sim, run))
        last = run.told.last
        if (last["event"], last.get("error")) != ("paused", error) and last["event"] != "finished":
            found.append(f"it ended with {last}")
        if run.told.named("paused") and not is_journal_kept:
            found += wrong_at_the_end(sim, run_drive(sim, World(run.after.store)), undisturbed)
        elif run.told.named("paused"):
            found += wrong_at_the_end(sim, run_drive(sim, run.after), undisturbed)
        else:
            found += wrong_at_the_end(sim, run, undisturbed)
        wrong[number] = found
    assert told(wrong) == ""
