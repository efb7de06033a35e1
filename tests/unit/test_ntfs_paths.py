"""Directories by number become paths: in whatever order they are seen and asked for, always the same."""

from __future__ import annotations

import io
import random
from collections.abc import Iterable

import pytest

from agent.errors import DriveError, StateUnusable
from agent.volume.ntfs import ORPHAN
from agent.volume.ntfs import tree as tree_module
from agent.volume.ntfs.scratch import MAX_PAGES, PAGE_BYTES, Scratch
from agent.volume.ntfs.tree import MAX_DEPTH, ROOT_RECORD, WAITING, Directory, DirectoryTree

_CHUNK = 8
_LIMIT = 5

Parents = dict[int, int]
"""Record number of a directory to that of its parent."""


def _reference(number: int, sequence: int = 1) -> int:
    return number | sequence << 48


def _name(number: int) -> str:
    return f"d{number}"


def _tree(record_count: int, file: io.BytesIO | None = None) -> DirectoryTree:
    return DirectoryTree(Scratch(file or io.BytesIO()), _CHUNK, record_count)


def _see(tree: DirectoryTree, parents: Parents, chunks: Iterable[int]) -> None:
    for chunk in chunks:
        numbers = (n for n in range(chunk * _CHUNK, (chunk + 1) * _CHUNK) if n in parents)
        tree.see([_directory(number, parents[number]) for number in numbers])


def _directory(number: int, parent: int) -> Directory:
    return Directory(number, 1, _reference(parent), _name(number).encode("utf-16-le"))


