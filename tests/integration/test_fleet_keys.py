"""A new key for a catalog that stations share: nothing is sealed with the old one."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.catalog.keybox import KeyBox
from agent.catalog.rotation import Author, Rotation, rotate
from agent.errors import CatalogBusy, StateUnusable
from agent.model.keys import RecoveryPassword
from agent.model.states import DriveEvent
from tests.integration.fleet_cases import Fleet
from tests.unit.catalog_cases import KEY, WHO, name, serial, spec, walk

AUTHOR = Author("keeper", "the bench", datetime(2024, 3, 1, tzinfo=UTC))


async def _rotated(fleet: Fleet) -> Rotation:
    return await rotate(fleet.server("one"), fleet.key_file, AUTHOR)


async def test_while_another_station_is_connected_the_key_of_a_fleet_stays(fleet: Fleet) -> None:
    async with fleet.station("two") as two:
        await two.create_job(spec("ship-1", "S1"), ship=True, who=WHO)
        before = fleet.key_file.read_bytes()
        with pytest.raises(CatalogBusy, match=r"is in use: \d connections? of stations"):
            await _rotated(fleet)
        assert fleet.key_file.read_bytes() == before
        assert await two.credential(name(), serial("S1")) == RecoveryPassword.parse(KEY)
    done = await _rotated(fleet)
    assert (done.resealed, done.damaged) == (1, 0)
    async with fleet.station("two") as two:
        assert await two.credential(name(), serial("S1")) == RecoveryPassword.parse(KEY)
        check = await two.verify_history()
        assert check.broken is None
        (last,) = await two.events_after(check.head.event_id - 1)
        assert last.what == "keys.rotated"


async def test_a_station_that_a_rotation_went_past_seals_nothing_and_moves_nothing(
    fleet: Fleet, tmp_path: Path
) -> None:
    old = tmp_path / "old.key"
    async with fleet.station("two") as two:
        await two.create_job(spec("ship-1", "S1"), ship=True, who=WHO)
        shutil.copy(fleet.key_file, old)
        # Cut off from the server while the key is changed.
        await asyncio.to_thread(_disconnect, fleet)
        await _rotated(fleet)
        for refused in (
            two.create_job(spec("ship-2", "S2"), ship=True, who=WHO),
            walk(two, "ship-1", "S1", DriveEvent.ARRIVE),
            two.record_event("drive.smart", who=WHO),
        ):
            with pytest.raises(StateUnusable, match="the key of the catalog was changed meanwhile"):
                await refused
        with pytest.raises(StateUnusable, match="does not open"):
            await two.credential(name(), serial("S1"))
    new, fleet.key_file = fleet.key_file, old
    with pytest.raises(StateUnusable, match=r"is not that of catalog .*copy that of another"):
        async with fleet.station("two"):
            pass
    fleet.key_file = new
    async with fleet.station("two") as two:
        assert [str(job.name) async for job in two.jobs()] == ["ship-1"]
        assert (await two.verify_history()).broken is None


def _disconnect(fleet: Fleet) -> None:
    fleet.host.sql(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{fleet.database}'"
    )


async def test_a_rotation_of_a_fleet_that_was_cut_off_is_ended_by_giving_it_again(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cut(Exception):
        pass

    def cut(*_: object) -> None:
        raise Cut

    async with fleet.station() as one:
        await one.create_job(spec("ship-1", "S1"), ship=True, who=WHO)
    old = KeyBox.from_file(fleet.key_file)
    with monkeypatch.context() as patch:
        patch.setattr("agent.catalog.rotation._take_over", cut)
        with pytest.raises(Cut):
            await _rotated(fleet)
    assert KeyBox.from_file(fleet.key_file).key_id == old.key_id
    async with fleet.station() as one:
        assert await one.credential(name(), serial("S1")) == RecoveryPassword.parse(KEY)
    done = await _rotated(fleet)
    assert (done.old_id, done.resealed) == (old.key_id, 0)
    assert KeyBox.from_file(fleet.key_file).key_id == done.new_id
    async with fleet.station() as one:
        assert await one.credential(name(), serial("S1")) == RecoveryPassword.parse(KEY)
        told = [event.what for event in await one.events_after(0)]
        assert told.count("keys.rotated") == 1
