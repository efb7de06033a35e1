"""Descriptors as block sources: through the page cache and past it."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from agent.errors import DiskOperationFailed, UnreadableSectors
from agent.volume.block import (
    ALIGNMENT_BYTES,
    MAX_READ_AHEAD_BYTES,
    BytesSource,
    FdSource,
    SubSource,
    address_of,
    aligned_buffer,
    is_wish,
    read,
    read_ahead,
    wishing,
)
from agent.volume.direct import BOUNCE_BYTES, DirectSource, drive_source

_DATA = random.Random(11).randbytes(3 * BOUNCE_BYTES + 1000)


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "image"
    path.write_bytes(_DATA)
    opened = os.open(path, os.O_RDONLY)
    yield opened
    os.close(opened)


@pytest.fixture
def straight(fd: int) -> DirectSource:
    source = DirectSource(fd, len(_DATA))
    if not source.is_direct:
        pytest.skip("the file system of the temporary folder does not read directly")
    return source


def _is_direct(fd: int) -> bool:
    return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT)


class Preadv:
    """Stands before os.preadv: notes the calls, and answers the first ones as it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: Sequence[int | OSError] = ()) -> None:
        self.calls: list[tuple[int, int, int]] = []
        self._answers = list(answers)
        self._real = os.preadv
        monkeypatch.setattr(os, "preadv", self)

    def __call__(self, fd: int, buffers: list[memoryview], offset: int) -> int:
        self.calls.append((offset, len(buffers[0]), address_of(buffers[0])))
        answer = self._answers.pop(0) if self._answers else len(buffers[0])
        if isinstance(answer, OSError):
            raise answer
        return min(self._real(fd, buffers, offset), answer)


def _at(skew: int, length: int) -> memoryview:
    """A buffer that begins ``skew`` bytes after an aligned place."""
    return aligned_buffer(length + skew)[skew:]


def test_an_aligned_buffer_is_aligned_and_zero() -> None:
    for length in (1, 511, 4096, 1 << 19):
        buffer = aligned_buffer(length)
        assert (len(buffer), address_of(buffer) % ALIGNMENT_BYTES) == (length, 0)
        assert bytes(buffer) == bytes(length)


@pytest.mark.parametrize("skew", [0, 1, 16, 512, 1000])
def test_a_direct_read_of_any_range_into_any_buffer_gives_its_bytes(
    straight: DirectSource, skew: int
) -> None:
    chance = random.Random(skew)
    ranges = [(0, len(_DATA)), (1, len(_DATA) - 1), (512, 512), (511, 2), (len(_DATA) - 1, 1), (700, 0)]
    for _ in range(60):
        offset = chance.randrange(len(_DATA))
        length = chance.choice([chance.randrange(5000), chance.randrange(2 * BOUNCE_BYTES)])
        ranges.append((offset, min(length, len(_DATA) - offset)))
    for offset, length in ranges:
        buffer = _at(skew, length)
        straight.read_into(offset, buffer)
        assert buffer == _DATA[offset : offset + length], (offset, length)
    assert straight.is_direct


