"""Sectors that cannot be read, a daemon that is killed, a store that goes away."""

from __future__ import annotations

from agent.volume.drivemap import State
from agent.volume.mapfile import parse
from tests.lab.drive import Medium
from tests.lab.scenarios.conftest import Stage
from tests.lab.scene import SLOW, are_acts_left_out
from tests.lab.scene_drives import Cargo
from tests.lab.scene_journal import UNIT
from tests.lab.scene_station import DISK_BYTES, A

MANY = 8
FILM = "films/cranes.mp4"
SECTOR = 512
BAD = ((5 << 20, 3), ((9 << 20) + 8 * SECTOR, 1))
"""Byte of the film, and how many sectors from there on cannot be read."""


def test_bad_sectors_cost_what_lies_on_them_and_are_told_to_the_byte(stage: Stage, long: Cargo) -> None:
    film = long.places[FILM]
    bad = [range(film.sector(offset), film.sector(offset) + count) for offset, count in BAD]
    medium = Medium(long.image, bad=() if are_acts_left_out() else bad)
    with stage.scene("bad-sectors", {1: medium}) as scene:
        bay = scene.machine.bay(1)
        scene.file(bay, long.key)
        bay.insert()
        scene.finished(bay, "CompletedWithErrors")
        told = scene.wait("drive.unreadable", drive=A).fields
        assert (told["files"], told["ranges"], told["bytes"]) == ("1", "2", str(4 * SECTOR))
        scene.check_blobs(long, lost=[FILM])
        (drive,) = scene.job()["driveList"]
        assert (drive["state"], drive["copyStatus"]) == ("CompletedMoreInfo", "CompletedWithErrors")
        assert drive["tally"]["failed"] == {"files": 1, "bytes": len(film.content)}
        mapfile = scene.log("mapfile")
        found = parse(mapfile, DISK_BYTES)
        assert list(found.ranges(State.BAD_SECTOR)) == [
            (each.start * SECTOR, len(each) * SECTOR) for each in bad
        ]
        ranges = ", ".join(f"{offset}..{offset + count * SECTOR}" for offset, count in BAD)
        (lost,) = (line for line in mapfile.splitlines() if line.startswith("# lost: "))
        assert f"bytes {ranges}" in lost
        assert "cranes.mp4" in lost


def test_a_daemon_that_is_killed_is_started_again_and_the_drive_goes_on(stage: Stage, long: Cargo) -> None:
    with stage.scene("kill", {1: Medium(long.image, bytes_per_s=SLOW)}) as scene:
        bay = scene.machine.bay(1)
        scene.file(bay, long.key)
        bay.insert()
        scene.wait_for_blocks(MANY)
        scene.act(scene.machine.sh, f"systemctl kill --kill-whom=main --signal=KILL {UNIT}")
        bay.throttle(0)
        scene.finished(bay)
        assert scene.machine.sh(f"systemctl show -P NRestarts {UNIT}").strip() == "1"
        assert len(scene.lines("station.started")) == 2
        scene.check_sent_once()
        scene.check_completed(bay, long)


def test_a_drive_waits_for_a_store_that_is_away_and_goes_on(stage: Stage, long: Cargo) -> None:
    with stage.scene("store-away", {1: Medium(long.image, bytes_per_s=SLOW)}) as scene:
        bay = scene.machine.bay(1)
        scene.file(bay, long.key)
        bay.insert()
        scene.wait_for_blocks(MANY)
        scene.act(scene.store.stop)
        bay.throttle(0)
        paused = scene.wait("drive.paused", drive=A)
        assert (paused.fields["error"], paused.fields["side"]) == ("StoreUnreachable", "network")
        assert not scene.lines("drive.finished")
        scene.store.start()
        scene.finished(bay)
        scene.check_sent_once()
        scene.check_completed(bay, long)
