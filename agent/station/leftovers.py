"""What is of no more use in the state directory: the journals of drives whose copy is finished."""

from __future__ import annotations

import asyncio
from pathlib import Path

from agent.catalog.catalog import Catalog
from agent.model.states import OPEN_DRIVES
from agent.station.places import journal_of
from agent.transfer.room import forget_journal


async def remove_leftovers(catalog: Catalog, state_dir: Path) -> None:
    """Remove them: a run that was killed between the end of a copy and that of its journal left one.

    Raises StateUnusable when the catalog cannot be read.
    """
    async for job in catalog.jobs():
        for drive in job.drives:
            if drive.state not in OPEN_DRIVES:
                await asyncio.to_thread(forget_journal, journal_of(state_dir, job.name, drive.serial))
