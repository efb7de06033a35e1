"""Whose turn it is: first come, first served, nothing idle, and nobody passed over for ever."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from agent import config
from agent.devices.bays import controller_of
from agent.devices.facts import DriveFacts
from agent.errors import ConfigInvalid
from agent.model.concurrency import BayGroup, Concurrency, Place
from agent.station.reload import adopt
from agent.station.turns import MOST_PASSES, Turn, Turns

ACCOUNT = "https://a.example"


def _ask(turns: Turns, bay: str = "1", controller: str = "", account: str = ACCOUNT) -> Turn:
    return turns.ask(Place(bay, controller), account)


def test_without_limits_everybody_has_a_turn_at_once() -> None:
    turns = Turns()
    assert all(_ask(turns, str(bay)).is_granted for bay in range(100))


def test_those_that_wait_have_their_turn_in_the_order_in_which_they_came() -> None:
    turns = Turns(Concurrency(station=2))
    asked = [_ask(turns, str(bay)) for bay in range(5)]
    assert [turn.is_granted for turn in asked] == [True, True, False, False, False]
    turns.give_back(asked[1])
    assert [turn.is_granted for turn in asked[2:]] == [True, False, False]
    turns.give_back(asked[3])
    turns.give_back(asked[0])
    assert asked[4].is_granted


def test_a_turn_that_is_given_back_twice_is_one() -> None:
    turns = Turns(Concurrency(station=1))
    first, second, third = (_ask(turns, str(bay)) for bay in range(3))
    turns.give_back(first)
    turns.give_back(first)
    assert (second.is_granted, third.is_granted) == (True, False)


def test_the_sentence_says_what_is_full_by_which_setting_and_who_is_before() -> None:
    turns = Turns(Concurrency(station=4, controller=2, groups={"left": BayGroup(frozenset("12"), 1)}))
    held = [_ask(turns, "8", "pci-a"), _ask(turns, "9", "pci-a")]
    behind = _ask(turns, "7", "pci-a")
    assert turns.why(held[0]) == ""
    assert turns.why(behind) == (
        "waits for a place: 2 drives behind controller pci-a are being read (concurrency.controller = 2)"
    )
    assert _ask(turns, "1").is_granted
    grouped = _ask(turns, "2")
    assert turns.why(grouped) == (
        "waits for a place: 1 drive of the bays left is being read (concurrency.groups.left = 1); "
        "1 drive waits before it"
    )
    assert _ask(turns, "6").is_granted
    late = _ask(turns, "5")
    assert turns.why(late) == (
        "waits for a place: 4 drives are being read (concurrency.station = 4); 2 drives wait before it"
    )


def test_a_drive_behind_a_busy_controller_holds_up_no_other_controller() -> None:
    turns = Turns(Concurrency(station=3, controller=1))
    assert _ask(turns, "1", "a").is_granted
    assert not _ask(turns, "2", "a").is_granted
    assert _ask(turns, "3", "b").is_granted


def test_drives_without_a_known_controller_are_not_counted_for_one() -> None:
    turns = Turns(Concurrency(controller=1))
    assert all(_ask(turns, str(bay)).is_granted for bay in range(3))


def test_each_account_has_its_own_places() -> None:
    turns = Turns(Concurrency(account=1))
    assert _ask(turns, "1").is_granted
    assert not _ask(turns, "2").is_granted
    assert _ask(turns, "3", account="https://b.example").is_granted


def test_nobody_is_passed_over_more_than_a_few_times() -> None:
    """It needs two things at once, each of which others would always take first."""
    turns = Turns(Concurrency(controller=1, groups={"g": BayGroup(frozenset("1"), 1)}))
    of_controller, of_group = _ask(turns, "9", "c"), _ask(turns, "1", "d")
    both = _ask(turns, "1", "c")
    passes = 0
    for number in range(20):
        if number % 2:
            rival = _ask(turns, "9", "c")
            turns.give_back(of_controller)
            of_controller = rival
        else:
            rival = _ask(turns, "1", f"d{number}")
            turns.give_back(of_group)
            of_group = rival
        if both.is_granted:
            break
        passes += rival.is_granted
    assert both.is_granted
    assert passes == MOST_PASSES


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_and_goes_limits_hold_and_everybody_has_a_turn(seed: int) -> None:
    dice = random.Random(seed)
    limits = Concurrency(station=4, controller=2, groups={"g": BayGroup(frozenset("12"), 1)})
    turns = Turns(limits)
    waiting: list[Turn] = []
    held: list[Turn] = []
    for _ in range(600):
        waiting.append(_ask(turns, dice.choice("1234"), dice.choice("ab")))
        while len(held) + sum(turn.is_granted for turn in waiting) > dice.randrange(5):
            held += [turn for turn in waiting if turn.is_granted]
            waiting = [turn for turn in waiting if not turn.is_granted]
            if not held:
                break
            turns.give_back(held.pop(dice.randrange(len(held))))
        now = [*held, *(turn for turn in waiting if turn.is_granted)]
        assert len(now) <= 4
        assert sum(turn.place.bay in "12" for turn in now) <= 1
        assert all(sum(turn.place.controller == one for turn in now) <= 2 for one in "ab")
    while waiting:
        held += [turn for turn in waiting if turn.is_granted]
        waiting = [turn for turn in waiting if not turn.is_granted]
        assert held or not waiting, "somebody waits, and nobody is worked"
        if held:
            turns.give_back(held.pop())


def test_other_limits_count_at_once_and_interrupt_nobody() -> None:
    turns = Turns(Concurrency(station=1))
    news: list[str] = []
    first = turns.ask(Place("1"), ACCOUNT)
    second = turns.ask(Place("2"), ACCOUNT, lambda: news.append("second"))
    third = turns.ask(Place("3"), ACCOUNT)
    turns.adopt(Concurrency(station=2))
    assert (second.is_granted, third.is_granted) == (True, False)
    assert news
    turns.adopt(Concurrency(station=1))
    turns.give_back(first)
    assert not third.is_granted
    turns.adopt(Concurrency())
    assert third.is_granted


def _load(folder: Path, text: str) -> config.Settings:
    file = folder / "agent.toml"
    file.write_text(f'state_dir = "{folder}"\n{text}')
    return config.load(file, {})


def test_limits_are_read_from_the_settings_and_again_while_it_runs(tmp_path: Path) -> None:
    old = _load(tmp_path, "[concurrency]\nstation = 8\n")
    text = "[concurrency]\nstation = 4\ncontroller = 2\naccount = 3\n[concurrency.groups.left]\n"
    new = _load(tmp_path, text + 'bays = ["1", "2"]\nat_once = 1\n')
    assert new.concurrency == Concurrency(4, 2, 3, {"left": BayGroup(frozenset({"1", "2"}), 1)})
    adopted = adopt(old, new)
    assert adopted.changed == ("concurrency",)
    assert adopted.held == ()
    assert adopted.settings.concurrency == new.concurrency


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("concurrency = 4", "concurrency must be a table"),
        ("[concurrency]\nstations = 4", "there is no setting concurrency.stations (is it station?)"),
        ("[concurrency]\nstation = 0", "concurrency.station must be a number from 1 to 1000"),
        ("[concurrency]\naccount = true", "concurrency.account must be a number from 1 to 1000"),
        ("[concurrency]\ncontroller = 2.5", "concurrency.controller must be a number"),
        ("[concurrency]\ngroups = 3", "concurrency.groups must be a table of"),
        ("[concurrency.groups]\nleft = 3", "concurrency.groups.left must be a table"),
        ("[concurrency.groups.left]\nbay = 3", "no setting concurrency.groups.left.bay (is it bays?)"),
        ('[concurrency.groups.left]\nbays = ["1"]', "concurrency.groups.left must have bays"),
        ("[concurrency.groups.left]\nbays = [1]\nat_once = 1", "groups.left.bays must be a list"),
        ("[concurrency.groups.left]\nbays = []\nat_once = 1", "groups.left.bays must be a list"),
        ('[concurrency.groups.left]\nbays = ["1"]\nat_once = -1', "groups.left.at_once must be a number"),
    ],
)
def test_a_wrong_limit_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigInvalid) as error:
        _load(tmp_path, text)
    assert said in error.value.detail


@pytest.mark.parametrize(
    ("path", "controller"),
    [
        ("pci-0000:00:1f.2-ata-1", "pci-0000:00:1f.2"),
        ("pci-0000:03:00.0-sas-phy3-lun-0", "pci-0000:03:00.0"),
        ("pci-0000:00:14.0-usb-0:2:1.0-scsi-0:0:0:0", "pci-0000:00:14.0"),
        ("pci-0000:05:00.0-nvme-1", "pci-0000:05:00.0"),
        ("lab-bay-1", "lab-bay-1"),
        ("", ""),
    ],
)
def test_what_stands_before_the_port_is_the_controller(path: str, controller: str) -> None:
    facts = DriveFacts("sda", "/dev/sda", 0, "1", 512, 512, "/sys", False, id_path=path)
    assert controller_of(facts) == controller
