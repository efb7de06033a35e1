"""Several drives, a boot, a power cut, a udevd that is restarted, a stop: the station goes on."""

from __future__ import annotations

from tests.lab.drive import Medium
from tests.lab.machine import Machine
from tests.lab.scenarios.conftest import Stage
from tests.lab.scene import SLOW
from tests.lab.scene_drives import Cargo
from tests.lab.scene_journal import UNIT
from tests.lab.scene_station import A, B

MANY = 8


def test_two_drives_are_worked_at_once(stage: Stage, long: Cargo, customers: Cargo) -> None:
    media = {1: Medium(long.image, bytes_per_s=SLOW), 2: Medium(customers.image)}
    with stage.scene("two", media) as scene:
        first, second = scene.machine.bay(1), scene.machine.bay(2)
        scene.file(first, long.key)
        scene.file(second, customers.key, name="two-more")
        first.insert()
        scene.wait_for_blocks(1)
        scene.act(second.insert)
        begun = scene.wait("drive.begin", drive=B)
        first.throttle(0)
        ended = [scene.finished(first), scene.finished(second, name="two-more")]
        assert begun.at < min(line.at for line in ended)
        scene.check_completed(first, long)
        scene.check_completed(second, customers, name="two-more")


def test_a_drive_that_is_in_its_bay_at_boot_is_ingested(stage: Stage, small: Cargo) -> None:
    with stage.scene("cold", {1: Medium(small.image)}) as scene:
        bay = scene.machine.bay(1)
        scene.file(bay, small.key)
        scene.act(scene.machine.mark_inserted, 1, inserted=True)
        scene.cut_power()
        scene.finished(bay)
        assert not scene.lines("drive.pulled")
        scene.check_completed(bay, small)


def test_after_a_power_cut_the_station_boots_and_the_drive_goes_on(stage: Stage, long: Cargo) -> None:
    with stage.scene("power", {1: Medium(long.image, bytes_per_s=SLOW)}) as scene:
        bay = scene.machine.bay(1)
        scene.file(bay, long.key)
        bay.insert()
        scene.wait_for_blocks(MANY)
        before = boot_id(scene.machine)
        scene.act(scene.cut_power)
        bay.throttle(0)
        scene.finished(bay)
        assert boot_id(scene.machine) != before
        scene.check_sent_once()
        scene.check_completed(bay, long)


def boot_id(machine: Machine) -> str:
    return machine.sh("cat /proc/sys/kernel/random/boot_id").strip()


def test_a_udevd_that_is_restarted_and_a_flood_of_events_change_nothing(
    stage: Stage, long: Cargo, small: Cargo
) -> None:
    media = {1: Medium(long.image, bytes_per_s=SLOW), 2: Medium(small.image)}
    with stage.scene("udevd", media) as scene:
        first, second = scene.machine.bay(1), scene.machine.bay(2)
        scene.file(first, long.key)
        scene.file(second, small.key, name="udevd-more")
        first.insert()
        scene.wait_for_blocks(MANY)
        before = scene.machine.sh("systemctl show -P MainPID systemd-udevd").strip()
        scene.act(scene.machine.sh, "systemctl restart systemd-udevd")
        scene.machine.sh(
            "for i in $(seq 20); do udevadm trigger --subsystem-match=block; done; udevadm settle"
        )
        assert scene.machine.sh("systemctl show -P MainPID systemd-udevd").strip() != before
        second.insert()
        scene.finished(second, name="udevd-more")
        first.throttle(0)
        scene.finished(first)
        assert not scene.lines("drive.pulled")
        assert len(scene.lines("drive.begin")) == 2
        scene.check_sent_once()
        scene.check_completed(first, long)
        scene.check_completed(second, small, name="udevd-more")


def test_a_station_that_is_stopped_keeps_the_place_of_its_drive(stage: Stage, long: Cargo) -> None:
    with stage.scene("stop", {1: Medium(long.image, bytes_per_s=SLOW)}) as scene:
        bay = scene.machine.bay(1)
        scene.file(bay, long.key)
        bay.insert()
        scene.wait_for_blocks(MANY)
        scene.act(scene.machine.sh, f"systemctl restart {UNIT}", timeout_s=300)
        bay.throttle(0)
        scene.wait("drive.interrupted", drive=A)
        scene.finished(bay)
        shown = scene.machine.sh(f"systemctl show -P NRestarts -P Result {UNIT}").split()
        assert sorted(shown) == ["0", "success"]
        scene.check_sent_once()
        scene.check_completed(bay, long)


def test_a_worker_that_is_killed_is_one_event_and_the_drive_goes_on(stage: Stage, long: Cargo) -> None:
    with stage.scene("worker", {1: Medium(long.image, bytes_per_s=SLOW)}) as scene:
        bay = scene.machine.bay(1)
        scene.file(bay, long.key)
        bay.insert()
        scene.wait_for_blocks(MANY)
        scene.act(scene.machine.sh, "pkill -KILL -f '[a]gent.transfer.reader'")
        bay.throttle(0)
        scene.wait("worker.lost", drive=A)
        scene.finished(bay)
        assert [line.event for line in scene.news(bay)] == ["worker.lost"]
        scene.check_sent_once()
        scene.check_completed(bay, long)
