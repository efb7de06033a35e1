"""Drives that nobody waits for, that cannot be opened or told apart, and those that are ailing."""

from __future__ import annotations

from tests.lab.drive import Medium
from tests.lab.scenarios.conftest import Stage
from tests.lab.scene import SLOW
from tests.lab.scene_drives import Cargo
from tests.lab.scene_station import A, B


def test_a_wrong_key_ends_the_drive_and_nothing_is_uploaded(
    stage: Stage, customers: Cargo, other_key: bytes
) -> None:
    with stage.scene("wrong-key", {1: Medium(customers.image)}) as scene:
        bay = scene.machine.bay(1)
        keys = [customers.key]
        scene.act(keys.__setitem__, 0, other_key)
        scene.file(bay, keys[0])
        bay.insert()
        failed = scene.wait("drive.failed", drive=A)
        assert (failed.fields["error"], failed.fields["side"]) == ("BitLockerKeyInvalid", "drive")
        assert failed.fields["next"]
        assert scene.store.digests(scene.name) == {}
        (drive,) = scene.job()["driveList"]
        assert (drive["state"], drive["copyStatus"]) == ("CompletedMoreInfo", failed.fields["status"])
        log = scene.log("error")
        assert f"<Status>{failed.fields['status']}</Status>" in log
        for secret in (other_key, customers.key):
            assert secret.decode() not in scene.told() + log


def test_an_extra_drive_is_left_alone_until_a_job_waits_for_it(stage: Stage, small: Cargo) -> None:
    with stage.scene("extra", {2: Medium(small.image)}) as scene:
        bay = scene.machine.bay(2)
        scene.act(bay.insert)
        alone = scene.wait("drive.left_alone", drive=B).fields
        assert alone["error"] == "SerialNotSpecified"
        assert "is an extra drive: no job specifies it" in alone["detail"]
        assert alone["next"]
        listed = scene.agent("drive", "list")
        assert "extra drive" in listed
        assert B in listed
        assert not scene.lines("drive.read_only")
        scene.file(bay, small.key)
        scene.finished(bay)
        scene.check_completed(bay, small)


def test_two_drives_that_tell_one_serial_are_both_left_alone(stage: Stage, small: Cargo) -> None:
    with stage.scene("twins", {1: Medium(small.image), 3: Medium(small.image)}) as scene:
        first, twin = scene.machine.bay(1), scene.machine.bay(3)
        first.insert()
        scene.act(twin.insert)
        for bay in (first, twin):
            alone = scene.wait("drive.left_alone", bay=str(bay.number), error="SerialConflict").fields
            assert f"2 attached drives say that their serial is {A}" in alone["detail"]
        scene.file(first, small.key)
        assert "2 attached drives" in scene.agent("drive", "list")
        assert not scene.lines("drive.begin")
        first.eject()
        assert scene.finished(twin).fields["bay"] == "3"
        scene.check_completed(twin, small)


def test_a_twin_that_comes_while_its_drive_is_worked_is_told_of_and_left_alone(
    stage: Stage, long: Cargo
) -> None:
    with stage.scene("late-twin", {1: Medium(long.image, bytes_per_s=SLOW), 3: Medium(long.image)}) as scene:
        first, twin = scene.machine.bay(1), scene.machine.bay(3)
        scene.file(first, long.key)
        first.insert()
        scene.wait_for_blocks(1)
        scene.act(twin.insert)
        alone = scene.wait("drive.left_alone", bay="3").fields
        assert alone["error"] == "SerialConflict"
        assert not scene.lines("drive.finished")
        first.throttle(0)
        assert scene.finished(first).fields["bay"] == "1"
        assert len(scene.lines("drive.begin")) == 1
        scene.check_sent_once()
        scene.check_completed(first, long)


def test_a_drive_of_a_draft_waits_until_it_is_shipped_and_one_that_is_done_stays_done(
    stage: Stage, small: Cargo
) -> None:
    with stage.scene("draft", {2: Medium(small.image)}) as scene:
        bay = scene.machine.bay(2)
        scene.file(bay, small.key, "--draft")
        bay.insert()
        early = scene.wait("drive.left_alone", drive=B).fields
        assert "is in Creating and not yet to be processed" in early["detail"]
        scene.act(scene.agent, "job", "ship", scene.name)
        scene.finished(bay)
        bay.eject()
        bay.insert()
        scene.until(lambda: len(scene.lines("drive.left_alone", drive=B)) > 1, "it is left alone once more")
        done = scene.lines("drive.left_alone", drive=B)[-1].fields
        assert "is already processed (Completed" in done["detail"]
        assert len(scene.lines("drive.begin")) == 1
        scene.check_completed(bay, small)


def test_a_drive_that_predicts_its_end_is_told_of_and_read(stage: Stage, small: Cargo) -> None:
    with stage.scene("smart", {1: Medium(small.image)}) as scene:
        bay = scene.machine.bay(1)
        scene.file(bay, small.key)
        scene.act(bay.fail_smart)
        bay.insert()
        scene.finished(bay)
        told = scene.wait("drive.smart", drive=A, when="before")
        assert told.fields["verdict"] == "failing"
        assert "the drive predicts its own failure" in told.fields["detail"]
        assert told in scene.news(bay)
        assert "it is read gently" in scene.wait("drive.gently", drive=A).fields["detail"]
        assert {"drive.smart", "drive.gently"} <= set(scene.history(bay))
        scene.check_completed(bay, small)
