"""The benchmark of transfers counts what it says it counts, and judges by rounds."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import cast
from xml.etree import ElementTree

import pytest

from benchmarks import transfer_figures as figures
from benchmarks.others import Others
from benchmarks.processes import Child, Cost, Member, PartyFailed, together
from benchmarks.sink import Figures, Sink
from benchmarks.transfer import FULL, parties
from benchmarks.transfer_bars import AZCOPY, OWN, OWN_PLAIN, PAIR, RCLONE, SDK, verdicts
from benchmarks.transfer_chart import chart
from benchmarks.transfer_contest import Contest
from benchmarks.transfer_figures import Cell, Row, Run, ratio
from benchmarks.transfer_images import NOTHING, Material, Workload
from benchmarks.transfer_parties import Party, Spent
from benchmarks.transfer_table import report
from benchmarks.transfer_targets import Target

MIB = 1 << 20
TINY = Workload("tiny", 10_000, 4096)
LARGE = Workload("large", 1, 1000 * MIB)
A_RUN = Run(
    round=1, files=10_000, total_bytes=40_960_000, wall_s=4.0, span_s=2.0, cpu_s=3.0,
    peak_bytes=200 * MIB, requests=10_000, span_cpu_s=1.5, others_cpu_s=0.0, start_cpu_s=1.0,
)  # fmt: skip


def _row(party: str, *runs: Run) -> Row:
    return Row(party, "none", runs)


class TestAFamily:
    def test_a_childs_processor_time_and_memory_are_its_parents_too(self) -> None:
        work = "import time; held = bytearray(b'x' * (100 << 20))\nwhile time.process_time() < 0.5: pass"
        parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {work!r}], check=True)"
        with Child("parent", [sys.executable, "-c", parent]) as child:
            cost = child.cost()
        assert cost.cpu_s > 0.5
        assert cost.peak_bytes > 100 * MIB
        assert len(cost.members) == 2

    def test_memory_that_two_share_is_counted_once(self) -> None:
        reader = Member("reader", 100 * MIB, 64 * MIB, 1.0)
        assert together([reader, replace(reader, peak_bytes=120 * MIB)]) == 156 * MIB
        assert together([Member("one", 30 * MIB, 0, 0.0)]) == 30 * MIB

    def test_what_was_shared_and_let_go_counts_as_shared(self) -> None:
        before, after = Member("a", 90 * MIB, 64 * MIB, 1.0), Member("a", 80 * MIB, 0, 2.0)
        assert after.after(before) == Member("a", 90 * MIB, 64 * MIB, 2.0)

    def test_one_that_is_not_over_in_time_is_told_and_ended(self) -> None:
        with (
            Child("sleeper", [sys.executable, "-c", "import time; time.sleep(600)"], deadline_s=0.2) as child,
            pytest.raises(PartyFailed, match=r"^sleeper took more than 0.2 s$"),
        ):
            child.cost()
        with pytest.raises(ProcessLookupError):
            os.kill(child.pid, 0)

    def test_standard_input_can_stay_open(self) -> None:
        waits = "import select, sys; sys.exit(bool(select.select([sys.stdin], [], [], 0.3)[0]))"
        with Child("waiter", [sys.executable, "-c", waits], holds_stdin=True) as child:
            child.cost()


class TestOthers:
    def test_our_own_children_are_not_others(self) -> None:
        before = Others.now([])
        with Child(
            "worker", [sys.executable, "-c", "import time\nwhile time.process_time() < 1: pass"]
        ) as child:
            child.cost()
        after = Others.now([])
        assert after.known_s - before.known_s > 0.9
        assert after.since(before) <= after.all_s - before.all_s - 0.9

    def test_a_server_of_ours_is_not_others(self) -> None:
        alone, served = Others.now([]), Others.now([os.getppid()])
        assert served.known_s >= alone.known_s


class TestFigures:
    def test_the_start_is_left_out_of_what_carrying_costs(self) -> None:
        assert figures.cpu_us_file(A_RUN) == pytest.approx(300)
        assert figures.carrying_cpu_us_file(A_RUN) == pytest.approx(200)
        assert figures.carrying_cpu_s_gb(A_RUN) == pytest.approx(2.0 / 0.04096)

    def test_rates_are_of_the_span_where_there_is_a_sink(self) -> None:
        assert figures.files_s(A_RUN) == 5000
        assert figures.files_s(replace(A_RUN, span_s=None)) == 2500

    def test_a_ratio_pairs_runs_of_one_round(self) -> None:
        own = _row(OWN, *(replace(A_RUN, round=n, cpu_s=cpu) for n, cpu in ((1, 1.0), (2, 10.0), (3, 3.0))))
        peer = _row(
            AZCOPY, *(replace(A_RUN, round=n, cpu_s=cpu) for n, cpu in ((1, 2.0), (2, 20.0), (3, 6.0)))
        )
        assert ratio(own, peer, lambda run: run.cpu_s) == 0.5

    def test_disturbed_rounds_are_left_out_while_half_are_quiet(self) -> None:
        loud = replace(A_RUN, round=1, cpu_s=30.0, others_cpu_s=3.0)
        calm = [replace(A_RUN, round=n) for n in (2, 3)]
        own, peer = _row(OWN, loud, *calm), _row(AZCOPY, *(replace(A_RUN, round=n) for n in (1, 2, 3)))
        assert own.median(lambda run: run.cpu_s) == 3.0
        assert ratio(own, peer, lambda run: run.cpu_s) == 1.0
        noisy = _row(OWN, loud, replace(loud, round=2), replace(A_RUN, round=3))
        assert noisy.median(lambda run: run.cpu_s) == 30.0

    def test_without_a_common_round_there_is_no_ratio(self) -> None:
        assert ratio(_row(OWN, A_RUN), _row(AZCOPY, replace(A_RUN, round=2)), figures.wall_s) is None


def _tiny(own: Run, azcopy: Run) -> dict[str, tuple[str, ...]]:
    cell = Cell(TINY, "TLS sink", (_row(OWN, own), _row(AZCOPY, azcopy)))
    return {row[0].partition(": ")[2]: row for row in verdicts([cell], "TLS sink")}


class TestBars:
    CPU = f"cpu-µs/file, {OWN} / {AZCOPY}"

    def test_met_is_said_only_when_the_start_is_in_it_too(self) -> None:
        assert _tiny(replace(A_RUN, cpu_s=1.5), replace(A_RUN, cpu_s=3.0))[self.CPU][-1] == "met"

    def test_what_is_met_without_the_start_alone_says_by_how_much_it_is_not(self) -> None:
        peer = replace(A_RUN, cpu_s=2.0, start_cpu_s=0.0)
        row = _tiny(replace(A_RUN, cpu_s=2.5, start_cpu_s=1.0), peer)[self.CPU]
        assert row[1:4] == ("≤ 0.8", "0.75", "1.25")
        assert row[-1] == "met carrying; NOT MET with the start, by 56%"

    def test_what_is_not_met_says_by_how_much(self) -> None:
        row = _tiny(A_RUN, replace(A_RUN, cpu_s=2.0))[self.CPU]
        assert row[2:] == ("2.00", "1.50", "NOT MET, by 150% (with the start 87%)")

    def test_a_rate_has_to_be_at_least(self) -> None:
        slow = _tiny(replace(A_RUN, span_s=4.0), A_RUN)[f"files/s, {OWN} / {AZCOPY}"]
        assert slow[1:3] == ("≥ 1", "0.50")
        assert slow[-1].startswith("NOT MET, by 50%")

    def test_a_peer_that_did_not_run_leaves_its_bar_open(self) -> None:
        rows = _tiny(A_RUN, A_RUN)
        assert rows[f"files/s, {OWN} / {SDK}"][-1] == "not measured"

    def test_time_is_held_against_the_fastest_peer(self) -> None:
        fast, slow = replace(A_RUN, wall_s=2.0, span_s=1.0), replace(A_RUN, wall_s=9.0, span_s=9.0)
        cell = Cell(LARGE, "TLS sink", (_row(OWN, A_RUN), _row(RCLONE, slow), _row(PAIR, fast)))
        (time,) = [row for row in verdicts([cell], "TLS sink") if "time" in row[0]]
        assert time[2:] == ("2.00", "2.00", "NOT MET, by 100% (with the start 100%)")

    def test_peak_memory_is_that_of_reader_and_uploader_in_the_worst_run(self) -> None:
        station = Member("ingest-agent replay", 70 * MIB, 0, 0.5)
        reader = Member("python -m agent.transfer.reader", 150 * MIB, 64 * MIB, 0.5)
        uploader = Member("python -m agent.transfer.uploader", 214 * MIB, 64 * MIB, 0.5)
        worst = replace(A_RUN, round=2, peak_bytes=370 * MIB, members=(station, reader, uploader))
        cell = Cell(LARGE, "TLS sink", (_row(OWN, A_RUN, worst),))
        (peak,) = [row for row in verdicts([cell], "TLS sink") if "peak" in row[0]]
        assert peak[-3:] == ("300 MiB", "370 MiB", "NOT MET, by 44 MiB")

    def test_each_bar_names_parties_that_take_part(self) -> None:
        for workload in FULL:
            names = {party.name for party in parties(workload)}
            runs = tuple(_row(name, A_RUN) for name in names)
            rows = verdicts([Cell(workload, "TLS sink", runs)], "TLS sink")
            assert rows
            assert all(row[-1] != "not measured" for row in rows)


_COURSE = ((99.9, 0.1), (100.0, 0.2), (100.2, 0.4), (100.3, 0.5))
_COST = Cost(0.5, MIB, None, None, None, (Member("it", MIB, 0, 0.5),), _COURSE)


class Fake:
    """A party that brings about what it is told to."""

    integrity = "none"

    def __init__(self, name: str, found: tuple[int, int], why: str | None = None) -> None:
        self.name, self.found, self.why = name, found, why

    def missing(self) -> str | None:
        return self.why

    def versions(self) -> str:
        return "1"

    def files(self, material: Material) -> int:
        return material.workload.files

    def run(self, material: Material, target: Target) -> Spent:
        cast("FakeSink", target.sink).found = self.found
        return Spent(1.0, (_COST,))


class FakeSink:
    """Tells what the party before it said it brought."""

    pid = os.getpid()
    found = (0, 0)

    def figures(self, watch: str = "") -> Figures:
        return Figures(7, 0, 0.25, *self.found, begun=100.0)


def _contest(workload: Workload, *field_: Fake, start: Contest | None = None) -> Contest:
    nowhere = Path("nowhere")
    target = Target("TLS sink", "", "", "", None, cast(Sink, FakeSink()))
    given = Material(workload, nowhere, nowhere, nowhere, nowhere)
    return Contest(given, target, cast("tuple[Party, ...]", field_), start)


class TestAContest:
    def test_who_brought_other_blobs_has_no_figures_and_the_others_go_on(self) -> None:
        right = Fake("right", (10_000, TINY.total_bytes))
        contest = _contest(TINY, Fake("short", (9_999, TINY.total_bytes)), right)
        for number in range(3):
            contest.round(number)
        short, good = contest.cell().rows
        assert short.runs == ()
        assert short.problem is not None
        assert short.problem.startswith("FAILED: 9999 blobs")
        assert [run.round for run in good.runs] == [1, 2]
        assert (good.runs[0].span_s, good.runs[0].requests) == (0.25, 7)
        assert good.runs[0].span_cpu_s == pytest.approx(0.2)

    def test_who_is_not_here_says_what_to_install(self) -> None:
        contest = _contest(TINY, Fake("absent", (0, 0), "install it"))
        contest.round(1)
        assert contest.cell().rows[0].problem == "install it"

    def test_the_start_is_the_median_of_the_runs_that_carry_nothing(self) -> None:
        start = _contest(NOTHING, Fake("one", (1, 0)))
        contest = _contest(TINY, Fake("one", (10_000, TINY.total_bytes)), start=start)
        for each in (start, contest):
            each.round(1)
        assert contest.cell().rows[0].runs[0].start_cpu_s == 0.5


class TestTheReport:
    CELL = Cell(
        TINY, "TLS sink", (_row(OWN, A_RUN), _row(OWN_PLAIN, A_RUN), Row(RCLONE, "MD5", (), "not here"))
    )
    START = Cell(NOTHING, "TLS sink", (_row(OWN, replace(A_RUN, files=1, total_bytes=0)),))

    def test_a_missing_peer_stands_in_the_table_with_its_reason(self) -> None:
        text = report(["About."], {"processor": "some"}, [self.START], [self.CELL])
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {RCLONE} ")]
        assert line.endswith("not here |")
        assert "## Bars, TLS sink" in text
        assert "- processor: some" in text

    def test_the_copies_of_each_byte_are_printed_with_their_reasons(self) -> None:
        text = report([], {}, [self.START], [self.CELL])
        assert "image file → ring slot" in text
        assert "O_DIRECT" in text

    def test_the_picture_is_well_formed_and_has_two_bars_for_each_party_that_ran(self) -> None:
        tree = ElementTree.fromstring(chart([self.CELL]))
        assert len(tree.findall("{http://www.w3.org/2000/svg}rect[@fill]")) == 1 + 2 * 2
