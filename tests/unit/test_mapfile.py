"""What is known of a drive's bytes, and how it is told to ddrescue."""

from __future__ import annotations

import random
import shutil
import subprocess
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from agent.errors import MalformedInput
from agent.volume.drivemap import TROUBLE, DriveMap, State
from agent.volume.mapfile import parse, to_text

_SIZE = 200
_STATES = some.sampled_from(list(State))
_PLACES = some.integers(0, _SIZE)
_CELLS = some.integers(0, 4).map(lambda cell: cell * 40)
_MARKS = some.one_of(
    some.lists(some.tuples(_PLACES, _PLACES, _STATES)),
    # On a grid, so that ranges touch.
    some.lists(some.tuples(_CELLS, some.sampled_from([40, 80]), _STATES), min_size=8),
)
_CRUMBS = some.lists(some.tuples(_PLACES, some.integers(1, 4), _STATES), min_size=40)


def _letters(drive: DriveMap) -> str:
    return "".join(each.state * each.length for each in drive.stretches())


def _marked(marks: list[tuple[int, int, State]], drive: DriveMap) -> str:
    letters = "?" * _SIZE
    for at, length, state in marks:
        length = min(length, _SIZE - at)
        drive.mark(at, length, state)
        letters = letters[:at] + state * length + letters[at + length :]
    return letters


@given(_MARKS, some.integers(0, _SIZE), some.integers(0, _SIZE))
def test_a_map_says_of_every_byte_what_was_marked_last(
    marks: list[tuple[int, int, State]], at: int, length: int
) -> None:
    drive = DriveMap(_SIZE, max_ranges=1000)
    letters = _marked(marks, drive)
    assert _letters(drive) == letters
    states = [each.state for each in drive.stretches()]
    assert all(one is not other for one, other in pairwise(states))
    cut = letters[at : at + length]
    assert "".join(piece.state * piece.length for piece in drive.pieces(at, length)) == cut
    assert drive.overlaps(at, length) == any(letter in "*/-" for letter in cut)
    assert drive.is_clean == (not set(letters) & set("*/-"))
    assert {state: drive.total_bytes(state) for state in State} == {s: letters.count(s) for s in State}


@given(_CRUMBS)
def test_a_coarse_map_is_bounded_and_never_calls_readable_what_is_not_known_to_be(
    marks: list[tuple[int, int, State]],
) -> None:
    drive = DriveMap(_SIZE, max_ranges=16)
    exact = _marked(marks, DriveMap(_SIZE, max_ranges=1000))
    _marked(marks, drive)
    assert drive.range_count <= 16
    for known, said in zip(exact, _letters(drive), strict=True):
        if said == "+":
            assert known == "+"
        if known in "*/-":
            assert said in "*/-"
        if said == "-":
            assert known == "-"


def test_a_map_that_coarsens_says_so() -> None:
    drive = DriveMap(1 << 30, max_ranges=100)
    for at in range(0, 1 << 20, 4096):
        drive.mark(at, 512, State.BAD_SECTOR)
    assert drive.range_count <= 100
    (remark,) = drive.remarks
    assert remark == "troubled ranges up to 3584 bytes apart are shown as one"
    assert f"# {remark}\n" in to_text(drive)
    assert drive.overlaps(5 * 4096, 512)


def test_finished_ranges_are_forgotten_before_trouble_is_blurred() -> None:
    drive = DriveMap(1 << 30, max_ranges=100)
    drive.mark(1 << 29, 512, State.BAD_SECTOR)
    for at in range(0, 1 << 20, 4096):
        drive.mark(at, 512 + at % 3, State.FINISHED)
    assert drive.range_count <= 100
    assert list(drive.ranges(*TROUBLE)) == [(1 << 29, 512)]
    assert len(drive.remarks) == 1
    assert "shown as non-tried" in drive.remarks[0]


def test_a_sweep_of_reads_is_one_range() -> None:
    drive = DriveMap(1 << 40)
    for at in range(0, 1 << 30, 1 << 20):
        drive.mark(at, 1 << 20, State.FINISHED)
    assert list(drive.ranges(State.FINISHED)) == [(0, 1 << 30)]
    assert drive.range_count == 2


@pytest.mark.parametrize(("start", "length"), [(-1, 1), (0, 201), (200, 1), (0, -1)])
def test_a_range_outside_the_drive_is_a_bug_of_the_caller(start: int, length: int) -> None:
    with pytest.raises(ValueError, match="of a map of 200"):
        DriveMap(_SIZE).mark(start, length, State.FINISHED)


@given(_MARKS)
def test_a_mapfile_that_is_read_back_tells_the_same(marks: list[tuple[int, int, State]]) -> None:
    drive = DriveMap(_SIZE, max_ranges=1000)
    letters = _marked(marks, drive)
    assert _letters(parse(to_text(drive, show_finished=True), _SIZE)) == letters
    assert _letters(parse(to_text(drive), _SIZE)) == letters.replace("+", "?")


