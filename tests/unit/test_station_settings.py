"""What a running station takes over from its settings, and what it says of its credential."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.config import BandwidthSettings, ImageSettings, Settings, StoreSettings, TransferSettings
from agent.model.access import Identity, IdentityKind
from agent.model.bandwidth import Cap
from agent.model.identity import JobName, SerialNumber
from agent.model.secrets import Secret
from agent.station.caps import CapKeeper
from agent.station.expiry import ExpiryWatch
from agent.station.reload import adopt
from agent.transfer.board import Board
from agent.transfer.meter import STATION, of_account, of_job, rate_of

ENDS = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
SAS = Secret("sr=c&sp=rwc&se=2026-12-01T12:00:00Z&sig=c2VjcmV0")
BEFORE = Settings(
    state_dir=Path("/state"),
    store=StoreSettings("azure", "https://a.example", Secret("key"), Path("/key")),
)


class Log:
    """Keeps what was logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def bind(self, **_: Any) -> Log:
        return self

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append(("info", event, fields))

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append(("warning", event, fields))

    def error(self, event: str, **fields: Any) -> None:
        self.lines.append(("error", event, fields))


def test_caps_credential_and_transfer_are_taken_over() -> None:
    after = replace(
        BEFORE,
        store=replace(BEFORE.store, credential=Secret("other")),
        bandwidth=BandwidthSettings(station=Cap(10**6), jobs={"box": Cap(10**5)}),
        transfer=TransferSettings(connections=3),
    )
    adopted = adopt(BEFORE, after)
    assert adopted.settings == after
    assert adopted.changed == ("store.credential_file", "transfer", "bandwidth.station", "bandwidth.jobs")
    assert adopted.held == ()
    assert adopt(BEFORE, BEFORE).changed == ()


@pytest.mark.parametrize(
    ("after", "held"),
    [
        (replace(BEFORE, state_dir=Path("/other")), "state_dir"),
        (replace(BEFORE, store=StoreSettings("directory", "/x")), "store.kind"),
        (replace(BEFORE, store=replace(BEFORE.store, address="https://b.example")), "store.address"),
        (
            replace(
                BEFORE,
                store=StoreSettings("azure", "https://a.example", identity=Identity(IdentityKind.MANAGED)),
            ),
            "store.credential",
        ),
        (replace(BEFORE, images=(ImageSettings(Path("/i"), SerialNumber.parse("A"), "1"),)), "image"),
        (replace(BEFORE, key_file=Path("/k")), "key_file"),
        (replace(BEFORE, bays={"pci-0000:00:1f.2-ata-1": "1"}), "bays"),
    ],
)
def test_what_needs_a_restart_stays_and_is_named(after: Settings, held: str) -> None:
    adopted = adopt(BEFORE, after)
    assert held in adopted.held
    assert adopted.settings == BEFORE


def test_caps_follow_the_clock_and_the_settings() -> None:
    board, job = Board(), JobName.parse("box")
    keeper = CapKeeper(board, job)
    night = Cap.parse({"22:00-06:00": "200 MB/s", "otherwise": "20 MB/s"})
    settings = replace(BEFORE, bandwidth=BandwidthSettings(account=night, jobs={"box": Cap(5 * 10**6)}))
    buckets = (STATION, of_account("https://a.example"), of_job("box"))

    def in_force() -> list[float | None]:
        return [board.change(lambda rows, bucket=bucket: rate_of(rows, bucket)) for bucket in buckets]  # type: ignore[misc]

    told = keeper.keep(settings, datetime(2026, 11, 21, 21, 59))
    assert told == {"station": "unlimited", "account": "20 MB/s", "job": "5 MB/s"}
    assert in_force() == [None, 20e6, 5e6]
    assert keeper.keep(settings, datetime(2026, 11, 21, 21, 59)) is None
    assert keeper.keep(settings, datetime(2026, 11, 21, 22, 0)) is not None
    assert in_force() == [None, 200e6, 5e6]
    assert keeper.keep(BEFORE, datetime(2026, 11, 21, 22, 0)) is not None
    assert in_force() == [None, None, None]


def test_without_caps_nothing_is_said_of_them() -> None:
    assert CapKeeper(Board(), JobName.parse("box")).keep(BEFORE) is None


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (timedelta(days=8), None),
        (timedelta(days=6, hours=1), ("warning", "6 days")),
        (timedelta(hours=20), ("warning", "20 hours")),
        (timedelta(minutes=59), ("warning", "59 minutes")),
        (timedelta(seconds=-1), ("error", None)),
    ],
)
def test_an_expiry_is_told_in_advance(left: timedelta, told: tuple[str, str | None] | None) -> None:
    log = Log()
    ExpiryWatch(log).look(SAS, ENDS - left)
    if told is None:
        assert log.lines == []
        return
    ((level, event, fields),) = log.lines
    assert (level, fields.get("left")) == told
    assert event == ("credential.expires" if level == "warning" else "credential.expired")
    assert fields["at"] == "2026-12-01 12:00 UTC"
    assert "SIGHUP" in fields["next"]
    assert "c2VjcmV0" not in str(log.lines)


def test_each_warning_is_told_once_and_a_new_credential_is_watched_anew() -> None:
    log = Log()
    watch = ExpiryWatch(log)
    for hours in range(24 * 9, -3, -1):
        watch.look(SAS, ENDS - timedelta(hours=hours))
    assert [level for level, _, _ in log.lines] == ["warning"] * 3 + ["error"]
    later = Secret(SAS.reveal().replace("2026-12-01", "2026-12-03"))
    watch.look(later, ENDS)
    assert [level for level, _, _ in log.lines][4:] == ["warning"]


@pytest.mark.parametrize(
    "credential", [None, Secret("a2V5"), Secret("sr=c&si=policy&sig=x"), Secret("sig=x")]
)
def test_a_credential_without_an_end_is_passed_over(credential: Secret | None) -> None:
    log = Log()
    ExpiryWatch(log).look(credential, ENDS)
    assert log.lines == []
