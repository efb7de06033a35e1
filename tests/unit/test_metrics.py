"""Metrics as a scraper reads them, and the place where they are served."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from agent.catalog import open_catalog
from agent.config import BandwidthSettings, Listen, Settings, StoreSettings
from agent.errors import ConfigInvalid, StateUnusable
from agent.model.bandwidth import Cap
from agent.model.identity import SerialNumber
from agent.model.secrets import Secret
from agent.model.states import DriveState
from agent.model.tally import Tally
from agent.station import listener
from agent.station.listener import Answer, serving
from agent.station.metrics import Surroundings, exposed
from agent.station.view import View
from agent.station.window import Window

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CANARY = "sv=2024-11-04&sig=CANARY-7f3a"
SERIAL = "WD-CANARY-SERIAL"
AROUND = Surroundings({DriveState.SPECIFIED: 4}, 123_456)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    store = StoreSettings("azure", "https://acct.blob.example", Secret(CANARY), Path("/canary/file"))
    caps = BandwidthSettings(station=Cap(8_000_000))
    return Settings(state_dir=tmp_path, store=store, bandwidth=caps)


@pytest.fixture
def view() -> View:
    """Of a station in which everything has happened."""
    view = View()
    view.round_ended(StateUnusable("no"))
    view.round_ended()
    view.credential_ends = NOW + timedelta(hours=1)
    view.left_alone["x"] = "SerialNotSpecified"
    for number in (1, 2):
        key = str(number)
        view.begin(key, key, SerialNumber.parse(f"{SERIAL}{number}"), Tally(), 0)
        view.take(key, {"event": "opened", "volume": "canary"})
        tally = {"discovered": [9, 90], "done": [3, 30], "failed": [1, 10], "skipped": [0, 0]}
        view.take(
            key,
            {
                "event": "progress",
                "percent": 44,
                "tally": tally,
                "limit": 12,
                "limited_by": "network",
                "bytes_per_s": 2.5,
                "waiting": "acct/canary.jpg: no answer",
                "throttled_requests": 2,
                "cut_requests": 1,
            },
        )
    view.take("2", {"event": "drive.unreadable", "bytes": 4096})
    view.take("2", {"event": "paused", "error": "StoreRefused", "detail": "canary"})
    view.take("1", {"event": "worker.lost"})
    return view


def _text(view: View, settings: Settings, *, openmetrics: bool = False) -> str:
    return exposed(view, settings, AROUND, openmetrics=openmetrics, now=NOW).decode()


def _families(text: str) -> Iterator[Metric]:
    return (family for family in parse_plain(text) if family.name.startswith("drive_ingest_"))


def _values(text: str) -> dict[tuple[Any, ...], float]:
    return {
        (sample.name.removeprefix("drive_ingest_"), *sample.labels.values()): sample.value
        for family in _families(text)
        for sample in family.samples
    }


def test_what_happened_stands_in_the_metrics(view: View, settings: Settings) -> None:
    values = _values(_text(view, settings))
    expected = {
        ("files_total", "done"): 6,
        ("bytes_total", "failed"): 20,
        ("store_throttled_requests_total",): 4,
        ("store_cut_requests_total",): 2,
        ("store_request_limit",): 12,
        ("drives_limited", "network"): 2,
        ("drives_limited", "drive"): 0,
        ("transfer_bytes_per_second", "1"): 2,
        ("progress_ratio", "2"): 0.44,
        ("unreadable_bytes_total",): 4096,
        ("pauses_total", "StoreRefused"): 1,
        ("worker_crashes_total",): 1,
        ("rounds_total", "failed"): 1,
        ("drives_left_alone", "SerialNotSpecified"): 1,
        ("drives", "Specified"): 4,
        ("drives", "Completed"): 0,
        ("state_free_bytes",): 123_456,
        ("store_credential_remaining_seconds",): 3600,
        ("bandwidth_cap_bytes_per_second", "station"): 8_000_000,
        ("draining",): 0,
    }
    assert {key: values.get(key) for key in expected} == expected
    assert values["progress_age_seconds", "1"] >= 0


def test_both_forms_are_what_their_parsers_take(view: View, settings: Settings) -> None:
    plain = {family.name for family in parse_plain(_text(view, settings))}
    strict = {family.name for family in parse_openmetrics(_text(view, settings, openmetrics=True))}
    assert {f"drive_ingest_{name}" for name in ("drives", "round_age_seconds")} <= plain & strict
    assert "process_resident_memory_bytes" in plain


def _problems(family: Metric) -> Iterator[str]:
    """What the linter of Prometheus would say."""
    if not family.documentation:
        yield "no help"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", family.name):
        yield "name"
    if re.search(r"_(ms|milliseconds|minutes|hours|kb|mb|kib|mib|percent)(_|$)", family.name):
        yield "no base unit"
    for sample in family.samples:
        if (family.type == "counter") != sample.name.endswith("_total"):
            yield "a counter ends in _total, and nothing else"
        if not all(re.fullmatch(r"[a-z]+", label) for label in sample.labels):
            yield "label"


def test_a_linter_of_metrics_has_nothing_to_say(view: View, settings: Settings) -> None:
    families = list(_families(_text(view, settings)))
    assert len(families) > 20
    assert {family.name: found for family in families if (found := list(_problems(family)))} == {}


def test_the_linter_of_metrics_can_say_something() -> None:
    bad = Metric("drive_ingest_wait_ms", "", "gauge")
    bad.add_sample("drive_ingest_wait_total", {"Drive": "x"}, 1)
    assert len(list(_problems(bad))) == 4


def test_no_secret_no_serial_and_no_file_stands_in_the_metrics(view: View, settings: Settings) -> None:
    for openmetrics in (False, True):
        text = _text(view, settings, openmetrics=openmetrics)
        assert "canary" not in text.lower()
        assert "sig=" not in text


def test_a_label_has_few_values_whatever_the_drives_are(view: View, settings: Settings) -> None:
    before = len(_values(_text(view, settings)))
    for number in range(200):
        view.begin("k", "1", SerialNumber.parse(f"S{number}"), Tally(), 0)
        view.end("k")
    assert len(_values(_text(view, settings))) == before


@asynccontextmanager
async def _window(tmp_path: Path, view: View, settings: Settings) -> Any:
    async with open_catalog(tmp_path / "catalog.sqlite", tmp_path / "key") as catalog:
        yield Window(view, catalog, lambda: settings, lambda: NOW), catalog


async def _get(listen: Listen, request: bytes) -> tuple[bytes, bytes]:
    """Head and body."""
    if listen.path is not None:
        reader, writer = await asyncio.open_unix_connection(listen.path)
    else:
        reader, writer = await asyncio.open_connection(listen.host, listen.port)
    writer.write(request)
    async with asyncio.timeout(60):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return head, body


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("kind", ["port", "socket"])
async def test_a_scraper_gets_the_metrics(kind: str, tmp_path: Path, view: View, settings: Settings) -> None:
    listen = Listen(path=tmp_path / "m.sock") if kind == "socket" else Listen(None, "127.0.0.1", _free_port())
    async with _window(tmp_path, view, settings) as (window, _), serving(listen, window.answer):
        head, body = await _get(listen, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4")
        assert ("files_total", "done") in _values(body.decode())
        head, body = await _get(
            listen, b"GET /metrics HTTP/1.1\r\nACCEPT: application/openmetrics-text;version=1.0.0\r\n\r\n"
        )
        assert b"application/openmetrics-text" in head
        assert body.endswith(b"# EOF\n")
        head, body = await _get(listen, b"HEAD /healthz HTTP/1.0\r\n\r\n")
        assert (head[:12], body) == (b"HTTP/1.1 200", b"")
    if listen.path is not None:
        assert not listen.path.exists()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /etc/passwd HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"\x16\x03\x01\r\n\r\n", b"400"),
        (b"GET /metrics\r\n\r\n", b"400"),
    ],
)
async def test_another_request_is_refused(request_bytes: bytes, status: bytes, tmp_path: Path) -> None:
    async def handler(path: str, accept: str) -> Answer:
        return Answer(HTTPStatus.NOT_FOUND, b"no\n")

    listen = Listen(path=tmp_path / "m.sock")
    async with serving(listen, handler):
        assert (await _get(listen, request_bytes))[0].split()[1] == status


async def _never(path: str, accept: str) -> Answer:
    raise AssertionError


async def test_who_says_too_much_is_hung_up_on(tmp_path: Path) -> None:
    listen = Listen(path=tmp_path / "m.sock")
    async with serving(listen, _never):
        assert await _is_hung_up_on(listen, b"GET /" + b"x" * listener.MAX_HEAD_BYTES * 64)


async def _is_hung_up_on(listen: Listen, request: bytes) -> bool:
    try:
        return await _get(listen, request) == (b"", b"")
    except ConnectionError:
        return True


async def test_who_is_slow_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "WITHIN_S", 0.05)
    listen = Listen(path=tmp_path / "m.sock")
    async with serving(listen, _never):
        assert await _get(listen, b"GET /metr") == (b"", b"")


async def test_the_socket_of_a_killed_run_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "m.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with serving(Listen(path=path), _never):
        assert path.is_socket()
        assert path.stat().st_mode & 0o007 == 0
    path.write_text("mine")
    with pytest.raises(ConfigInvalid, match="cannot be served"):
        async with serving(Listen(path=path), _never):
            pass
    assert path.read_text() == "mine"


async def _said(window: Window, path: str) -> tuple[int, str]:
    answer = await window.answer(path, "")
    return answer.status.value, answer.body.decode().strip()


async def test_health_and_readiness_say_why_not(tmp_path: Path, settings: Settings) -> None:
    now = 0.0
    view = View(lambda: now)
    async with _window(tmp_path, view, settings) as (window, catalog):
        assert (await _said(window, "/healthz"))[0] == 503
        view.round_ended()
        assert await _said(window, "/healthz") == (200, "alive")
        assert await _said(window, "/readyz") == (200, "ready")
        view.round_ended(StateUnusable("the disk is full"))
        assert (await _said(window, "/healthz"))[0] == 200
        assert await _said(window, "/readyz") == (503, "the last look at the drives failed: the disk is full")
        view.round_ended()
        view.credential_ends = NOW
        assert await _said(window, "/readyz") == (503, "the store's credential has expired")
        view.is_draining = True
        assert await _said(window, "/readyz") == (503, "stopping")
        now = 500.0
        assert await _said(window, "/healthz") == (503, "the drives were last looked at 500 s ago")

        async def broken() -> None:
            raise StateUnusable("gone")

        now = 0.0
        catalog.count_drives = broken
        assert await _said(window, "/healthz") == (503, "the catalog does not answer")
        metrics = (await window.answer("/metrics", "")).body.decode()
        assert ("drives", "Specified") not in _values(metrics)
