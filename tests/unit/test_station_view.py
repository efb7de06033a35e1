"""What the station knows of itself, as the events of its drives tell it."""

from __future__ import annotations

from typing import Any

import pytest

from agent.errors import StateUnusable
from agent.model.identity import SerialNumber
from agent.model.tally import Count, Tally
from agent.station.view import View

SERIAL = SerialNumber.parse("WD-123")


class Seconds:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def view(seconds: Seconds) -> View:
    return View(seconds)


def progress(done: int, percent: int = 41, **fields: Any) -> dict[str, Any]:
    tally = {"discovered": [100, 1000], "done": [done, 10 * done], "failed": [1, 7], "skipped": [0, 0]}
    return {"event": "progress", "percent": percent, "tally": tally, **fields}


def begun(view: View, key: str = "k", tally: Tally | None = None) -> None:
    view.begin(key, "3", SERIAL, tally or Tally(), 0)


def test_the_status_is_a_line_that_a_person_can_read(view: View) -> None:
    assert view.status() == "waits for drives"
    begun(view)
    assert view.status() == "1 drive: WD-123 bay 3 opening"
    view.begin("other", "5", SerialNumber.parse("Z9"), Tally(), 0)
    view.take("k", progress(40))
    view.take("other", progress(2, 2, waiting="no answer"))
    view.left_alone["x"] = "SerialNotSpecified"
    assert view.status() == "2 drives: WD-123 bay 3 41 %, Z9 bay 5 2 % waits for the store; 1 left alone"
    view.is_draining = True
    assert view.status().startswith("stopping, places are kept: WD-123 bay 3 41 %")


def test_what_an_earlier_visit_moved_is_not_counted_again(view: View) -> None:
    begun(view, tally=Tally(Count(100, 1000), Count(30, 300), Count(1, 7)))
    view.take("k", progress(30))
    assert (view.files["done"], view.bytes["done"], view.files["failed"]) == (0, 0, 0)
    view.take("k", progress(45))
    view.take("k", progress(45))
    assert (view.files["done"], view.bytes["done"]) == (15, 150)


def test_books_that_begin_anew_never_make_a_count_go_back(view: View) -> None:
    begun(view)
    view.take("k", progress(50))
    view.take("k", progress(10))
    view.take("k", progress(12))
    assert view.files["done"] == 52


def test_requests_add_up_over_several_uploaders(view: View) -> None:
    begun(view)
    view.take("k", progress(1, throttled_requests=3))
    view.take("k", progress(1, throttled_requests=5))
    view.take("k", {"event": "worker.lost"})
    view.take("k", {"event": "opened"})
    view.take("k", progress(1, throttled_requests=2))
    assert view.requests["throttled_requests"] == 7
    assert view.crashes == 1


def test_progress_that_moves_nothing_does_not_count_as_movement(view: View, seconds: Seconds) -> None:
    begun(view)
    view.take("k", progress(1))
    seconds.now += 50
    view.take("k", progress(1))
    assert view.bays["k"].moved_at == 100
    view.take("k", progress(2))
    assert view.bays["k"].moved_at == 150


def test_trouble_stands_in_the_status_until_a_round_succeeds(view: View, seconds: Seconds) -> None:
    assert view.round_age_s is None
    view.round_ended(StateUnusable("the disk is full"))
    assert view.status() == "waits for drives; trouble: the disk is full"
    view.round_ended(OSError("somewhere/secret"))
    assert view.trouble == "OSError"
    view.round_ended()
    seconds.now += 5
    assert (view.trouble, view.round_age_s) == ("", 5)
    assert view.rounds == {"ok": 1, "failed": 2}


def test_the_end_of_a_drive_is_counted_by_its_outcome(view: View) -> None:
    begun(view)
    view.take("k", {"event": "paused", "error": "StoreRefused", "detail": "no"})
    view.take("k", {"event": "drive.unreadable", "bytes": 4096, "ranges": 1, "files": 1, "detail": ""})
    finished = {**progress(99, 100), "event": "finished", "status": "Completed"}
    view.take("k", finished)
    view.end("k")
    view.take("k", finished)
    assert (view.finished, view.pauses) == ({"Completed": 1}, {"StoreRefused": 1})
    assert (view.files["done"], view.unreadable_bytes) == (99, 4096)
    assert view.status() == "waits for drives"
