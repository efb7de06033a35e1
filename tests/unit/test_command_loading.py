"""What starting a command brings into memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from agent.cli.main import COMMANDS, cli

CHECKOUT = Path(__file__).parents[2]
HEAVY = ("sqlalchemy", "alembic", "azure", "lxml")
SHOW = "import sys; from agent.cli.main import cli; cli.get_command(None, 'volume'); print(*sys.modules)"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_list_is_there_under_its_name(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name


def test_what_is_no_command_is_not_loaded() -> None:
    assert cli.get_command(click.Context(cli), "context") is None


def test_the_store_of_an_uploader_loads_no_sdk_before_it_is_needed() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; import agent.transfer.uploader, agent.blobs.azure; print(*sys.modules)",
        ],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "agent" in loaded
    assert not loaded & {"azure", "aiohttp", "requests", "sqlalchemy"}


def test_looking_into_a_volume_loads_no_database_engine_no_cloud_and_no_xml() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOW], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "agent.cli.volume" in loaded
    assert not loaded & set(HEAVY)
