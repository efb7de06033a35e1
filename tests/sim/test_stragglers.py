"""Requests that are cut early and sent again, while the first copy lives on somewhere."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import product

import pytest

from agent.blobs.faults import Call
from agent.transfer import haste
from tests.sim.checks import chosen, told, wrong_at_the_end
from tests.sim.drive import SimDrive
from tests.sim.world import Run, Weather, World, run_drive

POINTS = 24
REPEATABLE = ("put_blob", "put_block")


def _once(number: int, letter: str, call: Call) -> str:
    return letter if call.number == number else "."


def _often(every: int, letter: str, call: Call) -> str:
    return letter if call.operation in REPEATABLE and call.number % every == 1 else "."


@pytest.fixture
def cut_early(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.Timeout]:
    """What is cut early, from the first request of a size on."""
    monkeypatch.setattr(haste, "FEWEST", 0)
    monkeypatch.setattr(haste, "SPARE", 1.0)
    cut: list[asyncio.Timeout] = []
    end = haste.Haste.end

    def noted(self: haste.Haste, timeout: asyncio.Timeout) -> bool:
        was_cut = end(self, timeout)
        if was_cut:
            cut.append(timeout)
        return was_cut

    monkeypatch.setattr(haste.Haste, "end", noted)
    return cut


@pytest.mark.parametrize("letter", "HKW")
def test_a_straggler_does_no_harm_wherever_its_first_copy_is_and_whenever_that_arrives(
    sim: SimDrive, world: World, undisturbed: Run, cut_early: list[asyncio.Timeout], letter: str
) -> None:
    calls = [call.number for call in undisturbed.calls[:-2] if call.operation in REPEATABLE]
    wrong = {}
    for number, later in chosen(list(product(calls, (1, 3, 15))), POINTS):
        weather = Weather(3, partial(_once, number, letter), late_calls=later)
        wrong[number, later] = list(wrong_at_the_end(sim, run_drive(sim, world, weather), undisturbed))
    assert told(wrong) == ""
    assert len(cut_early) >= POINTS // 4


@pytest.mark.parametrize("letter", "KW")
def test_many_stragglers_do_no_harm(
    sim: SimDrive, world: World, undisturbed: Run, cut_early: list[asyncio.Timeout], letter: str
) -> None:
    wrong = {}
    for every in (3, 4, 7):
        weather = Weather(every, partial(_often, every, letter))
        wrong[every] = list(wrong_at_the_end(sim, run_drive(sim, world, weather), undisturbed))
    assert told(wrong) == ""
    assert cut_early
