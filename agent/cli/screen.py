"""How jobs and drives look to a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from agent.cli.context import console, print_json
from agent.model.codes import DriveStatus
from agent.model.going import Going
from agent.model.identity import SerialNumber
from agent.model.job import Drive, Job
from agent.model.printable import printable
from agent.model.states import DriveState
from agent.model.tally import Count
from agent.model.verification import VerifiedCounts

if TYPE_CHECKING:
    from rich.table import Table

    from agent.catalog import Event
    from agent.station.sentences import Sentence

UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size(count: int) -> str:
    """Bytes for people, in powers of 1000."""
    value = float(count)
    for unit in UNITS:
        if value < 1000 or unit == UNITS[-1]:
            break
        value /= 1000
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def counted(count: Count) -> str:
    """``12 files, 3.4 MB``."""
    return f"{count.files} file{'' if count.files == 1 else 's'}, {size(count.bytes)}"


NARROW = 120
"""Columns; on a narrower screen, what is said of a row stands below it."""
_ENDED = (DriveState.COMPLETED, DriveState.COMPLETED_MORE_INFO, DriveState.SHIPPED_BACK)
_HOLDS = {
    "drive": "the drive",
    "cpu": "the processors",
    "network": "the network",
    "service": "the service",
    "cap": "the bandwidth cap",
}


def duration(seconds: int) -> str:
    """Roughly, as people say it: ``40 s``, ``12 min``, ``3 h 20 min``, ``2 days 5 h``."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 60:
        return f"{seconds} s"
    if minutes < 60:
        return f"{minutes} min"
    if hours < 24:
        return f"{minutes // 60} h {minutes % 60} min"
    days, rest = divmod(hours, 24)
    return f"{days} day{'' if days == 1 else 's'} {rest} h"


def going(told: Going) -> list[str]:
    """What is known of a transfer that runs: its speed, the time left, and what holds it up."""
    said = []
    if told.bytes_per_s is not None:
        said.append(f"{size(told.bytes_per_s)}/s")
    if told.seconds_left is not None:
        said.append(f"about {duration(told.seconds_left)} left")
    if told.limited_by is not None:
        said.append(f"held up by {_HOLDS.get(told.limited_by, told.limited_by)}")
    return said


def weather(told: Going) -> list[str]:
    """What the service and the network did to a transfer; nothing in good weather."""
    said = []
    if told.throttled_requests:
        said.append(f"the service answered 503 to {_requests(told.throttled_requests)}")
    if told.cut_requests:
        said.append(f"{_requests(told.cut_requests)} cut off unanswered and sent again")
    return said


def moving(said: Sentence, drive: Drive) -> Sentence:
    """What is said of a drive, and how its transfer goes, if it does."""
    told = [*going(drive.going), *weather(drive.going)] if drive.state is DriveState.TRANSFERRING else []
    return replace(said, text=f"{said.text}: {', '.join(told)}") if told and said.since is None else said


def _requests(count: int) -> str:
    return f"{count} request{'' if count == 1 else 's'}"


def verified(found: VerifiedCounts) -> str:
    """``12 by transit, 3 by readback, 1 differ``."""
    words = {"differ": "differ", "unknown": "unknown"}
    told = ((count, words.get(name, f"by {name}")) for name, count in asdict(found).items() if count)
    return ", ".join(f"{count} {how}" for count, how in told) or "-"


def _folding(*names: str) -> Table:
    """A table that breaks long values instead of cutting them."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def show_jobs(jobs: Sequence[Job]) -> None:
    """One line a job."""
    table = _folding("job", "state", "percent", "drives", "created (UTC)")
    for job in jobs:
        drives = ", ".join(f"{drive.serial} {drive.state}" for drive in job.drives)
        state = f"{job.state} (cancel requested)" if job.cancel_requested else str(job.state)
        table.add_row(
            str(job.name), state, f"{job.percent_complete} %", drives, f"{job.created:%Y-%m-%d %H:%M}"
        )
    console().print(table if jobs else "no jobs yet; file one with `ingest-agent job create`")


def show_state(job: Job) -> None:
    """A job's state in one line."""
    cancelled = ", cancel requested" if job.cancel_requested else ""
    state = click.style(str(job.state), bold=True)
    click.echo(f"job {job.name}: {state}{cancelled}, {job.percent_complete} %")


def show_job(job: Job, sentences: Mapping[SerialNumber, Sentence]) -> None:
    """A job and all its drives, and where each stands."""
    show_state(job)
    if job.fault_note is not None:
        click.echo(f"Faulted by operators: {printable(job.fault_note)}")
    if job.due is not None:
        click.echo(f"waits until {job.due:%Y-%m-%d %H:%M} UTC")
    if job.destination is not None:
        click.echo(f"destination {job.destination}, disposition {job.disposition}")
    for drive in job.drives:
        click.echo()
        show_drive(job, drive, sentences[drive.serial])


