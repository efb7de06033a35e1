"""How jobs and drives look to a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from agent.cli.context import console, print_json
from agent.model.going import Going
from agent.model.job import Drive, Job
from agent.model.printable import printable
from agent.model.tally import Count
from agent.model.verification import VerifiedCounts

if TYPE_CHECKING:
    from rich.table import Table

    from agent.catalog import Event

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


def show_job(job: Job) -> None:
    """A job and all its drives."""
    show_state(job)
    if job.fault_note is not None:
        click.echo(f"Faulted by operators: {printable(job.fault_note)}")
    if job.due is not None:
        click.echo(f"waits until {job.due:%Y-%m-%d %H:%M} UTC")
    if job.destination is not None:
        click.echo(f"destination {job.destination}, disposition {job.disposition}")
    for drive in job.drives:
        click.echo()
        show_drive(drive)


def show_drive(drive: Drive) -> None:
    """Everything that is known of a drive, a line each."""
    facts = drive_facts(drive)
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        click.echo(f"{click.style(name.ljust(width), bold=True)} {value}")


def drive_facts(drive: Drive) -> list[tuple[str, str]]:
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
    return [(name, printable(str(value))) for name, value in rows]


def show_drives(rows: Sequence[dict[str, Any]]) -> None:
    """One line a drive."""
    table = _folding("drive", "bay", "job", "state", "percent", "note")
    for row in rows:
        percent = row["percentComplete"]
        table.add_row(
            row["serial"],
            printable(row["bay"] or "-"),
            row["job"] or "-",
            str(row["state"] or "extra drive"),
            "-" if percent is None else f"{percent} %",
            printable(row["note"]),
        )
    console().print(table if rows else "no drives: none is specified and none is attached")


def show_events(events: Sequence[Event], as_json: bool) -> None:
    """One line an event, or a list for machines."""
    if as_json:
        print_json({"value": [_event_to_json(event) for event in events]})
        return
    table = _folding("when (UTC)", "who", "from", "job", "drive", "what", "moved", "detail")
    for event in events:
        table.add_row(
            f"{event.at:%Y-%m-%d %H:%M:%S}",
            event.who,
            event.origin or "-",
            event.job or "-",
            event.serial or "-",
            event.what,
            _moved(event),
            printable(event.detail),
        )
    console().print(table if events else "nothing happened yet")


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
