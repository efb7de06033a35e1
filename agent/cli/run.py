"""``ingest-agent run``: the daemon."""

from __future__ import annotations

import asyncio
import os
import platform
import signal

import click

from agent.cli.api import served
from agent.cli.context import Context, pass_context
from agent.cli.signals import Stopper
from agent.cli.sources import configured_source
from agent.devices.automounters import NEXT_STEP, automounters
from agent.errors import ConfigInvalid
from agent.station.alone import only_station
from agent.station.notices.letters import SEEN_FROM
from agent.station.notices.outbox import outbox_of
from agent.station.notices.service import telling
from agent.station.notify import Notifier
from agent.station.station import Station
from agent.station.view import View
from agent.station.window import Window, opened
from agent.telemetry import open_log


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Write the log as JSON lines.")
@pass_context
def run(context: Context, as_json: bool) -> None:
    """Run the station: work every attached drive that a job waits for, until SIGTERM (then exit code 0).

    Drives are those of this machine with ``devices.udev``, and those of the [[image]] tables of the
    settings: a path and a serial each.
    """
    if not context.settings.images and not context.settings.devices.udev:
        raise ConfigInvalid(
            "no drive source is configured: set devices.udev, or add an [[image]] table with path and serial"
        )
    # One that comes before the station listens is about settings that it reads just now.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    context.check_store()
    with only_station(context.settings.state_dir):
        asyncio.run(_run(context, as_json))


async def _run(context: Context, as_json: bool) -> None:
    settings = context.settings
    log = open_log(as_json=as_json)
    async with context.catalog() as books:
        catalog = books.seen_from(f"{SEEN_FROM}{platform.node()}")
        source, notifier = configured_source(settings), Notifier.of(os.environ)
        view = View()
        station = Station(catalog, source, settings, log, reload=context.reload, notifier=notifier, view=view)
        Stopper(station.stop)
        log.info(
            "station.started",
            store=settings.store.kind,
            udev=settings.devices.udev,
            images=len(settings.images),
        )
        if settings.devices.udev and (programs := await asyncio.to_thread(automounters)):
            log.warning("station.automounters", programs=", ".join(programs), next=NEXT_STEP)
        async with (
            opened(Window(view, catalog, lambda: station.settings), settings),
            served(catalog, settings, log),
            telling(
                catalog, settings.notify, outbox_of(settings.state_dir), view, log, station=platform.node()
            ),
        ):
            await station.run()
        log.info("station.stopped")
