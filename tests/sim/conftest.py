"""One drive, and how it goes when nothing disturbs it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.transfer import reader
from tests.sim.drive import SimDrive, sim_drive
from tests.sim.world import Run, World, new_world, run_drive


@pytest.fixture(scope="package", autouse=True)
def _one_filling_thread() -> Iterator[None]:
    """So that fills end in the order in which they were asked for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "FILLING_THREADS", 1)
        yield


@pytest.fixture(scope="package")
def sim() -> SimDrive:
    return sim_drive()


@pytest.fixture(scope="package")
def world(sim: SimDrive) -> World:
    return new_world(sim)


@pytest.fixture(scope="package")
def undisturbed(sim: SimDrive, world: World) -> Run:
    return run_drive(sim, world)
