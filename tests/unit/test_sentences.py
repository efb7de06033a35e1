"""Every state that can be seen has its sentence and its next step."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from agent.catalog import Event, open_catalog
from agent.cli import screen
from agent.cli.main import cli
from agent.cli.screen import drive_facts, moving
from agent.devices.hindrance import NEXT_STEPS, SIDES, HindranceKind
from agent.errors import BitLockerKeyInvalid, PolicyError, Side, StoreUnreachable
from agent.model.going import Going
from agent.model.identity import JobName, SerialNumber
from agent.model.job import Destination, Drive, DriveSpec, Job, JobSpec
from agent.model.states import DriveEvent, DriveState, JobState
from agent.model.tally import Count, Tally
from agent.station.clock import LoopClock
from agent.station.pauses import OVER, PULLED, STANDING, Pauses, newest_pause, told
from agent.station.sentences import BY_STATE, sentence_of
from tests.kit.log import KeptLog

AT = datetime(2026, 11, 21, 14, 3, tzinfo=UTC)
OUTAGE = StoreUnreachable("no answer").line()
SPEC = JobSpec(
    JobName.parse("box"),
    (DriveSpec(SerialNumber.parse("S1"), None),),
    Destination.parse("data"),
    allow_unencrypted=True,
)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("catalog")

    async def make() -> Job:
        async with open_catalog(folder / "catalog.sqlite", folder / "key") as catalog:
            return await catalog.create_job(SPEC, ship=True, who="test")

    return asyncio.run(make())


def _event(what: str, detail: str = "", job: str = "box") -> Event:
    return Event(AT, "station", job, "S1", what, detail)


def _said(job: Job, state: DriveState, *events: Event, is_in_bay: bool = True, **drive: object) -> str:
    (plain,) = job.drives
    made: Drive = replace(plain, state=state, **drive)  # type: ignore[arg-type]
    return sentence_of(job, made, events, is_in_bay=is_in_bay).line()


@pytest.mark.parametrize("state", DriveState)
@pytest.mark.parametrize("job_state", JobState)
@pytest.mark.parametrize("is_in_bay", [True, False])
def test_every_state_says_what_it_is_and_what_to_do(
    job: Job, state: DriveState, job_state: JobState, is_in_bay: bool
) -> None:
    line = _said(replace(job, state=job_state), state, is_in_bay=is_in_bay)
    sentence, _, next_step = line.partition(". ")
    assert len(sentence) > 10
    assert next_step.endswith(".")
    assert next_step[0].isupper() or next_step[0] == "`"


def test_no_two_states_say_the_same(job: Job) -> None:
    assert len({_said(job, state) for state in DriveState}) == len(DriveState) == len(BY_STATE)


def test_whatever_keeps_an_attached_drive_from_being_worked_has_a_side_and_a_next_step() -> None:
    assert set(NEXT_STEPS) == set(SIDES) == set(HindranceKind)
    assert all(error.next_step for error in PolicyError.__subclasses__())


def test_a_pause_tells_its_reason_since_when_and_what_to_do(job: Job) -> None:
    line = _said(job, DriveState.TRANSFERRING, _event("drive.begin"), _event("drive.paused", OUTAGE))
    assert line == (
        "no answer [network: StoreUnreachable] (since 2026-11-21 14:03 UTC). "
        "Check endpoint and network (or the folder). A station goes on by itself; run a replay again."
    )


def test_a_drive_that_moves_is_not_called_paused(job: Job) -> None:
    line = _said(job, DriveState.TRANSFERRING, _event("drive.paused", OUTAGE), going=Going(bytes_per_s=1000))
    assert line == "it is being copied. Nothing to do."


@pytest.mark.parametrize("what", sorted(OVER))
def test_a_pause_is_over_when_something_else_happened(job: Job, what: str) -> None:
    assert newest_pause([_event("drive.paused", OUTAGE), _event(what)]) is None


@pytest.mark.parametrize("what", sorted(STANDING))
def test_what_is_no_move_ends_no_pause(what: str) -> None:
    found = newest_pause([_event(what, "why"), _event("drive.smart"), _event("drive.read_only")])
    assert found is not None
    assert found.what == what


def test_what_happened_in_another_job_is_not_told(job: Job) -> None:
    other = _event("drive.paused", OUTAGE, job="crate")
    assert _said(job, DriveState.RECEIVED, other) == "it is here, and waits to begin. Nothing to do."


def test_a_fault_tells_its_reason(job: Job) -> None:
    line = _said(job, DriveState.FAULTED, _event("drive.fault", "the uploader process ended: SIGKILL"))
    assert line.startswith("the uploader process ended: SIGKILL (since 2026-11-21 14:03 UTC). Mend the cause")


def test_a_drive_that_ended_by_an_error_tells_it_and_what_to_do_about_it(job: Job) -> None:
    ended = {"copy_status": "BitLockerKeyInvalid"}
    finish = _event("drive.finish_with_findings", "the password opens none of the 2 protectors")
    line = _said(job, DriveState.COMPLETED_MORE_INFO, finish, **ended)
    assert line == (
        "it ended early: the password opens none of the 2 protectors [BitLockerKeyInvalid]. "
        + BitLockerKeyInvalid.next_step
    )


def test_findings_are_counted(job: Job) -> None:
    tally = Tally(Count(9, 900), Count(6, 600), Count(2, 200), Count(1, 100))
    line = _said(job, DriveState.COMPLETED_MORE_INFO, copy_status="CompletedWithErrors", tally=tally)
    assert line.startswith("it is done, with findings (CompletedWithErrors: 2 failed, 1 skipped). `log show`")


def test_a_drive_that_may_not_hold_everything_tells_why(job: Job) -> None:
    why = "the volume was not dismounted: its newest files and changes may be missing"
    finish = _event("drive.finish_with_findings", why)
    line = _said(job, DriveState.COMPLETED_MORE_INFO, finish, copy_status="CompletedWithWarnings")
    assert line.startswith(f"it is done, with findings (CompletedWithWarnings): {why}. `log show`")


def test_a_drive_in_a_bay_that_no_station_works_is_not_called_unseen(job: Job) -> None:
    assert _said(job, DriveState.SPECIFIED, is_in_bay=True).startswith("it is in its bay, and no station")
    assert _said(job, DriveState.SPECIFIED, is_in_bay=False).startswith("it was not seen yet. Put it into")


def test_of_a_drive_that_moves_its_speed_and_what_holds_it_up_are_told(job: Job) -> None:
    (plain,) = job.drives
    drive = replace(plain, state=DriveState.TRANSFERRING, going=Going("network", 40_000_000, 5400))
    said = moving(sentence_of(job, drive, (), is_in_bay=True), drive)
    assert said.line() == (
        "it is being copied: 40.0 MB/s, about 1 h 30 min left, held up by the network. Nothing to do."
    )


def test_a_drive_is_shown_with_how_it_goes_and_what_the_service_refused(job: Job) -> None:
    (plain,) = job.drives
    said = sentence_of(job, plain, (), is_in_bay=None)
    going = Going("service", 10**6, 59, throttled_requests=1, cut_requests=2)
    cells = dict(drive_facts(job, replace(plain, going=going), said))
    assert cells["going"] == "1.0 MB/s, about 59 s left, held up by the service"
    assert cells["weather"] == (
        "the service answered 503 to 1 request, 2 requests cut off unanswered and sent again"
    )
    assert not {"going", "weather"} & dict(drive_facts(job, plain, said)).keys()


@pytest.mark.parametrize(
    ("state", "status", "tally", "answer"),
    [
        (DriveState.TRANSFERRING, "InProgress", Tally(Count(1, 1), Count(1, 1)), "not yet"),
        (DriveState.COMPLETED, "Completed", Tally(Count(1, 1), Count(1, 1)), "yes, as far as"),
        (DriveState.SHIPPED_BACK, "Completed", Tally(Count(1, 1), Count(1, 1)), "yes, as far as"),
        (DriveState.COMPLETED_MORE_INFO, "CompletedWithWarnings", Tally(Count(1, 1), Count(1, 1)), "no: "),
        (DriveState.COMPLETED_MORE_INFO, "BitLockerKeyInvalid", Tally(), "no: "),
        (DriveState.FAULTED, None, Tally(), "not yet"),
    ],
)
def test_a_job_says_whether_the_source_may_be_erased(
    job: Job, state: DriveState, status: str | None, tally: Tally, answer: str
) -> None:
    (plain,) = job.drives
    drive = replace(plain, state=state, copy_status=status, tally=tally)
    facts = dict(drive_facts(job, drive, sentence_of(job, drive, (), is_in_bay=None)))
    assert facts["erase source?"].startswith(answer)
    assert len(facts["where it stands"]) > 10


def test_a_narrow_screen_cuts_nothing_of_what_is_said_of_a_drive(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"serial": "WD-1", "bay": "3", "job": None, "state": None, "percentComplete": None}
    note = " ".join(f"word{number}" for number in range(40))
    monkeypatch.setattr(screen, "console", lambda: Console(width=80))
    screen.show_drives([{**row, "note": note}])
    head, first, *rest = capsys.readouterr().out.splitlines()
    assert head.split() == ["drive", "bay", "job", "state", "percent"]
    assert first.split() == ["WD-1", "3", "-", "extra", "drive", "-"]
    assert [first.index(fact) for fact in ("3", "extra")] == [head.index(name) for name in ("bay", "state")]
    assert " ".join(" ".join(rest).split()) == note
    assert all(line.startswith("  ") for line in rest)


def test_a_store_that_is_waited_for_is_told(job: Job) -> None:
    line = _said(job, DriveState.TRANSFERRING, copy_status="waiting: no answer")
    assert line == "it is being copied, and waits for the store (no answer). Nothing to do."


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., str]:
    image = tmp_path / "drive.img"
    image.write_bytes(bytes(4096))
    (tmp_path / "agent.toml").write_text(
        f'state_dir = "{tmp_path}/state"\n[[image]]\npath = "{image}"\nserial = "S1"\nbay = "3"\n'
    )

    def command(*arguments: str) -> str:
        done = CliRunner().invoke(cli, ["--config", str(tmp_path / "agent.toml"), *arguments])
        assert done.exit_code == 0, done.output
        return done.output

    return command


def test_the_lists_of_drives_and_bays_show_a_pause_with_its_reason_and_time(
    run: Callable[..., str], tmp_path: Path
) -> None:
    async def pause() -> None:
        folder = tmp_path / "state"
        async with open_catalog(folder / "catalog.sqlite", folder / "catalog.key") as catalog:
            job, serial = SPEC.name, SPEC.drives[0].serial
            await catalog.create_job(SPEC, ship=True, who="test")
            for event in (DriveEvent.ARRIVE, DriveEvent.BEGIN):
                await catalog.move_drive(job, serial, event, who="test")
            pauses = Pauses(catalog, job, serial, LoopClock(), KeptLog())
            detail = told("the drive was pulled from bay 3", Side.DRIVE, "Pulled", "Put it into any bay.")
            await pauses.begin(PULLED, detail)

    assert "3  S1  drive S1 is an extra drive: no job specifies it" in run("bays")
    asyncio.run(pause())
    (row,) = json.loads(run("drive", "list", "--json"))["value"]
    assert row["note"].startswith("the drive was pulled from bay 3 [drive: Pulled] (since 20")
    assert row["note"].endswith(" UTC). Put it into any bay.")
    since = datetime.fromisoformat(row["since"])
    assert abs((datetime.now(UTC) - since).total_seconds()) < 3600
    (bay,) = json.loads(run("bays", "--json"))["value"]
    assert bay["note"] == f"Transferring, 0 %: {row['note']}"
    assert bay["since"] == row["since"]
    assert "was pulled from bay 3" in run("bays")
    assert "was pulled from bay 3" in " ".join(run("drive", "list").split())
