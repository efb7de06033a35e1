"""Room on the state disk: what a drive needs, what others have claimed, and the sentences that say so."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from agent.errors import StateUnusable
from agent.transfer import room as room_module
from agent.transfer.room import Room, check_free, forget_journal, free_bytes, is_full, needed_bytes

MIB, GIB = 1 << 20, 1 << 30


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What the disk has left, for the test to say."""
    left = {"bytes": 4 * GIB}
    monkeypatch.setattr(room_module, "free_bytes", lambda folder: left["bytes"])
    return left


def _journal(tmp_path: Path, name: str = "S1", size_bytes: int = 0) -> Path:
    path = tmp_path / "journals" / "job" / f"{name}.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\1" * size_bytes)
    return path


def test_a_drive_needs_more_for_more_files_and_for_a_verbose_log() -> None:
    few, many = needed_bytes(1_000, verbose=False), needed_bytes(1_000_000, verbose=False)
    assert few < many < needed_bytes(1_000_000, verbose=True)
    assert 16 * MIB <= needed_bytes(0, verbose=True) < few
    assert few < needed_bytes(1_000, verbose=False, listed_bytes=GIB)


def test_what_is_there_may_be_claimed_and_no_more(tmp_path: Path, disk: dict[str, int]) -> None:
    room = Room(_journal(tmp_path), keep_free_bytes=GIB)
    room.claim(3 * GIB)
    room.close()
    with pytest.raises(StateUnusable) as caught:
        Room(_journal(tmp_path), keep_free_bytes=GIB).claim(3 * GIB + MIB)
    assert caught.value.detail == (
        "the state disk has 3.0 GiB left beside the 1.0 GiB that are kept free, this drive needs 3.0 GiB: "
        "free space there, or lower transfer.keep_free_mib; the drive goes on by itself"
    )
    assert caught.value.side == "station"


def test_folders_of_other_jobs_that_come_and_go_do_not_disturb(tmp_path: Path, disk: dict[str, int]) -> None:
    journal, is_over = _journal(tmp_path), threading.Event()

    def churn() -> None:
        while not is_over.is_set():
            for number in range(20):
                (tmp_path / "journals" / f"other-{number}").mkdir()
            for number in range(20):
                (tmp_path / "journals" / f"other-{number}").rmdir()

    others = threading.Thread(target=churn)
    others.start()
    try:
        for _ in range(500):
            room = Room(journal)
            room.claim(GIB)
            room.close()
    finally:
        is_over.set()
        others.join()


def test_two_drives_do_not_count_on_the_same_bytes(tmp_path: Path, disk: dict[str, int]) -> None:
    first, second = Room(_journal(tmp_path, "S1")), Room(_journal(tmp_path, "S2"))
    first.claim(3 * GIB)
    with pytest.raises(StateUnusable, match=r"1\.0 GiB left .* and the 3\.0 GiB that other drives need"):
        second.claim(2 * GIB)
    first.close()
    second.claim(2 * GIB)
    second.close()


def test_what_a_drive_has_taken_already_is_not_needed_again(tmp_path: Path, disk: dict[str, int]) -> None:
    half = _journal(tmp_path, "S1", 8 * MIB)
    disk["bytes"] = 4 * MIB
    with pytest.raises(StateUnusable):
        Room(_journal(tmp_path, "S2")).claim(10 * MIB)
    room = Room(half)
    room.claim(10 * MIB)
    # Two more of its ten are to come, and only these are kept for it.
    with pytest.raises(StateUnusable, match="the 2 MiB that other drives need"):
        Room(_journal(tmp_path, "S2")).claim(3 * MIB)
    room.close()


def test_a_drive_takes_no_more_than_the_settings_grant_one(tmp_path: Path, disk: dict[str, int]) -> None:
    with pytest.raises(StateUnusable, match=r"needs up to 2\.0 GiB .* may take 1\.0 GiB .*drive_state_mib"):
        Room(_journal(tmp_path), most_bytes=GIB).claim(2 * GIB)


def test_a_running_drive_pauses_only_when_half_of_what_is_kept_free_is_gone(
    tmp_path: Path, disk: dict[str, int]
) -> None:
    room = Room(_journal(tmp_path), keep_free_bytes=512 * MIB)
    disk["bytes"] = 256 * MIB
    room.check()
    disk["bytes"] -= 1
    with pytest.raises(StateUnusable, match="255 MiB left, and 256 MiB are kept free"):
        room.check()


def test_the_real_disk_tells_its_free_space_even_for_a_folder_to_be(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "not" / "yet") > 0
    check_free(tmp_path, 0)
    with pytest.raises(StateUnusable, match=r"are kept free there"):
        check_free(tmp_path, 1 << 60)


def test_a_full_database_and_a_full_file_system_are_told_from_other_trouble(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "x") as db:
        db.execute("CREATE TABLE a (x)")
        db.execute("PRAGMA max_page_count = 2")
        with pytest.raises(sqlite3.OperationalError) as full:
            db.execute("CREATE TABLE b (x)")
        with pytest.raises(sqlite3.OperationalError) as other:
            db.execute("no SQL")
    db.close()
    assert is_full(full.value)
    assert not is_full(other.value)
    assert is_full(OSError(28, "No space left on device"))
    assert not is_full(OSError(5, "Input/output error"))


def test_a_forgotten_journal_leaves_nothing_behind(tmp_path: Path, disk: dict[str, int]) -> None:
    path = _journal(tmp_path)
    for end in ("-wal", "-shm", ".lock", ".damaged"):
        path.with_name(path.name + end).write_bytes(b"x")
    room = Room(path)
    room.claim(1)
    room.close()
    forget_journal(path)
    assert [*path.parent.iterdir()] == []
    forget_journal(path)
