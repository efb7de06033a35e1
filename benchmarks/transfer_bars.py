"""The bars of the transfer benchmark: what a ratio of ours to a peer's has to be, and what it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks import transfer_figures as figures
from benchmarks.processes import together
from benchmarks.transfer_figures import Cell, Figure, Row, ratio

OWN = "ours, BitLocker"
OWN_PLAIN = "ours, not encrypted"
OWN_MD5 = "ours, BitLocker, MD5"
AZCOPY = "AzCopy"
AZCOPY_MD5 = "AzCopy --put-md5"
RCLONE = "rclone"
PAIR = "dislocker + ntfs-3g + AzCopy"
SDK = "SDK upload_blob"
PEERS = (AZCOPY, RCLONE, PAIR)
"""Those that carry the same files without being asked for more."""
OF_A_DRIVE = "agent.transfer."
PEAK_MIB = 256


@dataclass(frozen=True, slots=True)
class Bar:
    """Ours over the peer's: at most ``bound``, or at least when ``is_least``.

    ``carrying`` is without the start of the programs, or of the span; ``whole`` is of the whole command.
    """

    about: str
    own: str
    peer: str
    carrying: Figure
    whole: Figure
    bound: float
    is_least: bool = False


_CPU = (figures.carrying_cpu_s_gb, figures.cpu_s_gb)
_CPU_FILE = (figures.carrying_cpu_us_file, figures.cpu_us_file)
_RATE = (figures.files_s, lambda run: run.files / run.wall_s)

BULK = (
    Bar("cpu-s/GB", OWN, PAIR, *_CPU, 0.4),
    Bar("cpu-s/GB", OWN, AZCOPY, *_CPU, 1.5),
    Bar("cpu-s/GB", OWN_MD5, AZCOPY_MD5, *_CPU, 1.2),
    Bar("cpu-s/GB", OWN, RCLONE, *_CPU, 0.7),
    Bar("cpu-s/GB", OWN_PLAIN, AZCOPY, *_CPU, 0.8),
)
TINY = (
    Bar("cpu-µs/file", OWN, AZCOPY, *_CPU_FILE, 0.8),
    Bar("files/s", OWN, AZCOPY, *_RATE, 1.0, is_least=True),
    Bar("files/s", OWN, SDK, *_RATE, 8.0, is_least=True),
)
BARS = {"large": BULK, "medium": BULK, "small": (), "tiny": TINY}
HEAD = ("bar", "asked", "carrying", "whole command", "verdict")


def verdicts(cells: Iterable[Cell], target: str) -> list[tuple[str, ...]]:
    """A row for each bar, of the cells to ``target``; HEAD names the columns."""
    rows: list[tuple[str, ...]] = []
    for cell in cells:
        if cell.target == target and cell.workload.key in BARS:
            rows += [_verdict(bar, cell) for bar in BARS[cell.workload.key]]
            rows += [_time(cell), _peak(cell)]
    return rows


def _verdict(bar: Bar, cell: Cell) -> tuple[str, ...]:
    own, peer = cell.row(bar.own), cell.row(bar.peer)
    about = f"{cell.workload.title}: {bar.about}, {bar.own} / {bar.peer}"
    asked = f"{'≥' if bar.is_least else '≤'} {bar.bound:g}"
    if own is None or peer is None:
        return about, asked, "-", "-", "not measured"
    return _judged(about, asked, ratio(own, peer, bar.carrying), ratio(own, peer, bar.whole), bar)


def _judged(about: str, asked: str, carrying: float | None, whole: float | None, bar: Bar) -> tuple[str, ...]:
    if carrying is None or whole is None:
        return about, asked, "-", "-", "not measured"
    miss = [_miss(each, bar.bound, is_least=bar.is_least) for each in (carrying, whole)]
    return about, asked, f"{carrying:.2f}", f"{whole:.2f}", _said(miss[0], miss[1])


def _miss(found: float, bound: float, *, is_least: bool) -> float:
    """By which share of the bound it is missed; 0 when it is met."""
    return max(0.0, (bound - found if is_least else found - bound) / bound)


def _said(carrying: float, whole: float) -> str:
    if not carrying and not whole:
        return "met"
    if not carrying:
        return f"met carrying; NOT MET with the start, by {whole:.0%}"
    return f"NOT MET, by {carrying:.0%}" + (f" (with the start {whole:.0%})" if whole else "")


def _time(cell: Cell) -> tuple[str, ...]:
    """Against the better of the peers, the span in each column of its own."""
    peers = [row for name in PEERS if (row := cell.row(name)) is not None]
    about, own = f"{cell.workload.title}: time, {OWN} / the better peer's", cell.row(OWN)
    if own is None or not peers:
        return about, "≤ 1", "-", "-", "not measured"
    bar = Bar("time", OWN, "", figures.span_s, figures.wall_s, 1.0)
    return _judged(about, "≤ 1", _worst(own, peers, bar.carrying), _worst(own, peers, bar.whole), bar)


def _worst(own: Row, peers: Iterable[Row], figure: Figure) -> float | None:
    found = [each for peer in peers if (each := ratio(own, peer, figure)) is not None]
    return max(found, default=None)


def _peak(cell: Cell) -> tuple[str, ...]:
    own, about = cell.row(OWN), f"{cell.workload.title}: peak memory, {OWN}"
    if own is None:
        return about, f"≤ {PEAK_MIB} MiB", "-", "-", "not measured"
    # The bar is of a drive: its reader and uploader. The third process serves all drives of a station.
    pair = max(together(member for member in run.members if OF_A_DRIVE in member.command) for run in own.runs)
    of_pair, of_all = pair / (1 << 20), max(run.peak_bytes for run in own.runs) / (1 << 20)
    verdict = "met" if of_pair <= PEAK_MIB else f"NOT MET, by {of_pair - PEAK_MIB:.0f} MiB"
    return about, f"≤ {PEAK_MIB} MiB", f"{of_pair:.0f} MiB", f"{of_all:.0f} MiB", verdict
