"""``ingest-agent bench``: how fast this station is, and how many drives at once make sense."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.cli.context import Context, json_option, pass_context
from agent.cli.signals import Stopper
from agent.config.transfer import MEBIBYTE
from agent.errors import IngestError
from agent.model.identity import ContainerName, SerialNumber

if TYPE_CHECKING:
    from agent.station.benchmark.figures import AccountFigures, CpuFigures, DrivesFigures, Trouble

PARTS = ("drive", "cpu", "account")
SHARES = {"drive": 0.4, "cpu": 0.25, "account": 0.35}


@click.command()
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--drive", "serials", metavar="SERIAL", multiple=True, help="Measure this attached drive only.")
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="Measure this part; may be repeated.")
@click.option(
    "--seconds",
    type=click.IntRange(3, 600),
    default=40,
    show_default=True,
    help="How long all measurements take together, about.",
)
@click.option(
    "--max-mib",
    type=click.IntRange(1, 1 << 20),
    default=4096,
    show_default=True,
    help="The most that is uploaded.",
)
@click.option("--container", metavar="NAME", help="Upload into a folder of this container, which is there.")
@json_option
@pass_context
def bench(
    context: Context,
    paths: tuple[Path, ...],
    serials: tuple[str, ...],
    only: tuple[str, ...],
    seconds: int,
    max_mib: int,
    container: str | None,
    as_json: bool,
) -> None:
    """Measure drives, processors and the way to the account; tell how many drives at once make sense.

    Drives are those attached that nobody uses, or the images and devices at PATH; they are read, never
    written, and past the cache of the system where that can be. What is uploaded to the store goes into a
    container of its own, which is removed again, also after Ctrl-C. Disks of the system, drives that the
    station reads and failing ones are left alone.
    """
    wanted = [SerialNumber.parse(each) for each in serials]
    chosen = ContainerName.parse(container) if container is not None else None
    measuring = _Bench(context, paths, wanted, only or PARTS, seconds, max_mib * MEBIBYTE, chosen)
    measuring.told = _tell if sys.stderr.isatty() and not as_json else _quiet
    code = asyncio.run(measuring.run())
    measuring.show(as_json)
    raise click.exceptions.Exit(code)


def _tell(what: str) -> None:
    click.echo(f"measuring {what} ...", err=True)


def _quiet(what: str) -> None:
    """Nobody looks."""


class _Bench:
    """One run."""

    told: Callable[[str], None] = staticmethod(_quiet)

    def __init__(
        self,
        context: Context,
        paths: tuple[Path, ...],
        serials: list[SerialNumber],
        parts: tuple[str, ...],
        seconds: float,
        most_bytes: int,
        container: ContainerName | None,
    ) -> None:
        self._context, self._paths, self._serials = context, paths, serials
        self._parts, self._most_bytes, self._container = parts, most_bytes, container
        whole = sum(SHARES[part] for part in set(parts))
        self._seconds = {part: seconds * SHARES[part] / whole for part in parts}
        self._drives: DrivesFigures | None = None
        self._cpu: CpuFigures | None = None
        self._account: AccountFigures | None = None
        self._beside: int | None = None

    async def run(self) -> int:
        """The exit code: of a signal, else of the first trouble that is one."""
        stop = asyncio.Event()
        stopper = Stopper(stop.set)
        self._look_at_station()
        for part, measure in (("drive", self._drive), ("cpu", self._cpus), ("account", self._upload)):
            if part in self._parts and not stop.is_set():
                await measure(stop)
        return stopper.exit_code or next((each.exit_code for each in self.troubles if each.exit_code), 0)

    @property
    def troubles(self) -> list[Trouble]:
        """Of all parts."""
        measured = (self._drives, self._cpu, self._account)
        return [trouble for each in measured if each is not None for trouble in each.troubles]

    def _look_at_station(self) -> None:
        from agent.station.benchmark.occupied import worked_drives

        try:
            self._beside = worked_drives(self._context.settings.state_dir)
        except IngestError:
            self._beside = None

    async def _drive(self, stop: asyncio.Event) -> None:
        from agent.cli.sources import configured_source
        from agent.station.benchmark.drives import at_paths, attached, measure_drives

        settings = self._context.settings
        if self._paths:
            chosen = await at_paths(self._paths, settings)
        else:
            chosen = await attached(configured_source(settings), settings, self._serials)
        self._drives = await measure_drives(chosen, self._seconds["drive"], stop, self.told)

    async def _cpus(self, stop: asyncio.Event) -> None:
        from agent.station.benchmark.cpu import measure_cpu
        from agent.station.benchmark.stopping import unless_stopped

        self._cpu = await unless_stopped(measure_cpu(self._seconds["cpu"], self.told), stop)

    async def _upload(self, stop: asyncio.Event) -> None:
        from agent.station.benchmark.account import measure_account
        from agent.station.benchmark.figures import AccountFigures, Trouble

        try:
            settings = await asyncio.to_thread(self._context.reload)
        except IngestError as error:
            store = self._context.settings.store
            self._account = AccountFigures(store.address, False, troubles=(Trouble.of("account", error),))
            return
        self._account = await measure_account(
            settings, self._seconds["account"], self._most_bytes, stop, self._container, self.told
        )

    def show(self, as_json: bool) -> None:
        """What was measured, and what follows from it."""
        from agent.cli.bench_table import as_document, print_tables
        from agent.station.benchmark.advice import advise
        from agent.station.benchmark.cpu import usable_cores
        from agent.station.benchmark.figures import CpuFigures, DrivesFigures

        advice = advise(
            self._drives or DrivesFigures(), self._cpu or CpuFigures(usable_cores()), self._account
        )
        show = as_document if as_json else print_tables
        show(self._drives, self._cpu, self._account, advice, self._beside)
        if self._account is not None and self._account.left:
            click.echo(f"NOT REMOVED from {self._account.address}: {self._account.left}", err=True)
