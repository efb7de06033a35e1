"""Real processes, killed with ``kill -9`` at moments spread over a run, and the run after it.

``KILL_POINTS`` says how many (``make kill N=200``). Each fourth point is on Azurite behind a proxy that
counts what is sent, the others on the directory store.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from agent.blobs.azure_account import API_VERSION
from agent.blobs.crc64 import crc64
from agent.blobs.opening import open_store
from agent.blobs.store import NO_ATTRIBUTES, BlobStore
from agent.catalog import open_catalog
from agent.formats.log_values import LogEntry
from agent.formats.logreader import read_log
from agent.model.blobs import BlobName
from agent.model.identity import ContainerName, JobName
from agent.model.job import Drive
from agent.model.secrets import Secret
from agent.model.tally import Count
from fixtures import azurite as emulator
from fixtures.disk import demo_disk
from fixtures.images import demo_facts
from tests.kit import killing
from tests.kit.counting_proxy import CountingProxy
from tests.kit.journals import done_blobs

FACTS = demo_facts()
JOB = "box"
LOGS = "waimportexport"
DEFAULT_POINTS = 10
POINTS = int(os.environ.get("KILL_POINTS", DEFAULT_POINTS))
FINDINGS = 3
EARLY, LATE = 0.15, 0.95
"""Up to the first part of a run nothing is in the store; from the other on only logs are to be written."""


@dataclass
class Bench:
    """The disk, a state directory with the job in it, and what an undisturbed run does."""

    folder: Path
    disk: Path
    state: Path
    early_s: float = 0.0
    stored: int = 0
    lines: list[str] = field(default_factory=list)


@dataclass
class Place:
    """One point's store and state directory. ``stored`` counts what has reached the store."""

    environment: dict[str, str]
    state: Path
    stored: Callable[[], int]
    open: Callable[[], BlobStore]
    proxy: CountingProxy | None = None


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("kills")
    disk, key = folder / "disk.img", folder / "key"
    demo_disk(disk, key_out=key)
    state = folder / "state"
    environment = {"INGEST_AGENT_STATE": str(state), "INGEST_AGENT_STORE_ADDRESS": str(folder / "none")}
    code, said = killing.run(
        environment,
        *("job", "create", JOB, "--drive", FACTS["serial"], "--key-file", str(key)),
        *("--manifest", FACTS["manifest_file"], "--manifest-hash", FACTS["manifest_md5"], "--verbose-log"),
    )
    assert code == 0, said
    bench = Bench(folder, disk, state)
    place = _on_directory(bench, folder / "undisturbed")
    began = time.monotonic()
    process = killing.start(place.environment, *_replay(bench))
    assert killing.wait_for(process, lambda: place.stored() > 1)
    bench.early_s = time.monotonic() - began
    assert process.wait() == FINDINGS, process.communicate()[1]
    process.communicate()
    bench.stored = place.stored()
    yield bench
    if POINTS > DEFAULT_POINTS:
        with request.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
            print("", *bench.lines, sep="\n")


@pytest.mark.parametrize("point", range(POINTS))
def test_a_process_killed_at_any_moment_loses_nothing(
    bench: Bench, tmp_path: Path, point: int, request: pytest.FixtureRequest
) -> None:
    kind = killing.KINDS[point % 4]
    if point % 5 == 4:
        place = _on_azurite(bench, tmp_path, request.getfixturevalue("azurite"))
    else:
        place = _on_directory(bench, tmp_path)
    asyncio.run(_plant(place))
    is_journal_lost = kind in ("station", "all") and point % 3 == 2
    moment = (point + 0.5) / POINTS
    killed, done, passed = _kill(bench, place, kind, moment, is_journal_lost)
    if not asyncio.run(_drive(place)).state.name.startswith("COMPLETED"):
        # The command goes on by itself when only one of its workers was killed.
        code, said = killing.run(place.environment, *_replay(bench))
        assert code == FINDINGS, said
        _check_progress(said)
    drive = asyncio.run(_drive(place))
    _check_books(drive)
    asyncio.run(_check_store(place))
    again = _check_sent_again(place, passed, done)
    lost = ", its journal lost" if is_journal_lost else ""
    bench.lines.append(f"point {point}: at {moment:.3f} killed {'+'.join(killed) or 'none'}{lost}{again}")
    if place.proxy:
        place.proxy.close()
    # Hundreds of points would fill a disk.
    shutil.rmtree(tmp_path)


def _replay(bench: Bench) -> tuple[str, ...]:
    return "replay", str(bench.disk), "--serial", FACTS["serial"]


def _on_directory(bench: Bench, folder: Path) -> Place:
    root, state = folder / "blobs", folder / "state"
    shutil.copytree(bench.state, state)
    environment = {"INGEST_AGENT_STATE": str(state), "INGEST_AGENT_STORE_ADDRESS": str(root)}

    def stored() -> int:
        return sum(1 for part in ("records/*", "staged/*/*") for _ in root.glob(f".store/*/{part}"))

    return Place(environment, state, stored, lambda: open_store("directory", str(root), None))


