"""The catalog of jobs: what the daemon, the commands and the API share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agent.catalog.books import Clock, utc_now
from agent.catalog.claiming import Claiming
from agent.catalog.clocks import Clocks
from agent.catalog.database import open_database
from agent.catalog.filing import Filing
from agent.catalog.history import History
from agent.catalog.listing import Listing
from agent.catalog.operating import Operating
from agent.catalog.server import Server
from agent.catalog.working import Working

BUSY_TIMEOUT_S = 10.0


class Catalog(Filing, Listing, Working, Operating, Clocks, History, Claiming):
    """Jobs, drives, events. Every method is one transaction, safe beside other processes.

    Every method may raise StateUnusable: the file is locked by another process for longer than the
    busy timeout, damaged, not writable, or the disk is full; the server cannot be reached.
    """


@asynccontextmanager
async def open_catalog(
    place: Path | Server,
    key_file: Path,
    *,
    clock: Clock = utc_now,
    busy_timeout_s: float = BUSY_TIMEOUT_S,
    origin: str = "",
) -> AsyncIterator[Catalog]:
    """Opens the catalog: a file of this machine, or one on a server that stations share.

    Makes folder (0700), file (0600) and key file (0600) when they are missing.

    ``origin`` says in the history from where things are done. Raises StateUnusable when the file cannot
    be used, is of a newer program, or its key file is gone or open to others.
    """
    async with open_database(place, key_file, busy_timeout_s) as (database, box):
        yield Catalog(database, box, clock, origin)