def test_a_mapfile_has_the_form_of_the_manual() -> None:
    drive = DriveMap(0x120000)
    drive.mark(0, 0x117000, State.FINISHED)
    drive.mark(0x117000, 0x200, State.BAD_SECTOR)
    assert to_text(drive, ["drive A\nB \ud800"], show_finished=True) == (
        "# Mapfile. Created by drive-ingest-agent\n"
        "# drive A B \\ud800\n"
        "# current_pos  current_status  current_pass\n"
        "0x00000000     ?               1\n"
        "#      pos        size  status\n"
        "0x00000000  0x00117000  +\n"
        "0x00117000  0x00000200  -\n"
        "0x00117200  0x00008E00  ?\n"
    )


def test_a_mapfile_in_other_notations_is_understood() -> None:
    text = "# a comment\n010 F\n\n0x0 8 + # read\n8 0X10 *\n030 10 /\n34 6 -\n40 0xFFFF ?\n"
    assert _letters(parse(text, 50)) == "+" * 8 + "*" * 16 + "/" * 10 + "-" * 6 + "?" * 10


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no ranges"),
        ("0x0 ? 1\n", "no ranges"),
        ("0x0 x 1\n0 1 ?\n", "line 1 of the mapfile is no status line"),
        ("0 5 +\n", "line 1 of the mapfile is no status line"),
        ("0 ? 1\n0 5\n", "line 2 of the mapfile is not position, size and one of"),
        ("0 ? 1\n0 5 !\n", "line 2 of the mapfile is not position, size and one of"),
        ("0 ? 1\n0 -5 +\n", "line 2 of the mapfile has no number"),
        ("0 ? 1\n0 0x +\n", "line 2 of the mapfile has no number"),
        ("0 ? 1\n0 09 +\n", "line 2 of the mapfile has no number"),
        ("0 ? 1\n0 1_0 +\n", "line 2 of the mapfile has no number"),
        ("0 ? 1\n0 ٣ +\n", "line 2 of the mapfile has no number"),
        ("0 ? 1\n0 " + "9" * 5000 + " +\n", "line 2 of the mapfile has no number"),
        ("0 ? 1\n0 0 +\n", "line 2 of the mapfile has a range of 0 bytes"),
        ("0 ? 1\n0 0x8000000000000000 ?\n", "line 2 of the mapfile has a range of"),
        ("0 ? 1\n0 5 +\n6 5 -\n", "line 3 of the mapfile begins at 6; the one before ends at 5"),
        ("0 ? 1\n0 5 +\n4 5 -\n", "line 3 of the mapfile begins at 4; the one before ends at 5"),
        ("0 ? 1\n0 51 +\n", "line 2 of the mapfile reaches to byte 51 of a drive of 50"),
    ],
)
def test_a_mapfile_that_is_none_is_refused_by_line(text: str, why: str) -> None:
    with pytest.raises(MalformedInput, match=why):
        parse(text, 50)


@given(some.text(alphabet="0123456789xX?*/-+F# \n\t", max_size=200))
def test_any_text_is_a_map_or_malformed(text: str) -> None:
    with suppress(MalformedInput):
        assert len(_letters(parse(text, 50))) == 50


needs_ddrescue = pytest.mark.skipif(
    shutil.which("ddrescuelog") is None, reason="GNU ddrescue is not installed (Debian: gddrescue)"
)


def _run(*command: str | Path) -> str:
    # ddrescuelog ends with 1 when a map is not all finished.
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


@needs_ddrescue
def test_ddrescuelog_finds_the_bad_sectors_of_our_map(tmp_path: Path) -> None:
    drive = DriveMap(10 << 40)
    chance = random.Random(3)
    bad = sorted(chance.sample(range(1 << 30), 50))
    for sector in bad:
        drive.mark(sector * 512, 512, State.BAD_SECTOR)
    drive.mark(9 << 40, 1 << 20, State.NON_TRIMMED)
    drive.mark(9 << 40 | 1 << 30, 1 << 19, State.NON_SCRAPED)
    drive.mark(8 << 40, 1 << 30, State.FINISHED)
    path = tmp_path / "drive.map"
    path.write_text(to_text(drive, ["job 1", "a # in a remark"], show_finished=True))
    assert [int(line) for line in _run("ddrescuelog", "-b512", "-l-", path).split()] == bad
    assert _run("ddrescuelog", "-b512", "-l*", path).split()[0] == str((9 << 40) // 512)
    totals = _run("ddrescuelog", "--show-status", path)
    assert "bad-sector:    25600 B" in totals
    path.write_text(to_text(drive))
    assert "rescued:        0 B" in _run("ddrescuelog", "--show-status", path)


@needs_ddrescue
def test_ddrescue_goes_on_from_our_map_and_copies_every_byte_of_the_drive(tmp_path: Path) -> None:
    data = random.Random(4).randbytes(1_000_000)
    source, image, path = tmp_path / "drive", tmp_path / "image", tmp_path / "map"
    source.write_bytes(data)
    drive = DriveMap(len(data))
    drive.mark(0, 500_000, State.FINISHED)
    drive.mark(600_064, 512, State.BAD_SECTOR)
    path.write_text(to_text(drive))
    _run("ddrescue", "--retry-passes=1", source, image, path)
    assert image.read_bytes() == data
    assert _letters(parse(path.read_text(), len(data))) == "+" * len(data)