def _on_azurite(bench: Bench, folder: Path, service: emulator.Azurite) -> Place:
    state, key = folder / "state", folder / "store-key"
    shutil.copytree(bench.state, state)
    key.touch(0o600)
    key.write_text(service.key)
    address = urlsplit(service.endpoint)
    assert address.hostname is not None
    assert address.port is not None
    asyncio.run(_empty(service))
    proxy = CountingProxy((address.hostname, address.port))
    environment = {
        "INGEST_AGENT_STATE": str(state),
        "INGEST_AGENT_STORE_KIND": "azure",
        "INGEST_AGENT_STORE_ADDRESS": f"http://127.0.0.1:{proxy.port}{address.path}",
        "INGEST_AGENT_STORE_CREDENTIAL_FILE": str(key),
    }
    return Place(
        environment,
        state,
        lambda: len(proxy.puts),
        lambda: open_store("azure", service.endpoint, Secret(service.key)),
        proxy,
    )


async def _empty(service: emulator.Azurite) -> None:
    from azure.storage.blob.aio import BlobServiceClient

    async with BlobServiceClient(service.endpoint, credential=service.key, api_version=API_VERSION) as client:
        for container in [found.name async for found in client.list_containers()]:
            await client.delete_container(container)


async def _plant(place: Place) -> None:
    store = place.open()
    name, content = BlobName.parse(FACTS["preexisting"]["blob"]), FACTS["preexisting"]["content"].encode()
    await store.ensure_container(name.container)
    await store.put_blob(name, [memoryview(content)], crc64([content]), NO_ATTRIBUTES, replace=True)
    await store.close()


def _kill(
    bench: Bench, place: Place, kind: str, moment: float, is_journal_lost: bool
) -> tuple[list[str], set[str], int]:
    """Kill there, and wait until what is left has ended.

    Gives who was killed, which blobs were done by the journal then, and how many PUTs had passed.
    """
    began, already = time.monotonic(), place.stored()
    process = killing.start(place.environment, *_replay(bench))
    if moment < EARLY:
        killing.wait_for(process, lambda: time.monotonic() - began >= bench.early_s * moment / EARLY)
    else:
        part = min((moment - EARLY) / (LATE - EARLY), 1.0)
        wanted = already + max(1, int(part * (bench.stored - already)))
        killing.wait_for(process, lambda: place.stored() >= wanted)
    killed = killing.kill(process, kind) or killing.kill(process, "station")
    passed, done = len(place.proxy.puts) if place.proxy else 0, _done(place)
    said = process.communicate(timeout=killing.DEADLINE_S)[1]
    _check_progress(said)
    if is_journal_lost:
        _wait_until_nobody_has_it(place)
        shutil.rmtree(place.state / "journals", ignore_errors=True)
        done = set()
    return killed, done, passed


def _wait_until_nobody_has_it(place: Place) -> None:
    """An uploader whose station is gone settles what is under way, then ends."""
    import fcntl

    for lock in place.state.glob("journals/*/*.lock"):
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)


def _done(place: Place) -> set[str]:
    """Blobs that the journal has as done."""
    found: set[str] = set()
    for path in place.state.glob("journals/*/*.sqlite"):
        found |= done_blobs(path)
    return found


async def _drive(place: Place) -> Drive:
    async with open_catalog(place.state / "catalog.sqlite", place.state / "catalog.key") as catalog:
        return (await catalog.job(JobName.parse(JOB))).drives[0]


def _check_progress(said: str) -> None:
    percents = [int(found) for found in re.findall(r"^ *(\d+) %  ", said, re.MULTILINE)]
    assert percents == sorted(percents), said


def _check_books(drive: Drive) -> None:
    counts, tally = FACTS["counts"], drive.tally
    assert tally.balances, tally
    assert tally.discovered == Count(counts["blobs_listed"], counts["bytes_listed"])
    assert tally.done.files == counts["created"]
    assert tally.failed.files == counts["missing"] + counts["corrupt"]
    assert tally.skipped.files == counts["skipped"]
    assert drive.percent_complete == 100
    assert drive.copy_status == "CompletedWithErrors"


async def _check_store(place: Place) -> None:
    """Everything that was to arrive is there byte for byte, nothing else is, and the log tells the rest."""
    store = place.open()
    try:
        expected = {b["blob"]: b["sha256"] for b in FACTS["blobs"] if b["outcome"] in ("created", "skipped")}
        found = {}
        for container in FACTS["containers"]:
            async for name in store.names(ContainerName(container)):
                found[str(name)] = await _sha256(store, name)
        assert found == expected
    finally:
        await store.close()
    log = max(place.state.glob("logs/*/*/*_error.xml"), key=lambda path: path.stat().st_mtime_ns)
    with log.open("rb") as file:
        entries = [entry.target for entry in read_log(file) if isinstance(entry, LogEntry)]
    assert sorted(entries) == sorted(
        (FACTS["corrupt"]["blob"], FACTS["missing"]["blob"], FACTS["preexisting"]["blob"])
    )


async def _sha256(store: BlobStore, name: BlobName) -> str:
    digest = hashlib.sha256()
    async for piece in store.read(name):
        digest.update(piece)
    return digest.hexdigest()


def _check_sent_again(place: Place, passed: int, done: set[str]) -> str:
    """What was sent after the kill of what had been sent before; nothing of it was done by the journal."""
    if place.proxy is None:
        return ""
    before, after = place.proxy.puts[:passed], place.proxy.puts[passed:]
    assert {put.path for put in after if put.path in done} == set()
    was = {(put.path, put.verb, put.block_id) for put in before if put.verb in ("blob", "block", "page")}
    again = [put for put in after if (put.path, put.verb, put.block_id) in was and LOGS not in put.path]
    return f"; sent again {len(again)} requests, {sum(put.body_bytes for put in again)} bytes"
