"""How the figures of ``ingest-agent bench`` are shown: a table for people, a document for machines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from agent.cli.context import console, print_json
from agent.model.printable import printable
from agent.station.benchmark.advice import Advice
from agent.station.benchmark.figures import (
    CIPHERS,
    MEGABYTE,
    AccountFigures,
    CpuFigures,
    DriveFigures,
    DrivesFigures,
    Reading,
    Trouble,
)
from agent.transfer.bottleneck import Limit

HELD_UP_BY = {
    Limit.DRIVE: "what drives give together (their controller or cable)",
    Limit.CPU: "the processors of this station",
    Limit.NETWORK: "the network",
    Limit.SERVICE: "the storage service",
    Limit.CAP: "the cap that the settings put on bandwidth",
}


def print_tables(
    drives: DrivesFigures | None,
    cpu: CpuFigures | None,
    account: AccountFigures | None,
    advice: Advice,
    beside: int | None,
) -> None:
    """``beside`` is how many drives the station worked meanwhile; None where it could not be told."""
    if drives is not None:
        _print_drives(drives)
    if cpu is not None:
        _print_cpu(cpu)
    if account is not None:
        _print_account(account)
    click.echo("\n" + "\n".join(_sentences(advice)))
    if beside:
        click.echo(f"The station worked {_drives(beside)} meanwhile: figures are of what these left.")


def _print_drives(figures: DrivesFigures) -> None:
    table = _table("drive", "bay", "GB", "first MB/s", "last MB/s", "scattered MB/s", "reads/s", "note")
    for each in figures.drives:
        note = "" if each.is_direct else "through the cache of the system: of no drive"
        parts = (each.first, each.last, each.scattered)
        speeds = [_mb(part.bytes_per_s) for part in parts]
        table.add_row(
            *map(_text, (each.name, each.bay, f"{each.size_bytes / 1e9:.1f}", *speeds)),
            f"{each.scattered.reads_per_s:.0f}",
            note,
        )
    _print("Drives", table, figures.troubles, "no drive is attached that may be measured")
    if figures.together_bytes_per_s is not None:
        click.echo(f"all {len(figures.drives)} at once: {_mb(figures.together_bytes_per_s)} MB/s")


def _print_cpu(figures: CpuFigures) -> None:
    cores = "1 core" if figures.cores == 1 else f"{figures.cores} cores"
    table = _table("work", "one core MB/s", f"{cores} MB/s")
    for work, speed in figures.speeds.items():
        name = f"decryption {work}" if work in CIPHERS else str(work)
        table.add_row(name, _mb(speed.one_core), _mb(speed.all_cores))
    _print("Processors, for each second of their time", table, figures.troubles, "")


def _print_account(figures: AccountFigures) -> None:
    table = _table("requests at once", "MB/s", "cpu-s/GB", "waited for")
    for each in figures.rounds:
        cost = f"{each.cpu_s / each.bytes * 1e9:.2f}" if each.bytes else "-"
        table.add_row(str(each.connections), _mb(each.bytes_per_s), cost, each.limited_by or "-")
    _print(printable(f"Account {figures.address}"), table, figures.troubles, "nothing was sent")
    if figures.blobs_per_s:
        click.echo(f"small blobs: {figures.blobs_per_s:.0f} a second")
    if figures.round_trip_s:
        shown = f"{figures.round_trip_s * 1000:.1f}" if figures.round_trip_s >= 1e-4 else "below 0.1"
        click.echo(f"shortest way there and back: {shown} ms")
    if figures.throttled_requests:
        click.echo(f"requests that the service put off: {figures.throttled_requests}")


def _sentences(advice: Advice) -> Iterable[str]:
    rate = _mb(advice.drive_bytes_per_s)
    kind = f"{rate} MB/s, as measured" if advice.is_drive_measured else f"{rate} MB/s, which is usual"
    if advice.drives is None:
        yield "How many drives at once make sense cannot be said: processors and account were not measured."
        return
    yield f"Drives at once that make sense: {advice.drives} (of {kind})."
    if advice.with_hashes is not None and advice.with_hashes != advice.drives:
        yield f"With an MD5 of each file: {advice.with_hashes}."
    if advice.limit is not None:
        yield f"What holds up more than those: {HELD_UP_BY[advice.limit]}."
    if advice.of_one is Limit.DRIVE:
        yield "A single drive is held up by nothing but itself."
    elif advice.of_one is not None:
        yield f"Even a single drive is held up: {HELD_UP_BY[advice.of_one]}."
    missing = [each.limit for each in advice.capacities[:2] if each.bytes_per_s is None]
    if missing:
        yield f"Not measured, and so not counted: {', '.join(_unmeasured(each) for each in missing)}."


def _unmeasured(limit: Limit) -> str:
    return "the processors" if limit is Limit.CPU else "the way to the account"


def _drives(count: int) -> str:
    return "1 drive" if count == 1 else f"{count} drives"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(columns):
        is_figure = "/s" in name or name in ("GB", "cpu-s/GB", "requests at once")
        table.add_column(name, justify="right" if is_figure and number else "left", overflow="fold")
    return table


def _print(title: str, table: Table, troubles: Iterable[Trouble], none: str) -> None:
    click.echo(f"\n{title}")
    if table.row_count:
        console().print(table)
    elif none:
        click.echo(none)
    for trouble in troubles:
        click.echo(printable(f"! {trouble.line()}"))


def _text(value: str) -> Text:
    return Text(printable(value))


def _mb(bytes_per_s: float) -> str:
    rate = bytes_per_s / MEGABYTE
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}"


def as_document(
    drives: DrivesFigures | None,
    cpu: CpuFigures | None,
    account: AccountFigures | None,
    advice: Advice,
    beside: int | None,
) -> None:
    """Speeds are bytes a second; what was not measured is null."""
    print_json(
        {
            "drives": _of_drives(drives) if drives is not None else None,
            "cpu": _of_cpu(cpu) if cpu is not None else None,
            "account": _of_account(account) if account is not None else None,
            "advice": {
                "drives": advice.drives,
                "drivesWithMd5": advice.with_hashes,
                "limit": advice.limit,
                "limitOfOneDrive": advice.of_one,
                "driveBytesPerSecond": round(advice.drive_bytes_per_s),
                "isDriveMeasured": advice.is_drive_measured,
                "capacities": [
                    {"limit": each.limit, "bytesPerSecond": _whole(each.bytes_per_s)}
                    for each in advice.capacities
                ],
            },
            "drivesOfTheStation": beside,
        }
    )


def _of_drives(figures: DrivesFigures) -> dict[str, Any]:
    return {
        "value": [_of_drive(each) for each in figures.drives],
        "togetherBytesPerSecond": _whole(figures.together_bytes_per_s),
        "troubles": _of_troubles(figures.troubles),
    }


def _of_drive(figures: DriveFigures) -> dict[str, Any]:
    return {
        "name": figures.name,
        "bay": figures.bay,
        "sizeBytes": figures.size_bytes,
        "isDirect": figures.is_direct,
        "first": _of_reading(figures.first),
        "last": _of_reading(figures.last),
        "scattered": _of_reading(figures.scattered),
    }


def _of_reading(reading: Reading) -> dict[str, Any]:
    return {
        "bytes": reading.bytes,
        "reads": reading.reads,
        "seconds": round(reading.seconds, 4),
        "cpuSeconds": round(reading.cpu_s, 4),
        "bytesPerSecond": round(reading.bytes_per_s),
    }


def _of_cpu(figures: CpuFigures) -> dict[str, Any]:
    return {
        "cores": figures.cores,
        "value": [
            {"work": work, "oneCore": round(speed.one_core), "allCores": round(speed.all_cores)}
            for work, speed in figures.speeds.items()
        ],
        "troubles": _of_troubles(figures.troubles),
    }


def _of_account(figures: AccountFigures) -> dict[str, Any]:
    return {
        "address": figures.address,
        "isEncrypted": figures.is_encrypted,
        "rounds": [
            {
                "connections": each.connections,
                "bytes": each.bytes,
                "seconds": round(each.seconds, 4),
                "cpuSeconds": round(each.cpu_s, 4),
                "bytesPerSecond": round(each.bytes_per_s),
                "limitedBy": each.limited_by,
            }
            for each in figures.rounds
        ],
        "smallBlobsPerSecond": round(figures.blobs_per_s, 1),
        "roundTripSeconds": round(figures.round_trip_s, 6),
        "bytesPut": figures.bytes_put,
        "smallBlobsPut": figures.blobs_put,
        "throttledRequests": figures.throttled_requests,
        "notRemoved": figures.left,
        "troubles": _of_troubles(figures.troubles),
    }


def _of_troubles(troubles: Iterable[Trouble]) -> list[dict[str, str]]:
    return [
        {
            "what": each.what,
            "id": each.id,
            "side": each.side,
            "detail": each.detail,
            "nextStep": each.next_step,
        }
        for each in troubles
    ]


def _whole(value: float | None) -> int | None:
    return round(value) if value is not None else None
