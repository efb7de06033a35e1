"""What is to be moved: found on the drive before the first byte moves, and kept in the journal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

from agent.model.codes import Disposition
from agent.model.destination import Destination
from agent.threads import to_its_end
from agent.transfer.journal import Journal
from agent.transfer.link import ReaderLink
from agent.transfer.placement import Placement

Report = Callable[[int], None]
"""Told how many files were found so far."""


async def of_volume(
    link: ReaderLink,
    journal: Journal,
    destination: Destination,
    disposition: Disposition,
    report: Report,
    *,
    upload_streams: bool,
) -> None:
    """Every file of the volume, under the destination's prefix.

    ``upload_streams``: alternate data streams are moved too, as ``file:stream``; else they are listed
    as skipped.
    """
    await to_its_end(journal.begin_inventory)
    place = Placement(destination, disposition, upload_streams=upload_streams)
    async with aclosing(link.scan()) as batches:
        async for listed in batches:
            await to_its_end(place.keep, listed, journal)
            report(place.files)
    await to_its_end(journal.finish_inventory)
