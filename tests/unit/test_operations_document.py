"""docs/operations.md names what there is."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from agent.cli.install_systemd import PLACES
from agent.config import BandwidthSettings, Settings, StoreSettings
from agent.model.bandwidth import Cap
from agent.model.identity import SerialNumber
from agent.model.tally import Tally
from agent.station.metrics import Surroundings, exposed
from agent.station.view import View

TEXT = (Path(__file__).parents[2] / "docs/operations.md").read_text("utf-8")


def test_the_metrics_in_the_document_are_those_that_are_served() -> None:
    view, now = View(), datetime.now(UTC)
    view.round_ended()
    view.credential_ends = now
    view.begin("1", "1", SerialNumber.parse("S"), Tally(), 0)
    view.bays["1"].limit = 5
    settings = Settings(
        Path("/"), StoreSettings("directory", "/"), bandwidth=BandwidthSettings(station=Cap(1_000_000))
    )
    text = exposed(view, settings, Surroundings({}, 1), openmetrics=False, now=now).decode()
    served = set(re.findall(r"^# TYPE (drive_ingest_\w+) ", text, re.MULTILINE))
    table = [line.split("|")[1] for line in TEXT.splitlines() if line.startswith("| `drive_ingest_")]
    assert served == {name for cell in table for name in re.findall(r"`(drive_ingest_\w+)`", cell)}


def test_every_placed_file_is_in_the_document() -> None:
    assert [place for place in PLACES.values() if f"`/{place}`" not in TEXT] == []