def test_an_aligned_read_goes_straight_into_the_callers_buffer(
    straight: DirectSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = Preadv(monkeypatch)
    buffer = aligned_buffer(BOUNCE_BYTES * 2)
    straight.read_into(4096, buffer)
    assert system.calls == [(4096, len(buffer), address_of(buffer))]


def test_only_the_ragged_ends_take_the_detour(
    straight: DirectSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = Preadv(monkeypatch)
    buffer = _at(100, 10_000)
    straight.read_into(100, buffer)
    assert [call[:2] for call in system.calls] == [(0, 512), (512, 9216), (9728, 512)]
    assert system.calls[1][2] == address_of(buffer) + 412


def test_a_buffer_that_lies_askew_is_read_through_aligned_memory(
    straight: DirectSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = Preadv(monkeypatch)
    straight.read_into(512, _at(1, 2 * BOUNCE_BYTES))
    assert [call[:2] for call in system.calls] == [(512, BOUNCE_BYTES), (512 + BOUNCE_BYTES, BOUNCE_BYTES)]
    assert all(address % 512 == 0 for _, _, address in system.calls)


@pytest.mark.parametrize("skew", [0, 1])
def test_short_reads_are_gone_on_with(
    straight: DirectSource, monkeypatch: pytest.MonkeyPatch, skew: int
) -> None:
    system = Preadv(monkeypatch, [512, 1024, 4096])
    buffer = _at(skew, 20_000)
    straight.read_into(1024, buffer)
    assert buffer == _DATA[1024:21_024]
    assert len(system.calls) >= 4


@pytest.mark.parametrize("skew", [0, 1])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENODATA])
def test_an_error_in_the_middle_is_named_from_where_it_is(
    straight: DirectSource, monkeypatch: pytest.MonkeyPatch, skew: int, code: int
) -> None:
    Preadv(monkeypatch, [4096, OSError(code, os.strerror(code))])
    with pytest.raises(UnreadableSectors, match=os.strerror(code)) as caught:
        straight.read_into(8192, _at(skew, 65_536))
    assert (caught.value.offset, caught.value.length) == (12_288, 61_440)
    assert straight.is_direct


@pytest.mark.parametrize("skew", [0, 1])
@pytest.mark.parametrize("got", [4096, 700])
def test_a_device_that_ends_early_is_unreadable_from_there(
    straight: DirectSource, monkeypatch: pytest.MonkeyPatch, skew: int, got: int
) -> None:
    Preadv(monkeypatch, [got, 0])
    with pytest.raises(UnreadableSectors, match="ended early") as caught:
        straight.read_into(0, _at(skew, 65_536))
    assert caught.value.offset == got


def test_a_descriptor_that_refuses_at_once_is_read_through_the_cache(
    fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    Preadv(monkeypatch, [OSError(errno.EINVAL, "Invalid argument")])
    source = DirectSource(fd, len(_DATA))
    assert not source.is_direct
    assert not _is_direct(fd)
    assert read(source, 1, 10_000) == _DATA[1:10_001]


def test_a_descriptor_that_refuses_later_is_read_through_the_cache_from_then_on(
    straight: DirectSource, fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _is_direct(fd)
    Preadv(monkeypatch, [4096, OSError(errno.EINVAL, "Invalid argument")])
    buffer = _at(0, 20_000)
    straight.read_into(0, buffer)
    assert buffer == _DATA[:20_000]
    assert not straight.is_direct
    assert not _is_direct(fd)


def test_a_descriptor_whose_first_sector_is_bad_is_still_read_directly(
    fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    Preadv(monkeypatch, [OSError(errno.EIO, "Input/output error")])
    assert DirectSource(fd, len(_DATA)).is_direct


def test_a_pipe_is_no_drive_and_no_crash() -> None:
    ours, theirs = os.pipe()
    try:
        source = DirectSource(ours, 4096)
        with pytest.raises(UnreadableSectors, match="Illegal seek"):
            read(source, 0, 10)
        FdSource(ours, 4096).read_ahead(0, 100)
    finally:
        os.close(ours)
        os.close(theirs)


def test_an_image_file_keeps_the_page_cache(fd: int) -> None:
    source = drive_source(fd, len(_DATA))
    assert not source.is_direct
    assert read(source, 5, 1000) == _DATA[5:1005]
    assert not _is_direct(fd)


def test_threads_share_a_direct_source(straight: DirectSource) -> None:
    wrong: list[tuple[int, int]] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(150):
            offset = chance.randrange(len(_DATA))
            length = min(chance.randrange(60_000), len(_DATA) - offset)
            if read(straight, offset, length) != _DATA[offset : offset + length]:
                wrong.append((offset, length))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_read_outside_is_refused_and_never_asked(
    straight: DirectSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = Preadv(monkeypatch)
    for offset, length in ((len(_DATA), 1), (-1, 1), (len(_DATA) - 511, 512)):
        with pytest.raises(DiskOperationFailed, match="ends at"):
            read(straight, offset, length)
    assert not system.calls


def test_a_hint_to_read_ahead_is_bounded_and_reaches_the_descriptor(
    fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    advice: list[tuple[int, int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _, *told: advice.append(told))
    source = FdSource(fd, 1 << 40)
    assert advice == [(0, 0, os.POSIX_FADV_SEQUENTIAL)]
    advice.clear()
    part = SubSource(source, 1 << 20, 1 << 39)
    read_ahead(part, 4096, 1 << 30)
    read_ahead(part, (1 << 39) - 100, 1 << 20)
    for offset, length in ((-1, 10), (1 << 39, 10), (0, 0), (0, -5)):
        read_ahead(part, offset, length)
    read_ahead(BytesSource(b"nothing to hint at"), 0, 10)
    assert advice == [
        ((1 << 20) + 4096, MAX_READ_AHEAD_BYTES, os.POSIX_FADV_WILLNEED),
        ((1 << 20) + (1 << 39) - 100, 100, os.POSIX_FADV_WILLNEED),
    ]


def test_a_hint_that_the_system_refuses_is_no_error(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "posix_fadvise", refuse)
    source = FdSource(fd, len(_DATA))
    source.read_ahead(0, 4096)
    assert read(source, 0, 100) == _DATA[:100]


def test_a_wish_is_the_threads_own_and_ends() -> None:
    seen = []
    with wishing():
        assert is_wish()
        with wishing():
            pass
        assert is_wish()
        thread = threading.Thread(target=lambda: seen.append(is_wish()))
        thread.start()
        thread.join()
    assert not is_wish()
    assert seen == [False]
    with pytest.raises(KeyError), wishing():
        raise KeyError
    assert not is_wish()
