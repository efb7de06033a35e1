"""A drive is put in, moved, and torn out while it is read."""

from __future__ import annotations

from tests.lab.drive import Medium
from tests.lab.scenarios.conftest import Stage
from tests.lab.scene import SLOW
from tests.lab.scene_drives import Cargo
from tests.lab.scene_station import A

MANY = 8
"""Blocks after which a drive is well under way, and far from its end."""


def test_an_inserted_drive_is_ingested_and_every_blob_is_its_file(stage: Stage, customers: Cargo) -> None:
    with stage.scene("insert", {1: Medium(customers.image)}) as scene:
        bay = scene.machine.bay(1)
        scene.file(bay, customers.key)
        scene.act(bay.insert)
        assert scene.finished(bay).fields["bay"] == "1"
        assert scene.wait("drive.read_only", drive=A).fields["proven"] == "true"
        for when in ("before", "after"):
            assert scene.wait("drive.smart", drive=A, when=when).fields["verdict"] == "healthy"
        assert scene.news(bay) == []
        scene.check_completed(bay, customers)
        happened = scene.history(bay)
        for earlier, later in (("drive.arrive", "drive.begin"), ("drive.begin", "drive.finish_clean")):
            assert happened.index(earlier) < happened.index(later)


def test_a_drive_that_is_moved_to_another_bay_goes_on_where_it_was(stage: Stage, long: Cargo) -> None:
    slow = Medium(long.image, bytes_per_s=SLOW)
    with stage.scene("move", {1: slow, 3: Medium(long.image)}) as scene:
        first, other = scene.machine.bay(1), scene.machine.bay(3)
        scene.file(first, long.key)
        first.insert()
        scene.wait_for_blocks(MANY)
        scene.act(scene.machine.move, 1, 3)
        scene.wait("drive.pulled", drive=A, bay="1")
        assert scene.finished(other).fields["bay"] == "3"
        assert len(scene.lines("drive.pulled")) == 1
        scene.check_sent_once()
        scene.check_completed(other, long)


def test_a_drive_that_is_torn_out_is_one_event_and_goes_on_when_it_is_back(stage: Stage, long: Cargo) -> None:
    with stage.scene("yank", {1: Medium(long.image, bytes_per_s=SLOW)}) as scene:
        bay = scene.machine.bay(1)
        scene.file(bay, long.key)
        bay.insert()
        scene.wait_for_blocks(MANY)
        scene.act(bay.yank)
        scene.wait("drive.pulled", drive=A)
        assert [line.event for line in scene.news(bay)] == ["drive.pulled"]
        bay.wait_absent()
        bay.throttle(0)
        bay.plug_back()
        scene.finished(bay)
        assert [line.event for line in scene.news(bay)] == ["drive.pulled"]
        scene.check_sent_once()
        scene.check_completed(bay, long)
