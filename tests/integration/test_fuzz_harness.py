"""The fuzzer itself: it finds what is planted, makes the same images everywhere, and reaches deep."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyfsntfs
import pytest

from agent.volume.block import BytesSource
from agent.volume.ntfs import DamagedRecord, NtfsVolume
from agent.volume.opening import open_volume
from tests.fuzz import bases, plants, regressions
from tests.fuzz.bases import base
from tests.fuzz.compose import make_image
from tests.fuzz.dice import Dice
from tests.fuzz.draft import Draft
from tests.fuzz.image import Image
from tests.fuzz.maker import parts
from tests.fuzz.minimise import minimised, smaller
from tests.fuzz.mutators import REGISTRY, Mutator
from tests.fuzz.scene import Scene
from tests.fuzz.sealed import Sealing
from tests.fuzz.verdict import Finding, judge
from tests.fuzz.workers import WorkerBroken, Workers

CHECKOUT = Path(__file__).parents[2]
SOUND = Image("sound", "mbr", len(base("mbr").disk), ())

DIGESTS = {
    "plain": "f0012e30dddfabee",
    "sectors-4k": "1b290356f6a5d820",
    "small-clusters": "b2c0c90e8ca5e3fd",
    "scattered": "a52e8a9849c42237",
    "big-clusters": "e8312fc43778912c",
    "deep": "d576c478d5e0ef42",
    "gpt": "8141d6e7787b15fa",
    "gpt-4k": "561fd05de5017853",
    "mbr": "2d89bd6a94705a79",
    "logical": "c5da5c2bbd6a5b5f",
    "xts": "20b613b200323cde",
    "cbc-by-file": "e4de5a66c1231a7b",
    "elephant-4k": "cbac0fa0075a64ee",
    "to-go": "c812f8cc40822afa",
    "gpt-xts": "91ef9b9e1fa61425",
}
"""Of the bases made here, cut to 16 digits: one that changes takes its regressions with it, so add another.

