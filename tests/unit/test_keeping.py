"""What a station keeps for its catalog while the server is away is told once each, whoever tells it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from agent.catalog import open_catalog
from agent.catalog.claims import Claim
from agent.catalog.keeping import KeepingCatalog
from agent.catalog.server import Server
from agent.errors import StateUnusable
from agent.model.identity import SerialNumber
from tests.unit.catalog_cases import WHO, name

S1 = SerialNumber.parse("S1")


async def test_two_who_tell_what_was_kept_at_once_tell_each_event_once_and_in_order(tmp_path: Path) -> None:
    async with open_catalog(tmp_path / "catalog.sqlite", tmp_path / "key") as catalog:
        claim = Claim(S1, name("box"), Server("postgresql://host/db", "one", "h" * 32, 60.0), 1)
        held = KeepingCatalog(catalog, claim)
        record, is_away = catalog.record_event, True

        async def may_be_away(what: str, **more: Any) -> None:
            if is_away:
                raise StateUnusable("the server is away")
            await record(what, **more)

        catalog.record_event = may_be_away  # type: ignore[method-assign]
        for what in ("first", "second", "third"):
            await held.record_event(what, who=WHO, serial=S1)
        assert held.kept == 3
        is_away = False
        # The beat of the lease and a move of the visit, both as soon as the server is back.
        await asyncio.gather(held.write_kept(), held.write_kept())
        assert [event.what for event in await catalog.drive_history(S1)] == ["first", "second", "third"]
        assert held.kept == 0
