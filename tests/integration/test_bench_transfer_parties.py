"""Each party of the transfer benchmark brings all files to a sink, and what it costs is seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.sink import SinkMissing
from benchmarks.transfer import parties
from benchmarks.transfer_bars import OWN, OWN_MD5, PAIR
from benchmarks.transfer_contest import Contest
from benchmarks.transfer_images import NOTHING, Material, Workload, material
from benchmarks.transfer_parties import Party
from benchmarks.transfer_targets import Target, sink_target
from benchmarks.volume_images import NoImage

WORKLOAD = Workload("tiny", 7, 300_001)
BULK = Workload("large", 1, 1)
EVERYBODY = {party.name: party for key in (BULK, WORKLOAD) for party in parties(key)}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def _material(cache: Path, workload: Workload) -> Material:
    try:
        return material(cache, workload)
    except NoImage as reason:
        pytest.skip(str(reason))


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    try:
        with sink_target(tmp_path, is_tls=True) as opened:
            yield opened
    except SinkMissing as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("party", EVERYBODY.values(), ids=EVERYBODY)
def test_it_brings_all_files_and_is_seen_doing_so(party: Party, cache: Path, target: Target) -> None:
    missing = party.missing()
    if missing is not None:
        pytest.skip(missing)
    contest = Contest(_material(cache, WORKLOAD), target, [party])
    contest.round(1)
    (row,) = contest.cell().rows
    assert row.problem is None
    (run,) = row.runs
    assert (run.files, run.total_bytes) == (7, 7 * 300_001)
    assert run.cpu_s > 0
    assert run.peak_bytes > 1 << 20
    assert run.span_s is not None
    assert 0 < run.span_s < run.wall_s
    count = {OWN: 3, OWN_MD5: 3, PAIR: 3}.get(party.name)
    assert count is None or len({member.command for member in run.members}) >= count


def test_material_is_made_once_and_its_three_forms_hold_the_same_files(cache: Path) -> None:
    made = _material(cache, NOTHING)
    stamp = made.bitlocker.stat().st_mtime_ns
    assert material(cache, NOTHING) == made
    assert made.bitlocker.stat().st_mtime_ns == stamp
    assert made.bitlocker.read_bytes()[3:11] == b"-FVE-FS-"
    assert made.plain.read_bytes()[3:11] == b"NTFS    "
    assert [path.stat().st_size for path in made.folder.rglob("*.bin")] == [0]
