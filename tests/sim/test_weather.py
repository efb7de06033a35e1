"""Each call of the store goes wrong once, in each way there is."""

from __future__ import annotations

import asyncio
import dataclasses
from itertools import product

import pytest

from agent.blobs.faults import Call
from agent.model.blobs import BlobName
from agent.model.treatment import Treatment
from agent.model.verification import Depth, Verification
from agent.transfer.uploading import Uploader
from tests.sim.checks import MAKING, SENDING, chosen, told, wrong_at_the_end, wrong_on_the_way
from tests.sim.drive import SimDrive
from tests.sim.store import LETTERS, NEVER
from tests.sim.world import (
    Run,
    Weather,
    World,
    after_a_stranger_the_late_ones_arrive,
    run_drive,
    strangers,
)

POINTS = 40
READ_BACK = {"treatment": Treatment(Verification(Depth.READBACK))}


def test_a_call_that_goes_wrong_once_is_no_files_error(sim: SimDrive, world: World, undisturbed: Run) -> None:
    calls = range(len(undisturbed.calls))
    wrong = {}
    for number, letter in chosen(list(product(calls, LETTERS.replace("R", ""))), POINTS):
        run = run_drive(sim, world, Weather(2, lambda call, at=number, what=letter: _once(call, at, what)))
        wrong[number, letter] = list(wrong_at_the_end(sim, run, undisturbed))
    assert told(wrong) == ""


