"""The emulator that tests and the demo start."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agent.blobs.azure import AzureBlobStore
from agent.blobs.crc64 import crc64
from agent.blobs.store import NO_ATTRIBUTES
from agent.model.blobs import BlobName
from agent.model.secrets import Secret

if TYPE_CHECKING:
    from fixtures.azurite import Azurite

CHECKOUT = Path(__file__).parents[2]
NAME = BlobName.parse("kept/blob")


def is_listening(endpoint: str) -> bool:
    where = urlsplit(endpoint)
    with socket.socket() as probe:
        return probe.connect_ex((where.hostname, where.port)) == 0


async def test_what_was_acknowledged_is_there_after_a_stop_and_a_start(
    azurite: Azurite, tmp_path: Path
) -> None:
    from fixtures.azurite import running

    with running(tmp_path) as first:
        store = AzureBlobStore.connect(first.endpoint, Secret(first.key))
        await store.ensure_container(NAME.container)
        await store.put_blob(NAME, [memoryview(b"data")], crc64([b"data"]), NO_ATTRIBUTES, replace=False)
        await store.put_block(NAME, "AAAA", [memoryview(b"block")], crc64([b"block"]))
        await store.close()
    assert not is_listening(first.endpoint)
    with running(tmp_path) as second:
        store = AzureBlobStore.connect(second.endpoint, Secret(second.key))
        assert [piece async for piece in store.read(NAME)] == [b"data"]
        assert await store.uncommitted_blocks(NAME) == {"AAAA": 5}
        await store.close()


def test_an_emulator_does_not_outlive_the_program_that_started_it(azurite: Azurite) -> None:
    program = (
        "from fixtures.azurite import running\n"
        "with running() as emulator:\n"
        "    print(emulator.endpoint, flush=True)\n"
        "    input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as starter:
        assert starter.stdout is not None
        endpoint = starter.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/devstoreaccount1", endpoint)
        where = urlsplit(endpoint)
        with socket.create_connection((where.hostname, where.port or 0)) as connection:
            os.kill(starter.pid, signal.SIGKILL)
            ended, _, _ = select.select([connection], [], [], 60)
            assert ended
            assert connection.recv(1) == b""


def test_the_key_of_the_emulator_is_not_in_its_repr(azurite: Azurite) -> None:
    assert azurite.key not in repr(azurite)
