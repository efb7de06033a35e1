"""Reading a drive with bad sectors."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as some

from agent.errors import DiskOperationFailed, UnreadableSectors
from agent.volume.block import BytesSource, SubSource, read, wishing
from agent.volume.drivemap import DriveMap, State
from agent.volume.mapfile import parse
from agent.volume.rescue import RescueSource
from agent.volume.spending import Budget
from agent.volume.window import WindowCache
from tests.kit.faults import FaultySource, VirtualClock

_DATA = random.Random(7).randbytes(256 * 512)


def _drive(faults: str, block_bytes: int = 512, **how: object) -> FaultySource:
    return FaultySource(BytesSource(_DATA), faults, block_bytes, **how)  # type: ignore[arg-type]


def _rescue(drive: FaultySource, *, retrying: bool, **budget: float) -> RescueSource:
    source = RescueSource(drive, drive.clock, Budget(**budget), threading.Lock())  # type: ignore[arg-type]
    source.retrying = retrying
    return source


def _letters(source: RescueSource, start: int = 0, sectors: int = 16) -> str:
    return "".join(p.state * (p.length // 512) for p in source.bad.pieces(start, sectors * 512))


def _fails(read_it: Callable[[], object]) -> UnreadableSectors:
    with pytest.raises(UnreadableSectors) as caught:
        read_it()
    return caught.value


# -- the first sweep ------------------------------------------------------------------------------


def test_in_the_first_sweep_a_failing_read_is_noted_and_not_tried_again() -> None:
    drive = _drive("....E...")
    source = _rescue(drive, retrying=False)
    error = _fails(lambda: read(source, 0, 4096))
    assert (error.offset, error.length) == (2048, 512)
    assert len(drive.asked) == 1
    assert _letters(source) == "????*" + "?" * 11


def test_in_the_first_sweep_a_read_that_touches_what_is_noted_does_not_ask_the_drive() -> None:
    drive = _drive("....O...", names_block=False)
    source = _rescue(drive, retrying=False)
    _fails(lambda: read(source, 1024, 2048))
    asked = len(drive.asked)
    for offset, length in ((1024, 512), (0, 8192), (3071, 1), (2048, 512)):
        error = _fails(lambda offset=offset, length=length: read(source, offset, length))  # type: ignore[misc]
        assert "to be tried again later" in error.detail
        assert max(offset, 1024) == error.offset
        assert error.offset + error.length == min(offset + length, 3072)
    assert len(drive.asked) == asked
    assert read(source, 0, 1024) == _DATA[:1024]
    assert read(source, 3072, 1024) == _DATA[3072:4096]
    assert _letters(source) == "++****++" + "?" * 8


def test_what_was_read_before_stays_finished_when_a_larger_read_fails() -> None:
    drive = _drive("....E...", names_block=False)
    source = _rescue(drive, retrying=False)
    assert read(source, 512, 1024) == _DATA[512:1536]
    _fails(lambda: read(source, 0, 4096))
    assert _letters(source, sectors=8) == "*++*****"
    assert read(source, 512, 1024) == _DATA[512:1536]
    drive = _drive("........", names_block=False)
    source = _rescue(drive, retrying=False)
    assert read(source, 0, 4096) == _DATA[:4096]
    drive.gone = True
    _fails(lambda: read(source, 512, 512))
    assert _letters(source, sectors=8) == "+*++++++"


def test_what_fails_is_noted_in_whole_sectors() -> None:
    source = _rescue(_drive("..E", names_block=False), retrying=False)
    _fails(lambda: read(source, 1100, 10))
    assert _letters(source, sectors=4) == "??*?"
    _fails(lambda: read(source, 1024, 1))


def test_a_short_last_sector_can_be_bad_too() -> None:
    drive = FaultySource(BytesSource(_DATA[:1300]), "..E", 512)
    source = RescueSource(drive, drive.clock)
    error = _fails(lambda: read(source, 1100, 200))
    assert (error.offset, error.length) == (1100, 200)
    assert list(source.bad.ranges(State.BAD_SECTOR)) == [(1024, 276)]


def test_a_read_outside_the_drive_is_refused_and_not_noted() -> None:
    drive = _drive("")
    with pytest.raises(DiskOperationFailed, match="ends at 131072"):
        read(_rescue(drive, retrying=True), len(_DATA), 1)
    assert not drive.asked


# -- reading anew ---------------------------------------------------------------------------------


@pytest.mark.parametrize("names_block", [True, False])
def test_a_bad_sector_is_found_tried_as_often_as_stated_and_never_asked_for_again(names_block: bool) -> None:
    drive = _drive("." * 100 + "E", names_block=names_block)
    source = _rescue(drive, retrying=True, sector_tries=3)
    error = _fails(lambda: read(source, 0, len(_DATA)))
    assert (error.offset, error.length) == (51_200, 512)
    assert "bad sector, tried 3 times" in error.detail
    assert [at for at in drive.failed if at == (51_200, 512)] == [(51_200, 512)] * 3
    assert len(drive.failed) <= 5
    assert list(source.bad.ranges(State.BAD_SECTOR)) == [(51_200, 512)]
    asked = len(drive.asked)
    _fails(lambda: read(source, 51_000, 300))
    _fails(lambda: read(source, 0, len(_DATA)))
    assert len(drive.asked) == asked
    assert read(source, 51_712, 1000) == _DATA[51_712:52_712]


@pytest.mark.parametrize("names_block", [True, False])
def test_what_can_be_read_at_the_third_try_is_read(names_block: bool) -> None:
    drive = _drive("..R...R", names_block=names_block, readable_at=3)
    source = _rescue(drive, retrying=True)
    assert read(source, 0, len(_DATA)) == _DATA
    assert source.bad.is_clean
    assert source.bad.total_bytes(State.FINISHED) == len(_DATA)


def test_the_last_sweep_reads_what_the_first_one_noted() -> None:
    drive = _drive("..O.E...", names_block=False)
    source = _rescue(drive, retrying=False)
    _fails(lambda: read(source, 0, 4096))
    _fails(lambda: read(source, 0, 1024))
    source.retrying = True
    assert read(source, 0, 2048) == _DATA[:2048]
    error = _fails(lambda: read(source, 0, 4096))
    assert (error.offset, error.length) == (2048, 512)
    assert _letters(source, sectors=8) == "++++-+++"


def test_where_an_error_names_the_place_the_rest_is_read_in_one_piece() -> None:
    drive = _drive("." * 10 + "E", readable_at=2)
    source = _rescue(drive, retrying=True)
    source.bad.mark(0, 256 * 512, State.NON_TRIMMED)
    _fails(lambda: read(source, 0, 16 * 512))
    assert drive.asked == [(at * 512, 512) for at in (*range(10), 10, 10, *range(10, 16))]
    assert _letters(source) == "+" * 10 + "-" + "+" * 5
    drive = _drive("." * 10 + "R" + "." * 5, readable_at=2)
    source = _rescue(drive, retrying=True)
    source.bad.mark(0, 256 * 512, State.NON_TRIMMED)
    assert read(source, 0, 256 * 512) == _DATA[: 256 * 512]
    assert drive.asked[:4] == [(0, 8192), (0, 5120), (5120, 512), (5632, 2560)]
    assert len(drive.asked) == 16 + 3


def test_a_read_with_several_bad_ranges_tells_how_many_and_how_much() -> None:
    source = _rescue(_drive(".EE...E"), retrying=True)
    _fails(lambda: read(source, 0, 4096))
    for _ in range(3):
        error = _fails(lambda: read(source, 0, 8192))
    assert (error.offset, error.length) == (512, 512)
    source.retrying = False
    noted = _rescue(_drive(".EE...E", names_block=False), retrying=False)
    _fails(lambda: read(noted, 0, 4096))
    noted.retrying = True
    error = _fails(lambda: read(noted, 0, 4096))
    assert (error.offset, error.length) == (512, 1024)
    assert "2 such ranges, 1536 bytes in all, in this read" in error.detail


@given(
    some.text(alphabet=".EOR", max_size=64),
    some.integers(0, 40_000),
    some.integers(1, 40_000),
    some.sampled_from([512, 1024, 4096]),
    some.booleans(),
    some.booleans(),
)
def test_reading_anew_gives_the_bytes_of_the_drive_or_names_what_is_bad(
    faults: str, offset: int, length: int, block_bytes: int, names_block: bool, first_sweep: bool
) -> None:
    drive = _drive(faults, block_bytes, names_block=names_block)
    source = _rescue(drive, retrying=not first_sweep)
    lost = [
        sector
        for sector in range(offset // 512, -(-(offset + length) // 512))
        if faults[sector * 512 // block_bytes :][:1] == "E"
    ]
    if first_sweep:
        for at in range(0, 65_536, 7000):
            with suppress(UnreadableSectors):
                assert read(source, at, 7000) == _DATA[at : at + 7000]
        source.retrying = True
    if not lost:
        assert read(source, offset, length) == _DATA[offset : offset + length]
        return
    for _ in range(3):
        error = _fails(lambda: read(source, offset, length))
        assert offset <= error.offset < error.offset + error.length <= offset + length
        assert error.offset // 512 in lost
    bad = {s // 512 + n for s, size in source.bad.ranges(State.BAD_SECTOR) for n in range(size // 512)}
    assert bad & set(range(offset // 512, -(-(offset + length) // 512))) <= set(lost)
    assert error.offset // 512 in bad


def test_a_wish_is_not_tried_again_even_in_the_last_sweep() -> None:
    drive = _drive("....E...", names_block=False)
    source = _rescue(drive, retrying=True)
    with wishing():
        _fails(lambda: read(source, 0, 4096))
        _fails(lambda: read(source, 0, 512))
    assert len(drive.asked) == 1
    assert read(source, 0, 2048) == _DATA[:2048]
    assert _letters(source, sectors=8) == "++++****"


def test_a_cache_above_it_presses_the_drive_only_for_what_is_wanted() -> None:
    drive = _drive("." * 17 + "E", names_block=False)
    source = _rescue(drive, retrying=True)
    cache = WindowCache(SubSource(source, 0, source.size_bytes), 16_384)
    assert read(cache, 8192, 512) == _DATA[8192:8704]
    assert read(cache, 9216, 512) == _DATA[9216:9728]
    assert len(drive.failed) == 1
    _fails(lambda: read(cache, 8600, 200))
    assert len(drive.failed) == 4
    assert list(source.bad.ranges(State.BAD_SECTOR)) == [(17 * 512, 512)]


def test_a_cache_above_it_does_not_ask_for_a_noted_window_in_the_first_sweep() -> None:
    drive = _drive("." * 17 + "E", names_block=False)
    source = _rescue(drive, retrying=False)
    cache = WindowCache(source, 16_384)
    for offset in range(0, 16_384, 512):
        _fails(lambda offset=offset: read(cache, offset, 512))  # type: ignore[misc]
    assert len(drive.asked) == 1
    assert read(cache, 16_384, 512) == _DATA[16_384:16_896]


# -- time -----------------------------------------------------------------------------------------

_REGION = 32 * 512


def test_a_region_that_used_up_its_time_is_given_up_and_the_next_is_not() -> None:
    drive = _drive("E" * 32 + "." * 4 + "E", failing_s=7.0)
    source = _rescue(drive, retrying=True, region_s=30.0, region_bytes=_REGION)
    error = _fails(lambda: read(source, 0, 8192))
    assert "bad sector" in error.detail
    error = _fails(lambda: read(source, 8192, 8192))
    assert "time budget used up: 3" in error.detail
    assert "in this region" in error.detail
    assert source.spent_s <= 30.0 * 2 + 7.0
    failed = len(drive.failed)
    _fails(lambda: read(source, 8192, 500))
    assert len(drive.failed) == failed
    assert read(source, _REGION, 2048) == _DATA[_REGION : _REGION + 2048]
    error = _fails(lambda: read(source, _REGION + 2048, 512))
    assert "bad sector" in error.detail
    assert _letters(source, 0, 18) == "-" + "?" * 15 + "/?"


def test_a_fresh_read_of_a_region_whose_time_is_used_up_once_is_still_made() -> None:
    drive = _drive("E", failing_s=16.0)
    source = _rescue(drive, retrying=False, region_s=30.0, region_bytes=_REGION)
    for _ in range(2):
        _fails(lambda: read(source, 0, 512))
    source.retrying = True
    _fails(lambda: read(source, 0, 512))
    assert source.spent_s == 32.0
    assert read(source, 512, 1024) == _DATA[512:1536]


@pytest.mark.parametrize("retrying", [True, False])
def test_a_dying_drive_costs_bounded_time(retrying: bool) -> None:
    drive = _drive("E" * 256, failing_s=10.0, names_block=False)
    source = _rescue(drive, retrying=retrying, drive_s=100.0, region_s=45.0, region_bytes=_REGION)
    for sweep in (retrying, True):
        source.retrying = sweep
        for offset in range(0, len(_DATA), 2048):
            _fails(lambda offset=offset: read(source, offset, 2048))  # type: ignore[misc]
    assert drive.clock() <= 200.0
    assert source.bad.total_bytes(State.NON_TRIED) == 0
    error = _fails(lambda: read(source, len(_DATA) - 512, 512))
    assert "of failing reads on this drive" in error.detail


def test_a_hopeless_drive_refuses_what_was_read_before_and_does_not_hang() -> None:
    drive = _drive("....EEEE", failing_s=10.0)
    source = _rescue(drive, retrying=True, drive_s=5.0)
    assert read(source, 0, 2048) == _DATA[:2048]
    for sector in range(4, 8):
        _fails(lambda sector=sector: read(source, sector * 512, 512))  # type: ignore[misc]
    error = _fails(lambda: read(source, 0, 2048))
    assert "time budget used up" in error.detail


def test_good_reads_cost_nothing_however_slow() -> None:
    drive = _drive("S" * 256, slow_s=1000.0)
    source = _rescue(drive, retrying=False)
    assert read(source, 0, len(_DATA)) == _DATA
    assert source.spent_s == 0.0
    assert drive.clock() == 256_000.0


@pytest.mark.parametrize(
    "wrong", [{"drive_s": -1.0}, {"region_s": -1.0}, {"region_bytes": 0}, {"sector_tries": 0}]
)
def test_a_budget_is_one(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="no budget"):
        Budget(**wrong)  # type: ignore[arg-type]


# -- a drive that is away -------------------------------------------------------------------------


@pytest.mark.parametrize("retrying", [True, False])
def test_a_pulled_drive_leaves_no_bad_sectors_and_no_time_spent(retrying: bool) -> None:
    drive = _drive(".E..G", failing_s=0.25)
    source = _rescue(drive, retrying=retrying)
    _fails(lambda: read(source, 0, 1024))
    assert read(source, 1024, 1024) == _DATA[1024:2048]
    before, spent = _letters(source), source.spent_s
    for offset in range(2048, 8192, 1024):
        _fails(lambda offset=offset: read(source, offset, 1024))  # type: ignore[misc]
    why = source.why_gone()
    assert why is not None
    assert "no such device" in why
    assert _letters(source) == before
    assert source.spent_s == spent
    drive.gone = False
    assert source.why_gone() is None
    assert read(source, 4096, 4096) == _DATA[4096:8192]


def test_a_drive_with_bad_sectors_is_there() -> None:
    drive = _drive("E..EE", failing_s=1.0)
    source = _rescue(drive, retrying=True)
    assert source.why_gone() is None
    assert not drive.asked
    assert read(source, 512, 1024) == _DATA[512:1536]
    for sector in (0, 3, 4):
        _fails(lambda sector=sector: read(source, sector * 512, 512))  # type: ignore[misc]
    assert source.why_gone() is None
    asked = len(drive.asked)
    assert source.why_gone() is None
    assert len(drive.asked) == asked
    source.forget_since_last_good()
    assert _letters(source, sectors=5) == "-++--"
    assert source.spent_s == 12.0


def test_a_probe_asks_the_drive_whatever_is_noted_and_notes_nothing() -> None:
    drive = _drive(".E")
    source = _rescue(drive, retrying=False)
    _fails(lambda: read(source, 0, 1024))
    _fails(lambda: source.probe(600))
    assert drive.asked[-1] == (512, 512)
    assert _letters(source, sectors=2) == "?*"
    source.probe(0)
    assert _letters(source, sectors=2) == "?*"


def test_a_read_that_was_under_way_when_the_drive_went_settles_nothing() -> None:
    """Its success was won before the failure, and only comes in after it."""
    inner = _drive("")
    away = _drive("G")

    class Between(BytesSource):
        def read_into(self, offset: int, buffer: memoryview) -> None:
            if offset == 512:
                inner.clock.now_s += 1.0
                _fails(lambda: source.read_into(0, memoryview(bytearray(512))))
                inner.clock.now_s += 1.0
            (away if offset == 0 else inner).read_into(offset, buffer)

    source = RescueSource(Between(_DATA), inner.clock)
    source.retrying = False
    assert read(source, 512, 512) == _DATA[512:1024]
    assert _letters(source, sectors=2) == "*+"
    source.forget_since_last_good()
    assert _letters(source, sectors=2) == "?+"


def test_a_drive_that_was_away_for_a_moment_has_recovered_and_its_ranges_are_forgotten() -> None:
    drive = _drive(".E")
    source = _rescue(drive, retrying=True)
    _fails(lambda: read(source, 0, 4096))
    assert not source.recovered()
    drive.gone = True
    _fails(lambda: read(source, 2048, 4096))
    drive.gone = False
    assert read(source, 8192, 512) == _DATA[8192:8704]
    assert source.why_gone() is None
    assert set(_letters(source, 2048, 8)) == {"-"}
    assert source.recovered()
    assert _letters(source, 512, 1) == "-"
    assert read(source, 2048, 4096) == _DATA[2048:6144]
    assert not source.recovered()


def test_what_retries_could_read_is_no_recovery() -> None:
    source = _rescue(_drive("..R..."), retrying=True)
    assert read(source, 0, 4096) == _DATA[:4096]
    assert not source.recovered()


def test_looking_for_recovery_takes_bounded_time() -> None:
    drive = _drive("E" * 256, failing_s=1.0)
    source = _rescue(drive, retrying=True, region_s=10.0, region_bytes=4096, sector_tries=1)
    for sector in range(0, 256, 2):
        _fails(lambda sector=sector: read(source, sector * 512, 512))  # type: ignore[misc]
    before = drive.clock()
    assert not source.recovered()
    assert drive.clock() - before <= 12.0


# -- the map --------------------------------------------------------------------------------------


def test_the_next_visit_goes_on_with_the_map_of_the_last() -> None:
    first = _rescue(_drive("..E.O..."), retrying=True)
    _fails(lambda: read(first, 0, 4096))
    text = first.to_mapfile(["drive WD-1"])
    assert "# drive WD-1\n" in text
    drive = _drive("........")
    second = RescueSource(drive, drive.clock, known=parse(text, len(_DATA)))
    error = _fails(lambda: read(second, 1024, 512))
    assert (error.offset, error.length) == (1024, 512)
    assert not drive.asked
    assert read(second, 1536, 512) == _DATA[1536:2048]


def test_a_map_of_another_drive_is_refused() -> None:
    with pytest.raises(ValueError, match="a map of 4096 bytes"):
        RescueSource(_drive(""), VirtualClock(), known=DriveMap(4096))


def test_a_hint_is_passed_on_except_into_what_is_noted() -> None:
    hints = []

    class Hinted(BytesSource):
        def read_ahead(self, offset: int, length: int) -> None:
            hints.append((offset, length))

    source = RescueSource(Hinted(_DATA), VirtualClock())
    source.bad.mark(512, 512, State.BAD_SECTOR)
    source.read_ahead(0, 1024)
    source.read_ahead(1024, 4096)
    assert hints == [(1024, 4096)]


def test_two_threads_find_the_same_bad_sectors_and_the_right_bytes() -> None:
    chance = random.Random(9)
    faults = "".join(chance.choice("." * 12 + "EOR") for _ in range(256))
    drive = _drive(faults, names_block=False)
    source = _rescue(drive, retrying=True)
    wrong: list[object] = []

    def work(seed: int) -> None:
        mine = random.Random(seed)
        for _ in range(300):
            offset = mine.randrange(len(_DATA) - 1)
            length = mine.randrange(1, min(20_000, len(_DATA) - offset) + 1)
            try:
                if read(source, offset, length) != _DATA[offset : offset + length]:
                    wrong.append((offset, length))
            except UnreadableSectors as error:
                if "E" not in faults[error.offset // 512 : -(-(error.offset + error.length) // 512)]:
                    wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    bad = {s // 512 + n for s, size in source.bad.ranges(State.BAD_SECTOR) for n in range(size // 512)}
    assert bad <= {sector for sector, letter in enumerate(faults) if letter == "E"}
    _fails(lambda: read(source, 0, len(_DATA)))
