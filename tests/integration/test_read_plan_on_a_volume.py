"""The read plan over volumes as they come: many small files in pieces and out of order, few large ones."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent.volume.block import FdSource, read
from agent.volume.ntfs import Entry, NtfsVolume, StreamKind, StreamRef
from agent.volume.plan import Blocks, Want, requests, seek_bytes
from benchmarks.read_plan import figures, main, streams, wants
from fixtures import Cipher, ClearKey, make_volume
from fixtures.listing import Listed
from fixtures.ntfs_many import cached, make_large_files, make_many_files

FILES = 2000
WINDOW = 512 * 1024


def why_not() -> str:
    """What hinders making a volume here, or "" for nothing."""
    if os.geteuid() != 0:
        return "only root can mount a volume"
    missing = [name for name in ("mkntfs", "ntfs-3g", "losetup") if shutil.which(name) is None]
    missing += [name for name in ("/dev/fuse", "/dev/loop-control") if not Path(name).exists()]
    if missing:
        return f"{', '.join(missing)} not found"
    free = subprocess.run(["losetup", "--find"], capture_output=True, check=False)
    return "" if free.returncode == 0 else "no loop device can be had"


pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "nothing hinders")


@dataclass(frozen=True, slots=True)
class Made:
    image: Path
    listed: Sequence[Listed]
    source: FdSource
    volume: NtfsVolume


def opened(image: Path, listed: Sequence[Listed]) -> Iterator[Made]:
    fd = os.open(image, os.O_RDONLY)
    source = FdSource(fd, image.stat().st_size)
    yield Made(image, listed, source, NtfsVolume.open(source))
    os.close(fd)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    image = tmp_path_factory.mktemp("many") / "many.img"
    yield from opened(image, make_many_files(image, files=FILES, folders=20, seed=7))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    image = tmp_path_factory.mktemp("large") / "large.img"
    yield from opened(image, make_large_files(image, total_bytes=36 << 20, seed=7))


def files(made: Made) -> list[tuple[Listed, StreamRef]]:
    """What was written beside what the scan found, in the order of the first offsets."""
    found = {entry.path: entry.streams for entry in made.volume.scan() if isinstance(entry, Entry)}
    both = [(each, found[each.names][0]) for each in made.listed]
    return sorted(both, key=lambda pair: pair[1].first_offset)


def read_by_plan(
    made: Made, listed: Sequence[Want], *, in_order: bool = False
) -> dict[int, dict[int, bytes]]:
    """Want, then piece, then bytes: all read as the requests say."""
    by_key = {want.key: want for want in listed}
    got: dict[int, dict[int, bytes]] = {}
    for request in requests(listed, in_order=in_order, volume_bytes=made.volume.size_bytes):
        window = read(made.source, request.start, request.length) if request.is_direct else b""
        for part in request.parts:
            offset, length = by_key[part.key].pieces[part.index]
            piece = bytearray(window[part.offset : part.offset + length])
            if not request.is_direct:
                piece = bytearray(length)
                made.volume.read_into(by_key[part.key].ref, offset, memoryview(piece))
            got.setdefault(part.key, {})[part.index] = bytes(piece)
    return got


def test_all_small_files_read_by_the_plan_are_what_was_written(many: Made) -> None:
    both = files(many)
    listed = [Want(key, ref, ((0, ref.size),) if ref.size else ()) for key, (_, ref) in enumerate(both)]
    got = read_by_plan(many, listed)
    digests = [hashlib.sha256(got.get(key, {0: b""})[0]).hexdigest() for key in range(len(both))]
    assert digests == [each.sha256 for each, _ in both]
    assert len(digests) == FILES


def test_the_volume_is_fragmented_and_its_neighbours_are_read_together(many: Made) -> None:
    refs = [ref for _, ref in files(many)]
    assert sum(len(ref.extents) > 1 for ref in refs) > FILES // 50
    assert sum(ref.kind is StreamKind.RESIDENT for ref in refs) > FILES // 50
    listed = [Want(key, ref, Blocks(ref.size, WINDOW)) for key, ref in enumerate(refs)]
    found = list(requests(listed, volume_bytes=many.volume.size_bytes))
    direct = [request for request in found if request.is_direct]
    assert sum(len(request.parts) for request in direct) > 4 * len(direct)
    assert sum(len(request.parts) for request in found) == sum(ref.size > 0 for ref in refs)


def test_the_head_travels_far_less_than_in_the_order_of_directories(many: Made) -> None:
    by_path, by_record = streams(many.volume)
    directory, table, plan = figures(by_path, by_record, many.volume.size_bytes)
    assert directory.read_bytes == table.read_bytes == sum(listed.size for listed in many.listed)
    # On so small a volume files in pieces are most of the way; between requests hardly any is left.
    assert plan.travel_bytes * 5 <= directory.travel_bytes
    assert plan.travel_bytes * 2 <= table.travel_bytes
    between = seek_bytes(requests(wants(by_record), volume_bytes=many.volume.size_bytes))
    assert between * 100 <= directory.travel_bytes
    assert plan.reads < directory.reads


def test_large_files_hash_right_with_their_pieces_in_order(large: Made) -> None:
    both = files(large)
    assert sum(len(ref.extents) > 1 for _, ref in both) >= 4
    listed = [Want(key, ref, Blocks(ref.size, WINDOW)) for key, (_, ref) in enumerate(both)]
    digests = [hashlib.sha256() for _ in both]
    for key, pieces in read_by_plan(large, listed, in_order=True).items():
        assert list(pieces) == list(range(len(listed[key].pieces)))
        for piece in pieces.values():
            digests[key].update(piece)
    assert [digest.hexdigest() for digest in digests] == [each.sha256 for each, _ in both]


@pytest.mark.parametrize("made", ["many", "large"])
def test_bitlocker_has_room_on_the_volumes(made: str, request: pytest.FixtureRequest) -> None:
    volume = request.getfixturevalue(made).image.read_bytes()
    encrypted = make_volume(volume, cipher=Cipher.AES_CBC_128, protectors=[ClearKey()], seed=1)
    assert len(encrypted.image) == len(volume)


def test_a_cached_volume_is_made_once_and_anew_when_asked_for_another(tmp_path: Path) -> None:
    made = []

    def make(path: Path) -> tuple[Listed, ...]:
        made.append(path)
        return make_many_files(path, files=60, folders=3, seed=1)

    first = cached(tmp_path / "few.img", make, "one")
    assert cached(tmp_path / "few.img", make, "one") == first
    assert len(made) == 1
    assert cached(tmp_path / "few.img", make, "another") == first
    assert len(made) == 2


def test_the_benchmark_prints_its_table(tmp_path: Path) -> None:
    options = ["--files", "200", "--folders", "4", "--image", str(tmp_path / "few.img")]
    result = CliRunner().invoke(main, options)
    assert result.exit_code == 0, result.output
    assert "200 files" in result.output
    rows = {line.split("  ")[0]: line.split() for line in result.output.splitlines()}
    assert {"directory", "$MFT", "read plan"} <= rows.keys()
    assert float(rows["read plan"][-1]) > 1.0