def test_a_download_that_goes_wrong_once_is_no_files_error(sim: SimDrive, world: World) -> None:
    undisturbed = run_drive(sim, world, **READ_BACK)
    reads = [call.number for call in undisturbed.calls if call.operation == "read"]
    assert len(reads) >= sim.counts["done"]
    wrong = {}
    for number, letter in chosen(list(product(reads, "ULTHK")), POINTS // 4):
        weather = Weather(2, lambda call, at=number, what=letter: _once(call, at, what))
        run = run_drive(sim, world, weather, **READ_BACK)
        wrong[number, letter] = list(wrong_at_the_end(sim, run, undisturbed))
    assert told(wrong) == ""


def _once(call: Call, number: int, letter: str) -> str:
    return letter if call.number == number else "."


@pytest.mark.parametrize("overwrites", [False, True])
def test_a_request_that_was_given_up_and_arrives_late_does_no_harm(
    sim: SimDrive, world: World, undisturbed: Run, overwrites: bool
) -> None:
    late = [
        call.number
        for call in undisturbed.calls[:-2]
        if call.operation in SENDING and call.subject.startswith("one/over") is overwrites
    ]
    wrong = {}
    for number, calls in chosen(list(product(late, (10, 20, 40))), POINTS // 2):
        weather = Weather(faults=lambda call, at=number: _once(call, at, "Z"), late_calls=calls)
        run = run_drive(sim, world, weather)
        wrong[number, calls] = list(wrong_at_the_end(sim, run, undisturbed))
    assert told(wrong) == ""


def test_a_request_that_arrives_after_a_stranger_has_replaced_its_blob_leaves_his_alone(
    sim: SimDrive, world: World, undisturbed: Run
) -> None:
    making = [call.number for call in undisturbed.calls[:-2] if call.operation in MAKING]
    wrong = {}
    for number in chosen(making, POINTS // 2):
        weather = Weather(faults=lambda call, at=number: _once(call, at, "Z"), late_calls=NEVER)
        run = run_drive(sim, world, weather)
        found = list(wrong_at_the_end(sim, run, undisturbed))
        his = after_a_stranger_the_late_ones_arrive(run)
        if not his:
            found.append("nothing was late")
        found += [f"{name} is not his any more" for name in his if his[name] != strangers(name)]
        wrong[number] = found
    assert told(wrong) == ""


@pytest.mark.parametrize("subject", ["one/over", "one/over-big", "one/over.vhd", "one/big", "one/disk.vhd"])
def test_a_stranger_who_writes_at_any_moment_is_replaced_whole_or_not_at_all(
    sim: SimDrive, world: World, undisturbed: Run, subject: str
) -> None:
    name = BlobName.parse(subject)
    with_his = dataclasses.replace(sim, planted=sim.planted | {name: strangers(name)})
    wrong = {}
    for number in chosen(range(len(undisturbed.calls)), POINTS // 4):
        run = run_drive(sim, world, Weather(6, stranger=(number, name)))
        found = list(wrong_on_the_way(with_his, run))
        last = run.told.last
        if last["event"] != "finished":
            found.append(f"it ended with {last}")
        if run.after.store.committed()[name] not in (sim.expected[name], strangers(name)):
            found.append(f"{name} is neither ours nor his")
        wrong[number] = found
    assert told(wrong) == ""


@pytest.mark.parametrize("letter", "ULTZ")
def test_many_calls_that_go_wrong_are_no_files_error(
    sim: SimDrive, world: World, undisturbed: Run, letter: str
) -> None:
    wrong = {}
    for every in chosen(range(2, 12), 2):
        weather = Weather(every, lambda call, every=every: letter if call.number % every == 1 else ".")
        run = run_drive(sim, world, weather)
        wrong[every] = list(wrong_at_the_end(sim, run, undisturbed))
    assert told(wrong) == ""


def test_a_credential_that_is_refused_in_the_middle_pauses_and_what_follows_completes(
    sim: SimDrive, world: World, undisturbed: Run
) -> None:
    wrong = {}
    for number in chosen(range(len(undisturbed.calls)), POINTS // 3):
        run = run_drive(sim, world, Weather(3, lambda call, at=number: "R" if call.number >= at else "."))
        found = list(wrong_on_the_way(sim, run))
        if run.told.last["event"] == "paused":
            found += wrong_at_the_end(sim, run_drive(sim, run.after), undisturbed)
        elif run.told.last.get("status") not in ("BlobRequestForbidden", undisturbed.told.last["status"]):
            found.append(f"it ended with {run.told.last}")
        wrong[number] = found
    assert told(wrong) == ""


@pytest.mark.parametrize("letter", "UTHZ")
def test_an_outage_that_lasts_pauses_and_what_follows_completes(
    sim: SimDrive, world: World, undisturbed: Run, letter: str
) -> None:
    wrong = {}
    for number in chosen(range(len(undisturbed.calls) - 2), POINTS // 10):
        began: list[float] = []

        def note(call: Call, _: Uploader, at: int = number, seen: list[float] = began) -> None:
            if call.number == at:
                seen.append(asyncio.get_running_loop().time())

        weather = Weather(4, lambda call, at=number: letter if call.number >= at else ".", begun=note)
        run = run_drive(sim, world, weather, give_up_after_s=60.0)
        found = list(wrong_on_the_way(sim, run))
        if run.told.last["event"] != "paused":
            found.append(f"it ended with {run.told.last}")
        if run.ended_at - began[0] > 61.0:
            found.append(f"it waited for {run.ended_at - began[0]:.0f} s, and was to wait for 60")
        found += wrong_at_the_end(sim, run_drive(sim, run.after), undisturbed)
        wrong[number] = found
    assert told(wrong) == ""


@pytest.mark.parametrize("word", ["stop", "cancel"])
def test_a_word_of_the_station_at_any_call_is_heard_and_the_books_balance(
    sim: SimDrive, world: World, undisturbed: Run, word: str
) -> None:
    wrong = {}
    for number in chosen(range(len(undisturbed.calls)), POINTS // 3):

        def tell(call: Call, uploader: Uploader, at: int = number) -> None:
            if call.number == at:
                uploader.command(word)

        run = run_drive(sim, world, Weather(5, begun=tell))
        found = list(wrong_on_the_way(sim, run))
        ended = run.told.last["event"]
        if ended not in ({"interrupted", "finished"} if word == "stop" else {"finished"}):
            found.append(f"it ended with {run.told.last}")
        if ended == "interrupted":
            found += wrong_at_the_end(sim, run_drive(sim, run.after), undisturbed)
        wrong[number] = found
    assert told(wrong) == ""
