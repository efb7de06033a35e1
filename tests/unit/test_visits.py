"""A drive's visit by the clock: when it is tried again, when it is given up, and what its history says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from agent.catalog import Catalog, open_catalog
from agent.config import Settings, StoreSettings
from agent.devices.fake import FakeSource
from agent.devices.health import Health, Verdict
from agent.devices.source import Device
from agent.errors import MoveRefused, StateUnusable, WorkerLost
from agent.model.concurrency import Concurrency, Place
from agent.model.identity import JobName, SerialNumber
from agent.model.job import Destination, Drive, DriveSpec, JobSpec
from agent.model.secrets import Secret
from agent.model.states import DriveState
from agent.station import attempt as attempt_module
from agent.station import progress as progress_module
from agent.station.pauses import standing
from agent.station.turns import Turns
from agent.station.visit import GONE_WITHIN_S, Visit
from agent.transfer.orders import UploadOrder
from agent.transfer.reader_order import ReaderOrder
from tests.kit.jumping import JumpingClock
from tests.kit.log import KeptLog

JOB = JobName.parse("box")
OPENED = {"event": "opened"}
OUTAGE = {"event": "paused", "error": "StoreUnreachable", "detail": "no answer"}
GONE = {"event": "paused", "error": "DeviceUnavailable", "detail": "the drive stopped answering (EIO)"}
CRASH = "crash"


def _tally(done: int) -> dict[str, list[int]]:
    return {"discovered": [100, 1000], "done": [done, 10 * done], "failed": [0, 0], "skipped": [0, 0]}


def progress(done: int) -> dict[str, Any]:
    return {"event": "progress", "percent": done, "tally": _tally(done)}


FINISHED = {"event": "finished", "status": "Completed", "logs": {}, "tally": _tally(100)}
MOVED = [OPENED, progress(1), progress(2)]
STAYS = "stays"


@dataclass
class Script:
    """What the pairs tell, one list a pair; a number is so many seconds that pass."""

    clock: JumpingClock
    pairs: list[list[Any]]
    begun: list[float] = field(default_factory=list)
    orders: list[tuple[ReaderOrder, UploadOrder]] = field(default_factory=list)
    told: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    handed_over: list[Secret | None] = field(default_factory=list)
    while_it_starts: Callable[[], None] = lambda: None

    async def start(self, fd: int, reader: ReaderOrder, upload: UploadOrder) -> _Pair:
        self.while_it_starts()
        self.begun.append(self.clock.now_s)
        self.orders.append((reader, upload))
        return _Pair(self, self.pairs.pop(0))


class _Pair:
    def __init__(self, script: Script, events: list[Any]) -> None:
        self._script, self._events = script, events

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        for event in self._events:
            if isinstance(event, (int, float)):
                self._script.clock.now_s += event
            elif callable(event):
                await event()
            elif event == STAYS:
                await self._script.told.get()
                yield {"event": "interrupted"}
            elif event == CRASH:
                raise WorkerLost("the uploader process ended: signal 9 (SIGKILL)")
            else:
                yield event

    async def reader_said(self) -> str:
        return ""

    def tell(self, word: str) -> None:
        self._script.told.put_nowait(word)

    def hand_over(self, credential: Secret | None) -> None:
        self._script.handed_over.append(credential)

    async def close(self) -> None:
        await asyncio.sleep(0)


class Source(FakeSource):
    """``is_ill``: SMART says so."""

    is_ill = False

    async def health(self, device: Device) -> Health | None:
        return Health(Verdict.FAILING, ("8 sectors wait to be read or replaced",)) if self.is_ill else None


@dataclass
class Bench:
    catalog: Catalog
    settings: Settings
    image: Path
    clock: JumpingClock
    script: Script
    source: Source = field(default_factory=Source)
    log: KeptLog = field(default_factory=KeptLog)

    async def visit(self, serial: str = "S1", bay: str = "3", **more: Any) -> Visit:
        device = self.source.plug(bay, self.image, serial)
        job = await self.catalog.job(JOB)
        options = {"patient": True, "clock": self.clock} | more
        return Visit(self.catalog, self.source, self.settings, self.log, device, job, **options)

    async def run(self, *pairs: list[Any], **more: Any) -> Visit:
        self.script.pairs = list(pairs)
        visit = await self.visit(**more)
        async with asyncio.timeout(20):
            await visit.run()
        return visit

    async def drive(self, serial: str = "S1") -> Drive:
        return (await self.catalog.job(JOB)).drive(SerialNumber.parse(serial))

    async def history(self, serial: str = "S1") -> list[str]:
        found = await self.catalog.drive_history(SerialNumber.parse(serial))
        return [event.what for event in found]

    async def details(self, what: str, serial: str = "S1") -> list[str]:
        found = await self.catalog.drive_history(SerialNumber.parse(serial))
        return [event.detail for event in found if event.what == what]

    async def stands_for(self, serial: str = "S1") -> str | None:
        found = await standing(self.catalog, JOB, SerialNumber.parse(serial))
        return found.what if found is not None else None


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    image = tmp_path / "drive.img"
    image.write_bytes(bytes(4096))
    clock = JumpingClock()
    script = Script(clock, [])
    monkeypatch.setattr(attempt_module.Pair, "start", script.start)
    settings = Settings(tmp_path / "state", StoreSettings("directory", str(tmp_path / "blobs")))
    async with open_catalog(tmp_path / "catalog.sqlite", tmp_path / "key") as catalog:
        spec = JobSpec(
            name=JOB,
            drives=tuple(DriveSpec(SerialNumber.parse(serial), None) for serial in ("S1", "S2", "S3")),
            destination=Destination.parse("data"),
            allow_unencrypted=True,
        )
        await catalog.create_job(spec, ship=True, who="test")
        yield Bench(catalog, settings, image, clock, script)


async def test_crashes_are_retried_after_longer_and_longer_waits_and_then_the_drive_is_faulted(
    bench: Bench,
) -> None:
    visit = await bench.run([OPENED, CRASH], [CRASH], [OPENED, progress(0), CRASH])
    assert bench.script.begun == [0, 5, 20]
    assert (await bench.drive()).state is DriveState.FAULTED
    assert isinstance(visit.outcome, WorkerLost)
    assert await bench.details("drive.fault") == ["the uploader process ended: signal 9 (SIGKILL)"]
    lost = await bench.details("worker.lost")
    assert [line.partition(" (")[2].partition("[")[0] for line in lost] == [
        "SIGKILL) (1 of 3 in a row); it is started again in 5 s ",
        "SIGKILL) (2 of 3 in a row); it is started again in 15 s ",
        "SIGKILL) (3 of 3 in a row); it is not started again ",
    ]
    (line,) = bench.log.named("drive.faulted")
    assert line["next"]
    assert await bench.stands_for() is None


async def test_books_that_do_not_balance_at_the_end_fault_the_drive_and_do_not_repeat_the_visit(
    bench: Bench,
) -> None:
    visit = await bench.run([OPENED, {**FINISHED, "tally": _tally(99)}])
    assert (await bench.drive()).state is DriveState.FAULTED
    assert isinstance(visit.outcome, WorkerLost)
    (why,) = await bench.details("drive.fault")
    assert "the end of its transfer was refused" in why
    assert "100 files discovered, 99 done" in why
    assert len(bench.script.begun) == 1


async def test_an_end_that_comes_after_operators_ended_the_drive_moves_nothing(bench: Bench) -> None:
    async def ended_by_operators() -> None:
        job, serial = JOB, SerialNumber.parse("S1")
        await bench.catalog.fault_drive(job, serial, who="test", note="it smells")
        await bench.catalog.resolve_drive(job, serial, who="test", note="no use", give_up=True)

    visit = await bench.run([OPENED, ended_by_operators, FINISHED])
    assert (await bench.drive()).state is DriveState.COMPLETED_MORE_INFO
    assert isinstance(visit.outcome, MoveRefused)
    assert len(bench.log.named("drive.taken_away")) == 1


async def test_progress_between_crashes_begins_the_waits_anew(bench: Bench) -> None:
    await bench.run([CRASH], [CRASH], [*MOVED, CRASH], [CRASH], [*MOVED, CRASH], [FINISHED])
    assert bench.script.begun == [0, 5, 20, 25, 40, 45]
    assert (await bench.drive()).state is DriveState.COMPLETED
    assert len(await bench.details("worker.lost")) == 5


async def test_an_outage_is_one_event_of_the_history_however_often_it_is_tried(bench: Bench) -> None:
    visit = await bench.run(*[[OPENED, OUTAGE]] * 9, [*MOVED, FINISHED])
    assert bench.script.begun == [0, 5, 20, 65, 125, 185, 245, 305, 365, 425]
    assert (await bench.history()).count("drive.paused") == 1
    (line,) = await bench.details("drive.paused")
    assert line.startswith("no answer [network: StoreUnreachable]. Check endpoint and network")
    assert len(bench.log.named("drive.paused")) == 9
    assert visit.outcome is None
    assert await bench.stands_for() is None


async def test_each_reason_is_an_event_and_each_that_comes_again_after_a_calm_time(bench: Bench) -> None:
    refused = {"event": "paused", "error": "StoreRefused", "detail": "403"}
    await bench.run(
        [*MOVED, OUTAGE],
        [OPENED, refused],
        [*MOVED, 59, progress(3), OUTAGE],
        [*MOVED, 61, progress(4), OUTAGE],
        [FINISHED],
    )
    told = [what for what in await bench.history() if what in ("drive.paused", "drive.resumed")]
    assert told == ["drive.paused", "drive.paused", "drive.paused", "drive.resumed", "drive.paused"]


async def test_a_pause_goes_on_where_the_station_before_left_it(bench: Bench) -> None:
    for _ in range(3):
        visit = await bench.visit()
        bench.script.pairs = [[OPENED, OUTAGE], [STAYS]]
        running = asyncio.create_task(visit.run())
        async with asyncio.timeout(20):
            while bench.script.pairs:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        visit.stop()
        await running
        assert visit.interrupted
        assert await bench.stands_for() == "drive.stopped"
    told = [what for what in await bench.history() if what in ("drive.paused", "drive.stopped")]
    assert told == ["drive.paused", "drive.stopped"] * 3
    await bench.run([OPENED, FINISHED])
    assert "drive.resumed" in await bench.history()
    assert [line["after"] for line in bench.log.named("drive.resumed")][-1] == "drive.stopped"


async def test_replay_is_told_at_once_and_leaves_no_turn_behind(bench: Bench) -> None:
    turns = Turns(Concurrency(station=1))
    visit = await bench.run([OPENED, OUTAGE], patient=False, turns=turns)
    assert visit.outcome is not None
    assert visit.outcome.id == "StoreUnreachable"
    assert bench.clock.now_s == 0
    assert (await bench.drive()).state is DriveState.TRANSFERRING
    await bench.run([FINISHED], turns=turns)
    assert (await bench.drive()).state is DriveState.COMPLETED


async def test_a_drive_that_stops_answering_and_is_gone_is_one_event(bench: Bench) -> None:
    visit = await bench.visit()
    bench.script.pairs = [[*MOVED, GONE]]
    # The station hears of it while the visit waits for just that.
    real = bench.clock.wait

    async def pulled_meanwhile(event: asyncio.Event, seconds: float) -> None:
        assert seconds == GONE_WITHIN_S
        visit.pulled()
        await real(event, seconds)

    bench.clock.wait = pulled_meanwhile  # type: ignore[method-assign]
    await visit.run()
    told = [what for what in await bench.history() if what in ("drive.paused", "drive.pulled")]
    assert told == ["drive.pulled"]
    assert len(bench.log.named("drive.pulled")) == 1
    assert bench.log.named("drive.paused") == []
    assert await bench.stands_for() == "drive.pulled"
    assert (await bench.drive()).state is DriveState.TRANSFERRING
    (line,) = await bench.details("drive.pulled")
    assert line == (
        "the drive was pulled from bay 3; its place is kept [drive: Pulled]. Put it into any bay: it goes on."
    )


async def test_a_drive_that_stops_answering_and_stays_is_a_pause_and_its_end_no_second_one(
    bench: Bench,
) -> None:
    visit = await bench.visit()
    bench.script.pairs = [[*MOVED, GONE], [GONE], [STAYS]]
    running = asyncio.create_task(visit.run())
    async with asyncio.timeout(20):
        while bench.script.pairs:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    visit.pulled()
    await running
    told = [what for what in await bench.history() if what in ("drive.paused", "drive.pulled")]
    assert told == ["drive.paused"]
    assert bench.clock.waits[0] == (0, GONE_WITHIN_S)


async def test_drives_wait_for_their_turn_in_a_state_that_can_be_seen(bench: Bench) -> None:
    turns, seen = Turns(Concurrency(station=1)), list[dict[str, Any]]()
    bench.script.pairs = [[OPENED, STAYS], [FINISHED], [FINISHED]]
    first = await bench.visit("S1", "1", turns=turns)
    second = await bench.visit("S2", "2", turns=turns, clock=None, watch=seen.append)
    third = await bench.visit("S3", "3", turns=turns, clock=None)
    tasks = []
    async with asyncio.timeout(20):
        tasks.append(asyncio.create_task(first.run()))
        while not bench.log.named("opened"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for visit in (second, third):
            tasks.append(asyncio.create_task(visit.run()))
            while await bench.stands_for(visit.serial.normal) != "drive.waits":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (await bench.drive("S2")).state is DriveState.RECEIVED
        assert await bench.details("drive.waits", "S2") == [
            "waits for a place: 1 drive is being read (concurrency.station = 1) [station: Waits]. "
            "Nothing to do: it begins by itself."
        ]
        assert "; 1 drive waits before it" in (await bench.details("drive.waits", "S3"))[0]
        assert [await bench.stands_for(serial) for serial in ("S1", "S2")] == [None, "drive.waits"]
        assert {event["event"] for event in seen} == {"waits"}
        first.stop()
        await asyncio.gather(*tasks)
    assert [(await bench.drive(serial)).state for serial in ("S1", "S2", "S3")] == [
        DriveState.TRANSFERRING,
        DriveState.COMPLETED,
        DriveState.COMPLETED,
    ]
    assert [order.serial.normal for _, order in bench.script.orders] == ["S1", "S2", "S3"]


async def test_a_drive_that_waits_for_its_own_trouble_keeps_no_place_from_others(bench: Bench) -> None:
    turns = Turns(Concurrency(station=1))
    full = {"event": "paused", "error": "StateUnusable", "detail": "this drive needs more room"}
    bench.script.pairs = [[full], [FINISHED]]
    stuck = await bench.visit("S1", "1", turns=turns)
    asked: list[bool] = []
    real = bench.clock.wait

    async def look(event: asyncio.Event, seconds: float) -> None:
        turn = turns.ask(Place("9"), "a")
        asked.append(turn.is_granted)
        turns.give_back(turn)
        await real(event, seconds)

    bench.clock.wait = look  # type: ignore[method-assign]
    await stuck.run()
    assert asked == [True]
    bench.script.pairs = [[OUTAGE], [FINISHED]]
    await (await bench.visit("S2", "2", turns=turns)).run()
    assert asked == [True, False], "in bad weather for all a place is kept"


async def test_a_job_that_is_cancelled_ends_a_drive_that_waits_for_its_turn(bench: Bench) -> None:
    turns = Turns(Concurrency(station=1))
    bench.script.pairs = [[STAYS]]
    first = await bench.visit("S1", "1", turns=turns)
    second = await bench.visit("S2", "2", turns=turns, clock=None)
    tasks = []
    async with asyncio.timeout(20):
        for visit in (first, second):
            tasks.append(asyncio.create_task(visit.run()))
            while not bench.script.begun or (visit is second and not bench.log.named("drive.waits")):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        second.cancel()
        await tasks[1]
        assert (await bench.drive("S2")).copy_status == "Cancelled"
        first.stop()
        await tasks[0]


async def test_a_drive_that_is_pulled_while_it_waits_for_its_turn_lets_the_others_have_it(
    bench: Bench,
) -> None:
    turns = Turns(Concurrency(station=1))
    bench.script.pairs = [[STAYS], [FINISHED]]
    visits = [await bench.visit(f"S{n}", str(n), turns=turns, clock=None) for n in (1, 2, 3)]
    tasks = []
    async with asyncio.timeout(20):
        for number, visit in enumerate(visits):
            tasks.append(asyncio.create_task(visit.run()))
            while not bench.script.begun or len(bench.log.named("drive.waits")) < number:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        visits[1].pulled()
        await tasks[1]
        assert await bench.stands_for("S2") == "drive.pulled"
        assert (await bench.drive("S2")).state is DriveState.RECEIVED
        visits[0].stop()
        await asyncio.gather(*tasks)
    assert (await bench.drive("S3")).state is DriveState.COMPLETED


async def test_operators_who_take_a_drive_away_end_its_visit_in_order(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "EVERY_S", 0.0)

    async def take_away() -> None:
        await bench.catalog.fault_drive(JOB, SerialNumber.parse("S1"), who="ops", note="it clicks")

    visit = await bench.run([*MOVED, take_away, progress(50), 2, progress(60), FINISHED])
    assert visit.outcome is not None
    assert visit.outcome.id == "MoveRefused"
    assert (await bench.drive()).state is DriveState.FAULTED
    assert len(bench.log.named("drive.taken_away")) == 1


async def test_a_failing_drive_is_read_gently_and_that_is_told(bench: Bench) -> None:
    bench.source.is_ill = True
    await bench.run([OUTAGE], [FINISHED])
    assert all(reader.gently and upload.gently for reader, upload in bench.script.orders)
    (detail,) = await bench.details("drive.gently")
    assert detail.startswith(
        "SMART says that the drive is failing: 8 sectors wait to be read or replaced; it is read gently: "
    )
    (line,) = bench.log.named("drive.gently")
    assert line["next"].startswith("Leave it in its bay until it is finished")


async def test_a_sound_drive_is_read_as_usual_and_nothing_is_told(bench: Bench) -> None:
    await bench.run([FINISHED])
    ((reader, upload),) = bench.script.orders
    assert not reader.gently
    assert not upload.gently
    assert await bench.details("drive.gently") == []


async def test_a_credential_that_is_renewed_while_a_pair_is_started_reaches_it(bench: Bench) -> None:
    visit = await bench.visit()
    store = replace(bench.settings.store, credential=Secret("another"))
    bench.script.while_it_starts = lambda: visit.adopt(replace(bench.settings, store=store))
    bench.script.pairs = [[*MOVED, FINISHED]]
    async with asyncio.timeout(20):
        await visit.run()
    assert [each.reveal() for each in bench.script.handed_over if each is not None] == ["another"]


async def test_a_catalog_that_is_away_after_the_report_begins_no_second_transfer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.source.is_ill = True
    record = bench.catalog.record_event

    async def fails_after(what: str, **more: Any) -> None:
        if what == "drive.smart" and more["detail"].startswith("after"):
            raise StateUnusable("catalog is kept locked by another process")
        await record(what, **more)

    monkeypatch.setattr(bench.catalog, "record_event", fails_after)
    visit = await bench.run([*MOVED, FINISHED])
    assert visit.outcome is None
    assert not visit.interrupted
    assert (await bench.drive()).state is DriveState.COMPLETED
    assert (await bench.history())[-1] == "drive.finish_clean"
    (told,) = bench.log.named("drive.unrecorded")
    assert told["error"] == "StateUnusable"
