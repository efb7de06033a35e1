"""The benchmark of volumes tells wrong readers from right ones, and counts what it says it counts."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import IO, cast
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.processes import Child, PartyFailed
from benchmarks.volume import Contest, WrongBytesError, read_hashes
from benchmarks.volume_chart import chart
from benchmarks.volume_figures import OWN, PAIR, Case, Row, verdicts
from benchmarks.volume_images import Image, listing_digest
from benchmarks.volume_measure import Run
from benchmarks.volume_parties import Party, Work
from benchmarks.volume_table import case_table, report
from benchmarks.volume_walk import copy, hash_tree

MIB = 1 << 20
A_RUN = Run(open_s=0.5, wall_s=3.0, cpu_s=2.0, peak_bytes=64 * MIB, reads=1000, disk_bytes=0)
FILES = {"a/b.bin": b"one", "a/c": b"", "d": b"three" * 1000}
PLAIN = b"the plain volume" * 4096


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


class TestAChildProcess:
    def test_its_reads_and_the_memory_that_it_gave_back_are_counted(self, tmp_path: Path) -> None:
        path = tmp_path / "data"
        path.write_bytes(bytes(700))
        reads = (
            "import os, sys, time; block = bytearray(b'x' * (200 << 20)); time.sleep(1); del block; "
            f"fd = os.open({str(path)!r}, os.O_RDONLY); [os.read(fd, 1) for _ in range(700)]"
        )
        rests = "import os, sys, time; time.sleep(1)"
        with Child("reader", _python(rests)) as idle, Child("reader", _python(reads)) as busy:
            nothing, cost = idle.cost(), busy.cost()
        assert cost.peak_bytes > 200 * MIB > nothing.peak_bytes > MIB
        if cost.reads is None or nothing.reads is None:
            pytest.skip("/proc/PID/io of a child is closed to us")
        assert 700 <= cost.reads - nothing.reads < 800

    def test_the_processor_time_of_sleep_is_not_that_of_work(self) -> None:
        work = "import time\nwhile time.process_time() < 1: pass"
        with (
            Child("idler", _python("import time; time.sleep(1)")) as idle,
            Child("worker", _python(work)) as busy,
        ):
            assert idle.cost().cpu_s < 0.9 < busy.cost().cpu_s

    def test_it_is_given_its_input_and_the_moment_of_its_first_words_is_kept(self) -> None:
        program = (
            "import sys, time; key = sys.stdin.read(); print('open', file=sys.stderr); sys.exit(key != 'key')"
        )
        with Child("reader", _python(program), stdin=b"key") as child:
            child.cost()
            assert child.first_said is not None
            assert child.ended is not None
            assert child.begun < child.first_said <= child.ended

    def test_one_that_fails_is_named_with_its_last_words(self) -> None:
        with (
            Child(
                "reader", _python("import sys; print('no key fits', file=sys.stderr); sys.exit(4)")
            ) as child,
            pytest.raises(PartyFailed, match=r"^reader ended with 4 and said: no key fits$"),
        ):
            child.cost()

    def test_a_program_that_is_not_there_is_told(self) -> None:
        with pytest.raises(PartyFailed, match="reader cannot be started: No such file"):
            Child("reader", ["no-such-program-anywhere"])

    def test_one_that_runs_on_is_ended_on_leaving(self) -> None:
        with Child("reader", _python("import time; time.sleep(600)")) as child:
            assert not child.is_over()
        with pytest.raises(ProcessLookupError):
            os.kill(child.pid, 0)

    def test_what_it_writes_goes_where_it_should(self, tmp_path: Path) -> None:
        with (
            (tmp_path / "out").open("wb") as out,
            Child("reader", _python("print('here')"), stdout=out) as child,
        ):
            child.cost()
        assert (tmp_path / "out").read_bytes() == b"here\n"


class TestAMountedTree:
    def test_files_are_hashed_under_their_paths(self, tmp_path: Path) -> None:
        for path, data in FILES.items():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_bytes(data)
        assert dict(hash_tree(str(tmp_path))) == {path: _sha256(data) for path, data in FILES.items()}

    def test_a_tree_that_is_not_there_is_no_empty_one(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            list(hash_tree(str(tmp_path / "gone")))

    def test_a_volume_is_copied_whole(self, tmp_path: Path) -> None:
        (tmp_path / "in").write_bytes(PLAIN)
        with (tmp_path / "out").open("wb") as out:
            copy(str(tmp_path / "in"), out.fileno())
        assert (tmp_path / "out").read_bytes() == PLAIN


class Sectors:
    """As libbde reads: only what begins and ends with a sector is right."""

    def read_buffer_at_offset(self, size: int, offset: int) -> bytes:
        assert offset % 512 == 0
        assert size % 512 == 0
        assert size > 0
        return PLAIN[offset : offset + size]


@given(st.lists(st.tuples(st.integers(0, len(PLAIN) + 10), st.integers(0, 5000)), max_size=20))
def test_libfsntfs_gets_the_bytes_it_asks_for_and_libbde_is_asked_for_whole_sectors(
    asked: list[tuple[int, int]],
) -> None:
    libyal = pytest.importorskip("benchmarks.volume_libyal", reason="libbde and libfsntfs are not installed")
    file, expected = libyal.AlignedFile(Sectors(), len(PLAIN)), io.BytesIO(PLAIN)
    for offset, size in asked:
        file.seek(offset)
        expected.seek(offset)
        assert file.read(size) == expected.read(size)
        assert file.tell() == file.get_offset() == expected.tell()
    assert file.get_size() == len(PLAIN)


class TestDigests:
    def test_the_order_of_files_does_not_matter_and_all_else_does(self) -> None:
        one, two = ("a", _sha256(b"1")), ("b", _sha256(b"2"))
        assert listing_digest([one, two]) == listing_digest([two, one])
        swapped = [("a", two[1]), ("b", one[1])]
        assert len({listing_digest(each) for each in ([one, two], swapped, [one], [one, one, two])}) == 4

    def test_a_file_that_could_not_be_read_is_wrong(self) -> None:
        good = b'{"path": "a", "size": 3, "sha256": "ab"}\n'
        assert read_hashes([good]) == [("a", "ab")]
        with pytest.raises(WrongBytesError, match="b has no hash: torn"):
            read_hashes([good, b'{"path": "b", "error": "torn"}\n'])


class Fake:
    """A party that gives what it is told to, without a process."""

    def __init__(
        self, name: str, files: dict[str, bytes], plain: bytes = PLAIN, missing: str | None = None
    ) -> None:
        self.name, self.files, self.plain, self.why = name, files, plain, missing
        self.asked = 0

    def missing(self) -> str | None:
        return self.why

    def versions(self) -> str:
        return "1"

    def run(self, work: Work, image: Image, out: IO[bytes] | int) -> Run:
        self.asked += 1
        if work is Work.FILES:
            lines = (
                f'{{"path": "{path}", "sha256": "{_sha256(data)}"}}\n' for path, data in self.files.items()
            )
            cast("IO[bytes]", out).writelines(line.encode() for line in lines)
        else:
            command = [sys.executable, "-c", "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"]
            subprocess.run(command, input=self.plain, stdout=out, check=True)
        return A_RUN


@pytest.fixture
def image(tmp_path: Path) -> Image:
    path = tmp_path / "image"
    path.write_bytes(b"encrypted")
    return Image(
        path=path,
        about="three files",
        files=len(FILES),
        file_bytes=sum(map(len, FILES.values())),
        volume_bytes=len(PLAIN),
        listing=listing_digest((path, _sha256(data)) for path, data in FILES.items()),
        plain_sha256=_sha256(PLAIN),
    )


def _rows(image: Image, work: Work, *field_: Fake) -> tuple[Row, ...]:
    return Contest("small", "Small", work, image, cast("tuple[Party, ...]", field_)).go(rounds=2).rows


class TestAContest:
    def test_right_readers_run_in_each_round_and_once_before(self, image: Image) -> None:
        field_ = Fake("one", FILES), Fake("two", dict(reversed(FILES.items())))
        rows = _rows(image, Work.FILES, *field_)
        assert [(row.party, len(row.runs), row.problem) for row in rows] == [
            ("one", 2, None),
            ("two", 2, None),
        ]
        assert [party.asked for party in field_] == [3, 3]

    @pytest.mark.parametrize(
        ("files", "why"),
        [
            (FILES | {"d": b"other"}, "paths and hashes have the digest"),
            ({"d": FILES["d"]}, "1 files were found, 3 were written"),
            (FILES | {"e": b""}, "4 files were found, 3 were written"),
        ],
    )
    def test_a_reader_of_other_files_fails_loudly_and_the_others_go_on(
        self, image: Image, files: dict[str, bytes], why: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        wrong = Fake("wrong", files)
        bad, good = _rows(image, Work.FILES, wrong, Fake("right", FILES))
        assert bad.problem is not None
        assert bad.problem.startswith("FAILED: ")
        assert why in bad.problem
        assert (bad.runs, wrong.asked) == ((), 1)
        assert why in capsys.readouterr().err
        assert good.problem is None
        assert len(good.runs) == 2

    def test_a_volume_is_compared_whole(self, image: Image) -> None:
        bad, good = _rows(image, Work.VOLUME, Fake("wrong", {}, PLAIN[:-1] + b"!"), Fake("right", {}))
        assert bad.problem is not None
        assert "the decrypted volume" in bad.problem
        assert good.problem is None

    def test_a_reader_that_is_not_here_says_what_to_install(self, image: Image) -> None:
        absent = Fake("absent", FILES, missing="install it")
        row, _ = _rows(image, Work.FILES, absent, Fake("right", FILES))
        assert (row.problem, row.runs, absent.asked) == ("install it", (), 0)


def _row(party: str, wall_s: float, cpu_s: float) -> Row:
    return Row(party, 10**9, (replace(A_RUN, wall_s=wall_s, cpu_s=cpu_s),))


class TestFigures:
    def test_medians_are_of_all_runs(self) -> None:
        runs = tuple(
            replace(A_RUN, wall_s=wall, cpu_s=wall / 2, reads=int(wall)) for wall in (2.0, 4.0, 10.0)
        )
        row = Row("one", 2 * 10**9, runs)
        assert [row.mb_s, row.wall_s, row.cpu_s_per_gb, row.reads] == [500, 4, 1, 4]
        assert list(row.mb_s_range) == [200, 1000]
        assert row.open_mb_s == pytest.approx(2000 / 3.5)

    def test_reads_of_the_start_are_not_of_the_image(self) -> None:
        assert A_RUN.less_reads(400).reads == 600
        assert A_RUN.less_reads(None).reads is None

    @pytest.mark.parametrize(("disk_bytes", "is_warm"), [(None, True), (10**6, True), (10**8, False)])
    def test_a_run_from_the_disk_is_not_called_warm(self, disk_bytes: int | None, is_warm: bool) -> None:
        assert Row("one", 10**9, (replace(A_RUN, disk_bytes=disk_bytes),)).is_warm is is_warm

    def test_each_bar_is_met_not_met_or_not_measured(self) -> None:
        small = Case("small", "Small", (_row(OWN, 1.5, 1.0), _row(PAIR, 3.6, 2.9)))
        volume = Case("volume", "Volume", (_row(OWN, 1.0, 1.0), Row(PAIR, 10**9, (), "needs root")))
        faster, cheaper, absent = verdicts((small, volume))
        assert faster.endswith("3.1 times, met")
        assert cheaper.endswith("2.9 times, NOT MET")
        assert absent.endswith("not measured")

    def test_a_reader_that_failed_is_in_no_ratio(self) -> None:
        failed = replace(_row(PAIR, 9.0, 9.0), problem="FAILED: wrong bytes")
        (faster, _) = verdicts((Case("small", "Small", (_row(OWN, 1.0, 1.0), failed)),))
        assert faster.endswith("not measured")


class TestTheReport:
    CASE = Case(
        "small",
        "Small & <tidy>",
        (_row(OWN, 1.0, 1.0), _row(PAIR, 4.0, 8.0), Row("absent", 1, (), "no tool")),
    )

    def test_rows_stand_in_columns_with_the_reason_of_a_missing_one(self) -> None:
        lines = case_table(self.CASE).splitlines()
        assert len({len(line) for line in lines}) == 1
        assert [line.split("|")[1].strip() for line in lines[2:]] == [OWN, PAIR, "absent"]
        assert lines[-1].endswith("no tool |")
        assert "| 1,000 |" in lines[2]

    def test_ratios_and_bars_follow(self) -> None:
        text = report(["About."], {"processor": "some"}, (self.CASE,))
        assert f"4.0 times the MB/s of {PAIR} (7.0 times once open) for 1/8.0 of its processor time" in text
        assert "- processor: some" in text
        assert text.count("times, met") == 2

    def test_the_picture_is_well_formed_and_has_a_bar_for_each_figure(self) -> None:
        tree = ElementTree.fromstring(chart((self.CASE,)))
        bars = tree.findall("{http://www.w3.org/2000/svg}rect[@fill]")
        assert len(bars) == 1 + 4
        texts = [each.text for each in tree.findall("{http://www.w3.org/2000/svg}text")]
        assert "Small & <tidy>" in texts
        assert "1,000" in texts