def _whole(*parents: tuple[int, int], count: int = 256) -> DirectoryTree:
    tree = _tree(count)
    _see(tree, dict(parents), range(-(-count // _CHUNK)))
    return tree


def _path(tree: DirectoryTree, number: int, sequence: int = 1) -> tuple[str, ...] | None:
    place = tree.place(_reference(number, sequence))
    assert place is not WAITING
    return None if place is None else place.path


def _model(parents: Parents, number: int, limit: int) -> tuple[str, ...]:
    """The path by its definition: every walk from the directory itself, nothing remembered."""
    own = (ORPHAN, str(number), _name(number))
    chain = [number]
    while len(chain) <= limit + 1:
        up = parents[chain[-1]]
        if up == ROOT_RECORD:
            return own if len(chain) > limit else tuple(map(_name, reversed(chain)))
        if up in chain or up not in parents:
            break
        chain.append(up)
    top = chain.index(up) if (up := parents[chain[-1]]) in chain else len(chain) - 1
    if len(chain) > limit or top == 0:
        return own
    return (ORPHAN, str(chain[top]), *map(_name, reversed(chain[: top + 1])))


def test_paths_run_from_the_root_down() -> None:
    tree = _whole((30, 5), (31, 30), (32, 31))
    assert _path(tree, 32) == ("d30", "d31", "d32")
    assert _path(tree, 5) == ()


def test_a_parent_that_is_gone_or_reused_makes_orphans() -> None:
    tree = _whole((31, 30), (32, 31))
    assert _path(tree, 32) == (ORPHAN, "31", "d31", "d32")
    assert _path(tree, 31, sequence=2) is None
    assert _path(tree, 99) is None
    assert _path(tree, 1 << 47) is None


def test_directories_in_a_circle_each_begin_a_path_and_keep_what_hangs_below() -> None:
    for first in (30, 31, 32, 33):
        tree = _whole((30, 32), (31, 30), (32, 31), (33, 31))
        _path(tree, first)
        assert _path(tree, 30) == (ORPHAN, "30", "d30")
        assert _path(tree, 32) == (ORPHAN, "32", "d32")
        assert _path(tree, 33) == (ORPHAN, "31", "d31", "d33")


@pytest.mark.parametrize("count", [MAX_DEPTH + 50, 5 * MAX_DEPTH])
def test_paths_that_are_too_deep_are_cut_the_same_whatever_is_asked_first(count: int) -> None:
    chain = [(100, 5), *((100 + index, 99 + index) for index in range(1, count))]
    for order in (range(count), reversed(range(count))):
        tree = _whole(*chain, count=count + 104)
        paths = {index: _path(tree, 100 + index) for index in order}
        deepest = paths[MAX_DEPTH - 1]
        assert deepest is not None
        assert len(deepest) == MAX_DEPTH
        assert all(paths[n] == (ORPHAN, f"{100 + n}", f"d{100 + n}") for n in range(MAX_DEPTH, count))


def test_paths_longer_than_windows_can_name_are_cut_the_same_whatever_is_asked_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tree_module, "MAX_PATH_CHARS", 8 * len("d100/"))
    chain = [(100, 5), *((100 + index, 99 + index) for index in range(1, 20))]
    for order in (range(20), reversed(range(20))):
        tree = _whole(*chain)
        paths = {index: _path(tree, 100 + index) for index in order}
        assert paths[7] == tuple(f"d{100 + index}" for index in range(8))
        assert all(paths[n] == (ORPHAN, f"{100 + n}", f"d{100 + n}") for n in range(8, 20))


def test_what_lies_below_extend_is_the_systems() -> None:
    tree = _whole((11, 5), (30, 11), (31, 5))
    places = {number: tree.place(_reference(number)) for number in (30, 31)}
    assert [place and place.is_system for place in places.values()] == [True, False]


def test_a_directory_waits_exactly_until_all_on_its_way_up_have_been_seen() -> None:
    parents = {6: 12, 12: 20, 20: 5, 7: 3, 13: 100}
    tree = _tree(24)
    _see(tree, parents, [0])
    assert tree.place(_reference(6)) is WAITING
    assert _path(tree, 7) is None or _path(tree, 7) == (ORPHAN, "7", "d7")
    _see(tree, parents, [1])
    assert tree.place(_reference(6)) is WAITING
    assert tree.place(_reference(12)) is WAITING
    assert _path(tree, 13) == (ORPHAN, "13", "d13"), "no record of that number will ever be seen"
    _see(tree, parents, [2])
    assert _path(tree, 6) == ("d20", "d12", "d6")


_LIMIT = 5


@pytest.mark.parametrize("cached", [0, 2000, 1 << 20])
def test_every_path_is_that_of_its_definition_in_any_order(
    monkeypatch: pytest.MonkeyPatch, cached: int
) -> None:
    monkeypatch.setattr(tree_module, "MAX_DEPTH", _LIMIT)
    monkeypatch.setattr(tree_module, "_MAX_WALK", 2 * _LIMIT)
    monkeypatch.setattr(tree_module, "MAX_CACHED_BYTES", cached)
    for seed in range(150):
        chance = random.Random(seed)
        parents = _forest(chance)
        tree = _tree(64)
        for chunk in range(8):
            _see(tree, parents, [chunk])
            for number in chance.sample(sorted(parents), min(len(parents), 10)):
                place = tree.place(_reference(number))
                if place is not WAITING and number < (chunk + 1) * _CHUNK:
                    assert place is not None
                    assert place.path == _model(parents, number, _LIMIT)
        for number in chance.sample(sorted(parents), len(parents)):
            assert _path(tree, number) == _model(parents, number, _LIMIT), (seed, number)


def _forest(chance: random.Random) -> Parents:
    """Long chains, some of which end at the root, some nowhere, and some in circles."""
    numbers = chance.sample(range(6, 64), chance.randrange(5, 58))
    parents = dict(zip(numbers, [*numbers[1:], ROOT_RECORD], strict=True))
    for number in chance.sample(numbers, chance.randrange(1, 1 + len(numbers) // 4)):
        parents[number] = chance.randrange(4, 64)
    return parents


def test_a_chain_that_leads_backwards_is_not_walked_again_for_each_of_its_directories() -> None:
    """Each record's parent is the next one: all wait until the last, and no walk is made twice."""
    count, chunk_records = 6400, 640
    parents = {number: number + 1 for number in range(100, count - 1)} | {count - 1: ROOT_RECORD}
    tree = DirectoryTree(Scratch(io.BytesIO()), chunk_records, count)
    steps = _Steps(tree)
    for first in range(0, count, chunk_records):
        here = [number for number in range(first, first + chunk_records) if number in parents]
        tree.see([_directory(number, parents[number]) for number in here])
        for number in here:
            tree.place(_reference(number))
    for number in parents:
        tree.place(_reference(number))
    assert count < steps.taken < 5 * count
    assert _path(tree, count - 2) == (_name(count - 1), _name(count - 2))


class _Steps:
    """Counts the directories that are looked up."""

    def __init__(self, tree: DirectoryTree) -> None:
        self.taken = 0
        inner = tree._directory

        def counted(number: int) -> Directory | None:
            self.taken += 1
            return inner(number)

        tree._directory = counted  # type: ignore[method-assign]


def test_what_was_appended_is_read_back_across_pages_and_after_eviction() -> None:
    scratch, chance, kept = Scratch(io.BytesIO()), random.Random(3), []
    for _ in range(400):
        data = chance.randbytes(chance.randrange(1, 3 * PAGE_BYTES))
        kept.append((scratch.append(data), data))
        start, known = chance.choice(kept)
        inside = chance.randrange(len(known))
        assert scratch.read(start + inside, len(known) - inside) == known[inside:]
    assert sum(len(data) for _, data in kept) > PAGE_BYTES * MAX_PAGES
    for start, data in kept:
        assert scratch.load(start, len(data)) == data
        assert scratch.read(start, len(data)) == data


class _Slow(io.BytesIO):
    """Takes and gives only a little at a time, as an unbuffered file may."""

    def write(self, data: object) -> int:
        return super().write(memoryview(data)[:7])  # type: ignore[arg-type]

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 0, 5))


def test_an_unbuffered_scratch_file_that_takes_less_than_it_is_given_holds_all() -> None:
    scratch = Scratch(_Slow())
    places = [scratch.append(bytes([number]) * 100) for number in range(100)]
    assert all(scratch.read(place, 100) == bytes([n]) * 100 for n, place in enumerate(places))


class _Full(io.BytesIO):
    def write(self, data: object) -> int:
        raise OSError(28, "No space left on device")


class _Cut(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        return b""


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (_Full(), "cannot be written: No space left on device"),
        (_Cut(), "cannot be read: it ends 4 bytes early"),
    ],
)
def test_a_scratch_file_that_fails_is_the_stations_trouble_and_named(file: io.BytesIO, said: str) -> None:
    scratch = Scratch(file)
    with pytest.raises(StateUnusable, match=said):
        scratch.read(scratch.append(b"rows"), 4)


class _Bounded(io.BytesIO):
    def write(self, data: object) -> int:
        raise OSError(27, "File too large")


def test_a_scratch_file_as_large_as_the_drive_allows_is_the_drives_trouble() -> None:
    with pytest.raises(DriveError, match="larger scratch file than its size allows"):
        Scratch(_Bounded()).append(b"rows")
