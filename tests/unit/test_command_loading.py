"""What starting a command, and each of a drive's two processes, brings into memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from agent.cli.main import COMMANDS, cli

CHECKOUT = Path(__file__).parents[2]
SHOW = "import sys; from agent.cli.main import cli; cli.get_command(None, '{}')"


def _loaded_by(code: str) -> set[str]:
    """The modules that are there when the code was run, and the packages that they are of."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"],
        cwd=CHECKOUT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    return loaded | {name.partition(".")[0] for name in loaded}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_list_is_there_under_its_name(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name


def test_what_is_no_command_is_not_loaded() -> None:
    assert cli.get_command(click.Context(cli), "context") is None


def test_the_uploader_loads_neither_sdk_nor_arrays_nor_a_parser_of_manifests_before_they_are_needed() -> None:
    loaded = _loaded_by("import agent.transfer.uploader, agent.blobs.azure")
    assert "agent.transfer.mover" in loaded
    assert not loaded & {
        "azure",
        "aiohttp",
        "requests",
        "sqlalchemy",
        "numpy",
        "lxml",
        "cryptography",
        "click",
        "http",
    }
    assert not loaded & {"agent.model.job", "agent.model.keys", "agent.volume.ntfs", "agent.volume.bitlocker"}


def test_the_reader_loads_what_opens_volumes_and_nothing_that_talks_to_anybody() -> None:
    loaded = _loaded_by("import agent.transfer.reader")
    assert {"numpy", "cryptography", "agent.volume.ntfs"} <= loaded
    assert not loaded & {"asyncio", "ssl", "http", "azure", "sqlalchemy", "sqlite3", "lxml", "click", "rich"}
    assert not loaded & {"agent.model.job", "agent.blobs", "agent.catalog", "agent.config"}


def test_looking_into_a_volume_loads_no_database_engine_no_cloud_and_no_xml() -> None:
    loaded = _loaded_by(SHOW.format("volume"))
    assert "agent.cli.volume" in loaded
    assert not loaded & {"sqlalchemy", "alembic", "azure", "lxml"}


def test_a_replay_loads_of_its_database_engine_the_core_and_draws_no_screen() -> None:
    loaded = _loaded_by(f"{SHOW.format('replay')}; import agent.catalog.catalog, agent.blobs.opening")
    assert {"agent.cli.replay", "sqlalchemy"} <= loaded
    assert not loaded & {"sqlalchemy.orm", "sqlalchemy.ext.asyncio", "psycopg", "alembic"}
    assert not loaded & {
        "rich",
        "structlog",
        "numpy",
        "lxml",
        "azure",
        "aiohttp",
        "http",
        "prometheus_client",
    }