The committed images of ``fixtures`` are not in it: they may be made anew.
"""


@pytest.mark.parametrize("name", bases.NAMES)
def test_an_unharmed_base_shows_nothing_and_is_read_to_its_end(name: str) -> None:
    verdict = judge(Image("sound", name, len(base(name).disk), ()))
    assert verdict.finding is None
    assert verdict.stage == "plan"
    assert verdict.damaged == 0
    assert verdict.streams_read > 20


@pytest.mark.parametrize("name", [name for name in bases.NAMES if base(name).files])
def test_a_base_holds_what_its_maker_put_on_it(name: str) -> None:
    drive = BytesSource(base(name).disk, base(name).sector_size)
    volume = open_volume(drive, base(name).credential, allow_unencrypted=True).ntfs
    found = {}
    for entry in volume.scan():
        assert not isinstance(entry, DamagedRecord)
        for ref in entry.streams:
            path = "/".join(entry.path) + (f":{ref.name}" if ref.name else "")
            if path in base(name).files:
                buffer = bytearray(ref.size)
                volume.read_into(ref, 0, memoryview(buffer))
                found[path] = bytes(buffer)
    assert found == base(name).files


# libfsntfs counts index blocks that are smaller than a cluster in another unit than Windows does.
@pytest.mark.parametrize("name", ["plain", "sectors-4k", "small-clusters", "scattered", "deep"])
def test_another_reader_finds_the_same_on_the_volumes_that_are_made_here(name: str) -> None:
    volume = pyfsntfs.volume()
    volume.open_file_object(io.BytesIO(base(name).ntfs))
    found = {}
    for path in base(name).files:
        file, _, stream = path.partition(":")
        entry = volume.get_file_entry_by_path("\\" + file.replace("/", "\\"))
        if not stream:
            found[path] = entry.read(1 << 20) if entry.size else b""
        else:
            streams = [
                entry.get_alternate_data_stream(i) for i in range(entry.number_of_alternate_data_streams)
            ]
            found[path] = b"".join(
                each.read(1 << 20) for each in streams if each.name == stream and each.size
            )
    assert found == base(name).files
    assert len(found) > 80


@pytest.mark.parametrize("name", DIGESTS)
def test_a_base_is_the_same_bytes_on_every_machine(name: str) -> None:
    assert bases.digest(name)[:16] == DIGESTS[name]


def test_the_digest_of_every_base_that_is_made_here_is_known() -> None:
    assert set(DIGESTS) == set(bases.NAMES) - {"nasty", "sector4k"}


def _images_digest(count: int) -> str:
    told = hashlib.sha256()
    for index in range(count):
        told.update(repr(make_image(5, index)).encode())
    return told.hexdigest()


def test_a_seed_gives_the_same_images_in_every_process() -> None:
    code = "from tests.integration.test_fuzz_harness import _images_digest as d; print(d(40))"
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == _images_digest(40)
    assert len({make_image(5, index).patches for index in range(40)}) > 30


@pytest.mark.parametrize("mutator", REGISTRY, ids=lambda each: each.name)
def test_each_mutator_changes_a_drive_and_never_raises(mutator: Mutator) -> None:
    fitting = [name for name in bases.NAMES if mutator.needs(base(name)) and _has(name, mutator)]
    changed = 0
    for number in range(8):
        dice = Dice(f"{mutator.name} {number}")
        scene = Scene(base(dice.pick(fitting)))
        for _ in range(2):
            assert mutator.apply(scene, dice)
        changed += bool(scene.patches() or scene.bad) or scene.disk.size_bytes != len(scene.base.disk)
    assert changed >= 3


def _has(name: str, mutator: Mutator) -> bool:
    return name != "nasty" and (mutator.layer.name != "TABLE" or base(name).offset > 0)


def _opened(scene: Scene) -> NtfsVolume:
    image = Image("", scene.base.name, scene.disk.size_bytes, scene.patches())
    drive = BytesSource(bytes(image.data(scene.base.disk)), scene.base.sector_size)
    return open_volume(drive, scene.base.credential, allow_unencrypted=True).ntfs


@pytest.mark.parametrize("name", ["xts", "cbc-by-file", "elephant-4k", "to-go", "gpt-xts"])
def test_metadata_that_was_changed_and_sealed_again_still_opens(name: str) -> None:
    scene = Scene(base(name))
    scene.sealed.nodes[0].data = b"anything at all".ljust(40, b"\0")
    scene.sealed.head[24:28] = b"\1\2\3\4"
    scene.sealed.write(Sealing())
    assert scene.patches()
    assert _opened(scene).label == "FUZZ"


@pytest.mark.parametrize(
    "name", ["plain", "small-clusters", "sectors-4k", "gpt", "xts", "elephant-4k", "gpt-xts"]
)
def test_a_record_that_was_changed_is_met_changed_and_not_torn(name: str) -> None:
    scene = Scene(base(name))
    record = scene.structures.record(3)
    place = next(each for each in record.attributes() if each.type == parts.VOLUME_NAME)
    record.write(place.head, "HOAX".encode("utf-16-le"))
    scene.structures.put(3, record, is_mirrored=True)
    volume = _opened(scene)
    assert volume.label == "HOAX"
    assert not [each for each in volume.scan() if isinstance(each, DamagedRecord)]


def test_a_draft_tells_what_differs_and_nothing_else() -> None:
    draft = Draft(bytes(range(256)) * 8)
    draft.put(510, b"\xfe\xff\x10\x11\x02")
    draft.put(2000, draft.get(2000, 30))
    draft.put(2047, b"ab")
    draft.put(5000, b"nowhere")
    assert draft.patches() == ((512, b"\x10\x11"), (2047, b"a"))
    assert draft.get(508, 8) == b"\xfc\xfd\xfe\xff\x10\x11\x02\x03"


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        (plants.index_error, "IndexError"),
        (plants.endless_recursion, "RecursionError"),
        (plants.a_warning, "RuntimeWarning"),
        (plants.two_lines, "Broken"),
        (plants.a_loose_reference, "Broken"),
        (plants.unwritten_bytes, "Broken"),
        (plants.silent_error, "Broken"),
        (plants.reading_over_and_over, "Broken"),
        (plants.a_read_outside, "Outside"),
        (plants.a_write, "Written"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_planted_bug_is_found(plant: Callable[[], None], kind: str) -> None:
    with plants.planted(plant):
        finding = judge(SOUND).finding
    assert finding is not None
    assert finding.kind == kind
    assert judge(SOUND).finding is None


@pytest.mark.parametrize(
    ("plant", "kind", "limit_s"),
    [
        (plants.endless_loop, "Hang", 2.0),
        (plants.a_crash, "Crash", 30.0),
        (plants.much_memory, "Memory", 30.0),
        (plants.memory_without_end, "MemoryError", 30.0),
    ],
)
def test_a_planted_bug_that_ends_the_worker_is_found_and_the_run_goes_on(
    plant: Callable[[], None], kind: str, limit_s: float
) -> None:
    with Workers(1, limit_s=limit_s, prepare=plant) as workers:
        results = list(workers.run([(7, SOUND), (8, SOUND)]))
    assert [number for number, _, _ in results] == [7, 8]
    findings = [verdict.finding for _, _, verdict in results]
    assert [finding and finding.kind for finding in findings] == [kind, kind]
    assert all(finding and ("plants" in finding.text or kind == "Memory") for finding in findings)


def test_what_was_found_is_made_small_kept_and_found_again(tmp_path: Path) -> None:
    image = make_image(5, 3)
    with Workers(1, prepare=plants.index_error) as workers:
        ((_, image, verdict),) = workers.run([(3, 5)])
        assert verdict.finding is not None
        small = minimised(image, verdict.finding, workers)
        path = regressions.save(small, verdict.finding, tmp_path)
        kept = regressions.load(path)
        ((_, _, again),) = workers.run([(0, kept.image)])
    assert kept.finding == verdict.finding
    assert kept.base_sha256 == bases.digest(image.base)
    assert again.finding is not None
    assert again.finding.signature == verdict.finding.signature
    assert regressions.kept(tmp_path) == [path]


def test_an_image_is_made_smaller_down_to_the_bytes_that_matter() -> None:
    patches = tuple((1000 * index, b"abcdefgh" * 4) for index in range(1, 30))
    image = Image("", "plain", 300_000, patches)

    def shows(candidate: Image) -> bool:
        data = candidate.data(base("plain").disk)
        return data[7016:7018] == b"ab" and data[12_000:12_001] == b"a"

    small = smaller(image, shows)
    assert small.patches == ((7016, b"abcdefgh"), (12_000, b"abcdefgh"))
    assert small.size_bytes == len(base("plain").disk)


def test_findings_of_one_cause_count_as_one() -> None:
    with plants.planted(plants.index_error):
        first, second = judge(SOUND).finding, judge(Image("", "plain", len(base("plain").disk), ())).finding
    assert isinstance(first, Finding)
    assert isinstance(second, Finding)
    assert first.signature == second.signature


def test_a_mutator_that_fails_is_the_fuzzers_own_trouble_and_no_finding() -> None:
    missing = Image("", "no such base", 512, ())
    with Workers(1) as workers, pytest.raises(WorkerBroken, match="image 3: KeyError"):
        list(workers.run([(3, missing)]))
