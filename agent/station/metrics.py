"""What the station knows of itself as Prometheus metrics.

Labels are states, results, bays and names of errors: never a serial, a file or a person. Sizes are
bytes and times are seconds. Counts begin with the process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from agent import __version__
from agent.config import Settings
from agent.model.states import DriveState
from agent.station.view import REQUESTS, View
from agent.transfer.bottleneck import Limit

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PREFIX = "drive_ingest_"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is looked up when somebody asks: drives in the catalog by state, and free bytes for state.

    None where it cannot be told.
    """

    drives: Mapping[DriveState, int] | None
    free_bytes: int | None


def exposed(
    view: View, settings: Settings, around: Surroundings, *, openmetrics: bool, now: datetime
) -> bytes:
    """All metrics as text. ``now`` is UTC."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Collected(lambda: _all(view, settings, around, now)))
    return generate_openmetrics(registry) if openmetrics else generate_latest(registry)  # type: ignore[no-untyped-call]


class _Collected:
    def __init__(self, make: Callable[[], Iterator[Metric]]) -> None:
        self._make = make

    def collect(self) -> Iterator[Metric]:
        return self._make()


def _all(view: View, settings: Settings, around: Surroundings, now: datetime) -> Iterator[Metric]:
    yield _info("build", "The software that runs.", {"version": __version__})
    yield _info("store", "Where blobs go.", {"kind": settings.store.kind, "address": settings.store.address})
    yield from _station(view, settings, around, now)
    yield from _drives(view, around)
    yield from _transfer(view)


def _station(view: View, settings: Settings, around: Surroundings, now: datetime) -> Iterator[Metric]:
    yield _count("rounds", "Looks at everything that is attached, by outcome.", "outcome", view.rounds)
    if view.round_age_s is not None:
        yield _gauge("round_age_seconds", "Time since the last look at everything.", view.round_age_s)
    yield _gauge("draining", "1 while the station ends and drives keep their places.", view.is_draining)
    yield _count("worker_crashes", "Workers that ended as they should not.", None, {"": view.crashes})
    if around.free_bytes is not None:
        yield _gauge("state_free_bytes", "Room where catalog and journals lie.", around.free_bytes)
    if view.credential_ends is not None:
        left = (view.credential_ends - now).total_seconds()
        yield _gauge("store_credential_remaining_seconds", "Until the SAS ends; negative after that.", left)
    yield _labelled("bandwidth_cap_bytes_per_second", "Caps that hold now.", "scope", _caps(settings, now))


def _caps(settings: Settings, now: datetime) -> dict[str, float]:
    local, bandwidth = now.astimezone(), settings.bandwidth
    caps = {"station": bandwidth.station.at(local), "account": bandwidth.account.at(local)}
    return {scope: rate for scope, rate in caps.items() if rate is not None}


def _drives(view: View, around: Surroundings) -> Iterator[Metric]:
    if around.drives is not None:
        states = {str(state): around.drives.get(state, 0) for state in DriveState}
        yield _labelled("drives", "Drives of all jobs, by their state in the catalog.", "state", states)
    yield _labelled("drives_working", "Drives that are worked now, by what they do.", "phase", _phases(view))
    alone = Counter(view.left_alone.values())
    yield _labelled("drives_left_alone", "Attached drives that nobody works, and why.", "reason", alone)
    yield _count("drives_finished", "Drives that came to an end, by copy status.", "status", view.finished)
    yield _count("pauses", "Transfers that stopped and wait, by what for.", "reason", view.pauses)
    yield _count("operator_notices", "What operators were told, by what of.", "reason", view.notices)
    told = view.notifications
    yield _count("notifications", "Tries to tell others, by what became of them.", "outcome", told)


def _phases(view: View) -> dict[str, float]:
    found = Counter("waiting" if bay.waiting else bay.phase for bay in view.bays.values())
    return {phase.replace(" ", "_"): count for phase, count in found.items()}


def _transfer(view: View) -> Iterator[Metric]:
    yield _count("files", "Files with an outcome.", "result", view.files)
    yield _count("bytes", "Bytes of files with an outcome.", "result", view.bytes)
    yield _count("unreadable_bytes", "What drives could not read.", None, {"": view.unreadable_bytes})
    for name in REQUESTS:
        yield _count(f"store_{name}", _TOLD[name], None, {"": view.requests[name]})
    bays = list(view.bays.values())
    ages = {bay.bay: view.seconds() - bay.moved_at for bay in bays}
    yield _labelled("progress_age_seconds", "Since the drive in a bay last moved on.", "bay", ages)
    percents = {bay.bay: bay.percent / 100 for bay in bays}
    yield _labelled("progress_ratio", "Share of the drive in a bay that has an outcome.", "bay", percents)
    speeds = {bay.bay: bay.bytes_per_s for bay in bays}
    yield _labelled("transfer_bytes_per_second", "How fast the drive in a bay goes on.", "bay", speeds)
    held = Counter(bay.limited_by for bay in bays if bay.limited_by)
    limited = {str(name): held[name] for name in Limit}
    yield _labelled("drives_limited", "Drives that are worked, by what holds them up.", "by", limited)
    if limits := [bay.limit for bay in bays if bay.limit]:
        yield _gauge("store_request_limit", "Requests at once that the account bears.", min(limits))


_TOLD = {
    "throttled_requests": "Requests that the store answered with: less, please.",
    "cut_requests": "Requests that were given up for their time.",
}


def _info(name: str, told: str, values: Mapping[str, str]) -> Metric:
    return InfoMetricFamily(PREFIX + name, told, value=dict(values))


def _gauge(name: str, told: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, told, value=float(value))


def _labelled(name: str, told: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, told, labels=[label])
    return _filled(family, values)


def _count(name: str, told: str, label: str | None, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, told, labels=[] if label is None else [label])
    return _filled(family, values)


def _filled(
    family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[str, float] | Iterable[tuple[str, float]]
) -> Metric:
    for value, number in sorted(dict(values).items()):
        family.add_metric([value] if value else [], float(number))
    return family


def utc_now() -> datetime:
    """The clock of who is given none."""
    return datetime.now(UTC)
