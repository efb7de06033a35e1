"""The station's timers: clocks run out while it works, and operators are told, in log and metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.catalog import Catalog
from agent.config import Settings, StoreSettings
from agent.model.states import DriveEvent, DriveState, JobState
from agent.station.metrics import Surroundings, exposed
from agent.station.timers import Timers
from agent.station.view import View
from tests.kit.log import KeptLog
from tests.unit.catalog_cases import WHO, Ticking, name, opened, opened_at_once, serial, spec, walk


@pytest.fixture
def clock() -> Ticking:
    return Ticking()


@pytest.fixture
async def catalog(tmp_path: Path, clock: Ticking) -> AsyncIterator[Catalog]:
    async with opened_at_once(tmp_path, clock) as catalog:
        yield catalog


async def test_the_station_walks_a_job_through_its_clocks_and_tells_of_it(
    catalog: Catalog, clock: Ticking
) -> None:
    log, view = KeptLog(), View()
    timers = Timers(catalog, log, view, clock)
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    seen: list[JobState] = []
    for days in (0, 14, 30):
        clock.pass_days(days)
        await timers.look()
        seen.append((await catalog.job(name())).state)
    assert seen == [JobState.SHIPPING, JobState.SHIPPING, JobState.CLOSED]
    clock.pass_days(90)
    await timers.look()
    assert [job async for job in catalog.jobs()] == []
    told = log.named("operators.notified")
    assert [(line["reason"], line["job"]) for line in told] == [
        ("late", "ship-1"),
        ("unanswered", "ship-1"),
        ("expired", "ship-1"),
    ]
    assert view.notices == {"late": 1, "unanswered": 1, "expired": 1}


async def test_what_another_process_writes_is_told_once_by_the_station(
    tmp_path: Path, catalog: Catalog, clock: Ticking
) -> None:
    log = KeptLog()
    timers = Timers(catalog, log, View(), clock)
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    await walk(catalog, "ship-1", "A", DriveEvent.ARRIVE)
    await timers.look()
    async with opened(tmp_path, clock=clock) as other:
        await other.fault_drive(name(), serial("A"), who="operator", note="it smells")
    for _ in range(3):
        clock.pass_days(1)
        await timers.look()
    assert [(line["reason"], line["drive"], line["detail"]) for line in log.named("operators.notified")] == [
        ("faulted", "A", "it smells")
    ]


async def test_what_was_told_before_the_start_is_not_told_again(catalog: Catalog, clock: Ticking) -> None:
    await catalog.note_extra(serial("X"), came_with=None, who=WHO)
    log = KeptLog()
    await Timers(catalog, log, View(), clock).look()
    assert log.named("operators.notified") == []


async def test_what_ran_out_while_no_station_ran_is_done_at_the_start(
    catalog: Catalog, clock: Ticking
) -> None:
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    clock.pass_days(14)
    log = KeptLog()
    await Timers(catalog, log, View(), clock).look()
    assert [line["reason"] for line in log.named("operators.notified")] == ["late"]


async def test_the_clocks_are_looked_at_every_ten_seconds_and_when_the_time_is_set_back(
    catalog: Catalog,
) -> None:
    now = datetime(2024, 1, 1, tzinfo=UTC)
    looked: list[datetime] = []

    class Counted:
        def __getattr__(self, attribute: str) -> object:
            if attribute == "look_at_clocks":
                looked.append(now)
            return getattr(catalog, attribute)

    timers = Timers(Counted(), KeptLog(), View(), lambda: now)  # type: ignore[arg-type]
    for second in (0, 2, 9, 10, 15, 20):
        now = datetime(2024, 1, 1, 0, 0, second, tzinfo=UTC)
        await timers.look()
    assert [at.second for at in looked] == [0, 10, 20]
    now = datetime(2023, 1, 1, tzinfo=UTC)
    await timers.look()
    assert looked[-1] == now


async def test_the_head_of_the_history_is_logged_at_the_start_and_once_a_day(
    catalog: Catalog, clock: Ticking
) -> None:
    log = KeptLog()
    timers = Timers(catalog, log, View(), clock)
    for days in (0.0, 0.5, 0.6, 0.1):
        clock.pass_days(days)
        await catalog.record_event("drive.smart", who=WHO)
        await timers.look()
    heads = [line["head"].partition(":")[0] for line in log.named("history.head")]
    assert heads == ["1", "3"]


async def test_notices_are_counted_by_reason_alone(catalog: Catalog, clock: Ticking) -> None:
    view = View()
    timers = Timers(catalog, KeptLog(), view, clock)
    await timers.look()
    for number in range(3):
        await catalog.note_extra(serial(f"CANARY{number}"), came_with=None, who=WHO)
    clock.pass_days(1)
    await timers.look()
    settings = Settings(Path("/"), StoreSettings("directory", "/"))
    around = Surroundings({DriveState.SPECIFIED: 0}, 1)
    text = exposed(view, settings, around, openmetrics=False, now=clock()).decode()
    assert 'drive_ingest_operator_notices_total{reason="extra"} 3.0' in text
    assert "CANARY" not in text
