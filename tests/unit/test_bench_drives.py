"""The figures of endurance, their place in the results, and the drives they are taken from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.model.keys import Password
from agent.model.secrets import Secret
from agent.volume.block import FdSource
from agent.volume.ntfs import DamagedRecord
from agent.volume.opening import open_volume
from benchmarks import drives_images as images
from benchmarks.drives_figures import (
    MIB,
    Haul,
    Memory,
    Way,
    at_once_verdict,
    memory_verdicts,
    verdict,
)
from benchmarks.drives_report import part, save, with_part
from benchmarks.volume_images import PASSWORD

GB = 1_000_000_000


def _way(*spans: float, size: int = GB, cpu_s: float = 1.0) -> Way:
    return Way("a way", tuple(Haul(size, span, cpu_s, 0.5) for span in spans))


def test_a_haul_keeps_as_many_cores_busy_as_it_took_seconds_of_them() -> None:
    haul = Haul(GB, 0.5, 0.6, 0.2)
    assert (haul.mb_s, haul.cores) == (2000.0, 1.6)


def test_two_drives_are_judged_by_the_median_of_paired_rounds() -> None:
    one, two = _way(1.0, 1.0, 2.0), _way(1.0, 1.1, 2.0, size=2 * GB)
    said = at_once_verdict(one, two, 2)
    assert "at least 1.7: 2, met" in said
    assert "one drive alone keeps 1.5 of 2 cores busy" in said
    assert "1.18, NOT MET by 31%" in at_once_verdict(one, _way(1.7, 1.7, 1.7, size=2 * GB), 2)


def test_a_row_tells_the_noise() -> None:
    assert _way(1.0, 0.5, 0.25).cells()[1:3] == ("2,000", "1,000-4,000")


def _memory(files: int, mib: int) -> Memory:
    return Memory(f"{files} files", files, mib * MIB, 0, 0, 64 * MIB, 0, 9.0, 5000.0)


def test_memory_is_judged_at_its_largest_and_by_its_growth() -> None:
    most, growth = memory_verdicts([_memory(1000, 100), _memory(1_000_000, 150), _memory(1, 257)])
    assert "NOT MET by 0%" in most
    assert "1.5, NOT MET by 20%" in growth
    most, growth = memory_verdicts([_memory(1000, 100), _memory(1_000_000, 125)])
    assert most.endswith("met")
    assert "NOT" not in most + growth


def test_one_size_says_nothing_of_growth() -> None:
    assert len(memory_verdicts([_memory(1000, 100), _memory(1, 100)])) == 1


@pytest.mark.parametrize(
    ("found", "sense", "told"),
    [(2.0, "at least", "met"), (1.0, "at least", "NOT MET by 50%"), (3.0, "at most", "NOT MET by 50%")],
)
def test_a_bar_that_is_not_met_says_by_how_much(found: float, sense: str, told: str) -> None:
    assert verdict("it", found, 2.0, sense).endswith(f", {told}")


def test_a_part_of_the_results_is_replaced_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "results" / "drives.md"
    for title, text in (("Resume", "old\n\n| a |"), ("Memory", "flat"), ("Resume", "new")):
        save(path, title, text)
    document = path.read_text("utf-8")
    assert document.endswith("## Memory\n\nflat\n\n## Resume\n\nnew\n")
    assert document.startswith("# ")
    assert with_part(document, "Resume", "new") == document


def test_a_part_without_bars_has_no_gap() -> None:
    body = part(["About."], {"kernel": "6"}, [("a", "b"), ("1", "2")], [])
    assert body.startswith("About.\n\n| a | b |")
    assert body.endswith("|\n\nMachine: kernel: 6.")


def _names_and_sizes(path: Path) -> dict[tuple[str, ...], int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        opened = open_volume(
            FdSource(fd, path.stat().st_size), Password(Secret(PASSWORD)), allow_unencrypted=False
        )
        found = {}
        for entry in opened.ntfs.scan():
            assert not isinstance(entry, DamagedRecord)
            if entry.streams and not entry.is_system:
                stream = entry.streams[0]
                found[entry.path] = stream.size
                opened.ntfs.read_into(stream, max(0, stream.size - 512), memoryview(bytearray(512)))
        return found
    finally:
        os.close(fd)


@pytest.mark.parametrize("files", [1, 200, 1000])
def test_a_drive_has_as_many_files_as_it_says(tmp_path: Path, files: int) -> None:
    drive = images.many_files(tmp_path, files)
    sizes = _names_and_sizes(drive.path).values()
    assert (len(sizes), sum(sizes)) == (files, drive.file_bytes)


def test_a_large_file_takes_no_room_on_the_disk(tmp_path: Path) -> None:
    drive = images.one_file(tmp_path, 16 << 30)
    assert list(_names_and_sizes(drive.path).values()) == [16 << 30]
    assert drive.path.stat().st_blocks * 512 < 4 << 20


def test_an_image_is_kept_for_the_next_run_and_a_half_made_one_is_not(tmp_path: Path) -> None:
    path = images.many_files(tmp_path, 10).path
    made = path.stat().st_mtime_ns
    assert images.many_files(tmp_path, 10).path.stat().st_mtime_ns == made
    path.with_name(path.name + ".made").unlink()
    assert images.many_files(tmp_path, 10).path.stat().st_mtime_ns > made


def test_more_files_than_there_is_room_for_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        images.many_files(tmp_path, 20_000_000)