def show_drive(job: Job, drive: Drive, said: Sentence) -> None:
    """Everything that is known of a drive, a line each."""
    facts = drive_facts(job, drive, said)
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        click.echo(f"{click.style(name.ljust(width), bold=True)} {value}")


def drive_facts(job: Job, drive: Drive, said: Sentence) -> list[tuple[str, str]]:
    """Everything that is known of a drive, as names and values."""
    tally = drive.tally
    rows = [
        ("drive", drive.serial.shown),
        ("state", drive.state),
        ("copy status", drive.copy_status or "-"),
        ("percent complete", f"{drive.percent_complete} %"),
        ("discovered", counted(tally.discovered)),
        ("done", counted(tally.done)),
        ("failed", counted(tally.failed)),
        ("skipped", counted(tally.skipped)),
        ("verified", verified(drive.verified)),
        ("error log", drive.error_log_uri or "-"),
        ("verbose log", drive.verbose_log_uri or "-"),
    ]
    if told := going(drive.going):
        rows.insert(4, ("going", ", ".join(told)))
    if told := weather(drive.going):
        rows.append(("weather", ", ".join(told)))
    if drive.manifest_uri:
        rows.append(("manifest backup", drive.manifest_uri))
    rows += [("where it stands", said.line()), ("erase source?", _may_erase(job, drive))]
    return [(name, printable(str(value))) for name, value in rows]


def _may_erase(job: Job, drive: Drive) -> str:
    """The answer of the drive's error log in short, as far as the catalog knows it."""
    if drive.state not in _ENDED:
        return "not yet"
    tally = drive.tally
    if drive.copy_status == DriveStatus.COMPLETED and not tally.failed.files and not tally.skipped.files:
        return "yes, as far as this drive goes: all that was to be imported from it arrived and was verified"
    which = f" --drive {drive.serial}" if len(job.drives) > 1 else ""
    return f"no: `ingest-agent log show {job.name}{which}` tells what the source may hold the only copy of"


def show_drives(rows: Sequence[dict[str, Any]]) -> None:
    """One line a drive."""
    names = ("drive", "bay", "job", "state", "percent", "note")
    told = [(*_facts_of_row(row), printable(row["note"])) for row in rows]
    _show_rows(names, told, "no drives: none is specified and none is attached")


def _facts_of_row(row: dict[str, Any]) -> tuple[str, ...]:
    percent = row["percentComplete"]
    return (
        row["serial"],
        printable(row["bay"] or "-"),
        row["job"] or "-",
        str(row["state"] or "extra drive"),
        "-" if percent is None else f"{percent} %",
    )


def _show_rows(names: Sequence[str], rows: Sequence[Sequence[str]], nothing: str) -> None:
    """The last column is a sentence."""
    from rich.padding import Padding

    screen = console()
    if not rows:
        screen.print(nothing)
    elif screen.width >= NARROW:
        table = _folding(*names)
        for row in rows:
            table.add_row(*row)
        screen.print(table)
    else:
        columns = zip(*(row[:-1] for row in (names, *rows)), strict=True)
        widths = [max(map(len, column)) for column in columns]
        if sum(widths) + 2 * len(widths) > screen.width:
            widths = [0] * len(widths)
        else:
            screen.print(_in_line(names[:-1], widths), style="underline")
        for row in rows:
            screen.print(_in_line(row[:-1], widths), style="bold")
            if row[-1]:
                screen.print(Padding(row[-1], (0, 0, 0, 2)))


def _in_line(facts: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(fact.ljust(width) for fact, width in zip(facts, widths, strict=True)).rstrip()


def show_events(events: Sequence[Event], as_json: bool) -> None:
    """One line an event, or a list for machines."""
    if as_json:
        print_json({"value": [_event_to_json(event) for event in events]})
        return
    names = ("when (UTC)", "who", "from", "job", "drive", "what", "moved", "detail")
    rows = [
        (
            f"{event.at:%Y-%m-%d %H:%M:%S}",
            event.who,
            event.origin or "-",
            event.job or "-",
            event.serial or "-",
            event.what,
            _moved(event),
            printable(event.detail),
        )
        for event in events
    ]
    _show_rows(names, rows, "nothing happened yet")


def _moved(event: Event) -> str:
    """``Shipping > Received``; nothing for an event that left the state."""
    if event.was == event.now:
        return ""
    return " > ".join(state for state in (event.was, event.now or "deleted") if state is not None)


def _event_to_json(event: Event) -> dict[str, str | int | None]:
    return {
        "id": event.id,
        "at": event.at.isoformat(),
        "who": event.who,
        "from": event.origin,
        "job": event.job,
        "drive": event.serial,
        "what": event.what,
        "was": event.was,
        "now": event.now,
        "detail": event.detail,
        "hash": event.hash,
    }
