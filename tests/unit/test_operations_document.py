"""docs/operations.md names what there is."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from agent.cli.install_systemd import PLACES
from agent.config import BandwidthSettings, Settings, StoreSettings
from agent.model.bandwidth import Cap
from agent.model.identity import SerialNumber
from agent.model.states import DriveState
from agent.model.tally import Tally
from agent.station.metrics import Surroundings, exposed
from agent.station.pauses import RESUMED, STANDING
from agent.station.retries import MAX_CRASHES, BackOff
from agent.station.sentences import BY_STATE
from agent.station.view import View
from agent.station.visit import GONE_WITHIN_S
from agent.volume.manner import GENTLY, USUAL

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


def test_the_sentences_of_all_states_are_in_the_document() -> None:
    for state, (sentence, next_step) in BY_STATE.items():
        said = "the reason" if state is DriveState.FAULTED else sentence
        assert f"| `{state}` | {said} | {next_step} |" in TEXT


def test_all_that_a_drive_stands_still_for_is_in_the_document() -> None:
    assert [what for what in (*STANDING, RESUMED) if f"`{what}`" not in TEXT] == []


def test_the_waits_and_the_care_in_the_document_are_those_that_are_taken() -> None:
    waits = BackOff()
    shown = [f"{waits.next_s():g}" for _ in range(4)]
    assert f"after {', '.join(shown[:3])}, and then each {shown[3]} seconds" in TEXT
    assert f"watched for {GONE_WITHIN_S:g} seconds" in TEXT
    budget, usual = GENTLY.budget, USUAL.budget
    assert (budget.sector_tries, usual.sector_tries) == (1, 3)
    assert (budget.region_s, usual.region_s, budget.drive_s, usual.drive_s) == (30, 120, 1800, 3600)
    assert (GENTLY.piece_bytes, GENTLY.skip_bytes) == (64 << 10, 1 << 20)
    assert (GENTLY.most_skip_bytes, budget.region_bytes) == (64 << 20, 64 << 20)
    assert MAX_CRASHES == 3
