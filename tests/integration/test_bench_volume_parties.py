"""The readers of the benchmark, each as its processes, on a volume of a few hundred files."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import pytest

from benchmarks.volume import Contest
from benchmarks.volume_figures import OWN, PAIR
from benchmarks.volume_images import PASSWORD, Image, listing_digest
from benchmarks.volume_parties import Party, Work, parties
from fixtures import Cipher, Password, base_image, make_volume


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    base = base_image("demo")
    path = tmp_path_factory.mktemp("bench") / "demo.img"
    made = make_volume(base.volume, cipher=Cipher.AES_XTS_128, protectors=[Password(PASSWORD)], seed=3)
    path.write_bytes(made.image)
    return Image(
        path=path,
        about="the demo drive",
        files=len(base.files),
        file_bytes=sum(each.size for each in base.files),
        volume_bytes=len(base.volume),
        listing=listing_digest((each.path, each.sha256) for each in base.files),
        plain_sha256=hashlib.sha256(base.volume).hexdigest(),
    )


@pytest.mark.parametrize("work", Work)
@pytest.mark.parametrize("party", parties(), ids=lambda party: party.name)
def test_each_reader_gives_every_file_and_byte_and_its_costs(party: Party, work: Work, image: Image) -> None:
    missing = party.missing()
    if missing is not None:
        pytest.skip(f"{party.name}: {missing}")
    assert party.versions()
    (row,) = Contest("small", "Demo", work, image, (party,)).go(rounds=1).rows
    assert row.problem is None
    (run,) = row.runs
    assert 0 < run.open_s < run.wall_s
    assert run.cpu_s > 0
    assert run.peak_bytes > 1 << 20
    assert run.reads is None or run.reads > 0


def test_no_mount_is_left_behind(image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (pair,) = (party for party in parties() if party.name == PAIR)
    missing = pair.missing()
    if missing is not None:
        pytest.skip(f"{pair.name}: {missing}")
    wrong = tmp_path / "wrong.img"
    wrong.write_bytes(image.path.read_bytes()[: image.volume_bytes // 8])
    contest = Contest("small", "Demo", Work.FILES, _at(image, wrong), (pair,))
    (row,) = contest.go(rounds=1).rows
    assert row.problem is not None
    assert row.problem.startswith("FAILED: dislocker-fuse ended")
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text("utf-8")


def test_the_names_that_ratios_are_made_of_are_those_of_the_readers() -> None:
    assert {OWN, PAIR} <= {party.name for party in parties()}


def _at(image: Image, path: Path) -> Image:
    return Image(
        path,
        image.about,
        image.files,
        image.file_bytes,
        image.volume_bytes,
        image.listing,
        image.plain_sha256,
    )
