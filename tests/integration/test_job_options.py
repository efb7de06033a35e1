"""What a job asks for on the command line, and what the service shows of it afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from agent.blobs.azure import AzureBlobStore
from agent.blobs.crc64 import crc64
from agent.blobs.store import NO_ATTRIBUTES, BlobProperties
from agent.formats.log_values import LogEntry
from agent.formats.logreader import read_log
from agent.formats.records import BlobRecord
from agent.model.blobs import AccessTier, BlobName
from agent.model.codes import BlobType
from agent.model.identity import ContainerName
from agent.model.naming import decode
from agent.model.secrets import Secret
from agent.model.verification import Depth, Verdict
from fixtures import demo_disk
from fixtures.azurite import Azurite, AzuriteMissing, running
from tests.kit import images

AGENT = Path(sys.executable).with_name("ingest-agent")
FACTS = images.facts()
T = TypeVar("T")


@pytest.fixture
def emulator() -> Iterator[Azurite]:
    """One of its own, for the manifest of the demo drive says which containers it wants."""
    try:
        with running() as emulator:
            yield emulator
    except AzuriteMissing as reason:
        pytest.skip(str(reason))


@dataclass
class Station:
    """A state directory with an account, and the command."""

    folder: Path
    emulator: Azurite

    def __post_init__(self) -> None:
        key = self.folder / "account-key"
        key.write_text(self.emulator.key)
        key.chmod(0o600)
        (self.folder / "agent.toml").write_text(
            f'state_dir = "{self.folder / "state"}"\n[store]\nkind = "azure"\n'
            f'address = "{self.emulator.endpoint}"\ncredential_file = "{key}"\n[transfer]\nblock_mib = 1\n'
        )

    def run(self, *arguments: str, code: int = 0) -> str:
        """Its standard output, after a look at its exit code."""
        command = [AGENT, "--config", self.folder / "agent.toml", *arguments]
        done = subprocess.run(command, env=os.environ, capture_output=True, check=False, timeout=300)
        assert done.returncode == code, done.stderr.decode()
        return done.stdout.decode()

    def drive(self) -> dict[str, Any]:
        """As ``job show --json`` tells it."""
        shown = json.loads(self.run("job", "show", "box", "--json"))
        drive: dict[str, Any] = shown["properties"]["driveList"][0]
        return drive

    def ask(self, act: Callable[[AzureBlobStore], Awaitable[T]]) -> T:
        """Something of the account, as its owner."""

        async def asked() -> T:
            store = AzureBlobStore.connect(self.emulator.endpoint, Secret(self.emulator.key))
            try:
                return await act(store)
            finally:
                await store.close()

        return asyncio.run(asked())

    def blobs(self, *containers: str) -> dict[str, tuple[BlobProperties, bytes]]:
        """What the account shows."""

        async def found(store: AzureBlobStore) -> dict[str, tuple[BlobProperties, bytes]]:
            names = [name for text in containers async for name in store.names(ContainerName.parse(text))]
            shown = await asyncio.gather(*map(store.properties, names))
            contents = await asyncio.gather(*(_content(store, name) for name in names))
            return dict(zip(map(str, names), zip(shown, contents, strict=True), strict=True))

        return self.ask(found)

    def plant(self, name: BlobName, content: bytes) -> None:
        """A blob that was there before."""

        async def put(store: AzureBlobStore) -> None:
            await store.ensure_container(name.container)
            await store.put_blob(name, [memoryview(content)], crc64([content]), NO_ATTRIBUTES, replace=False)

        self.ask(put)


async def _content(store: AzureBlobStore, name: BlobName) -> bytes:
    return b"".join([piece async for piece in store.read(name)])


def _records(log: bytes) -> dict[str, BlobRecord]:
    entries = [entry for entry in read_log(io.BytesIO(log)) if isinstance(entry, LogEntry)]
    return {entry.target: entry.record for entry in entries if entry.record is not None}


def test_all_that_a_job_with_a_manifest_asks_for_is_on_the_blobs_and_in_the_log(
    emulator: Azurite, tmp_path: Path
) -> None:
    station, image, key = Station(tmp_path, emulator), tmp_path / "disk.img", tmp_path / "key.txt"
    demo_disk(image, key_out=key)
    before = FACTS["preexisting"]
    station.plant(BlobName.parse(before["blob"]), before["content"].encode())
    station.run(
        *("job", "create", "box", "--drive", FACTS["serial"], "--key-file", str(key)),
        *("--manifest", FACTS["manifest_file"], "--manifest-hash", FACTS["manifest_md5"]),
        *("--verify", "readback", "--content-md5", "--sha256", "--tier", "Cool"),
        *("--verbose-log", "--backup-manifest", "--diagnostics", "logs-of-box"),
    )
    station.run("replay", str(image), "--serial", FACTS["serial"], code=3)
    counts = FACTS["counts"]
    tally = station.drive()["tally"]
    done, failed, skipped = (tally[part]["files"] for part in ("done", "failed", "skipped"))
    assert (done, failed, skipped) == (counts["created"], 2, counts["skipped"])

    logs = {name.rpartition("_")[2]: content for name, (_, content) in station.blobs("logs-of-box").items()}
    assert logs.keys() == {"error.xml", "verbose.xml", "manifest.xml"}
    assert FACTS["placeholder_account_key"].encode() not in logs["manifest.xml"]
    records, found = _records(logs["verbose.xml"]), station.blobs(*FACTS["containers"])
    wanted = {blob["blob"]: blob for blob in FACTS["blobs"] if blob["outcome"] == "created"}
    assert found.keys() == wanted.keys() | {before["blob"]}
    assert found.pop(before["blob"])[1] == before["content"].encode()
    kinds = Counter[BlobType]()
    for name, (shown, content) in found.items():
        attributes, verified = shown.attributes, records[name].verified
        kinds[shown.type] += 1
        md5, sha256 = hashlib.md5(content).digest(), hashlib.sha256(content).digest()
        assert (shown.type, sha256.hex()) == (wanted[name]["type"], wanted[name]["sha256"])
        assert attributes.tier is (AccessTier.COOL if shown.type is BlobType.BLOCK else None)
        assert attributes.content_md5 == md5
        assert attributes.metadata["sha256"] == sha256.hex()
        assert {"ingestid", "mtime"} <= attributes.metadata.keys()
        assert verified is not None
        assert (verified.depth, verified.verdict) == (Depth.READBACK, Verdict.MATCH)
        assert (verified.crc64, verified.content_md5, verified.sha256) == (crc64([content]), md5, sha256)
    assert kinds.keys() == set(BlobType)
    corrupt = records[FACTS["corrupt"]["blob"]].verified
    assert corrupt is not None
    assert corrupt.verdict is Verdict.DIFFER


def test_all_that_a_job_without_a_manifest_asks_for_is_on_the_blobs_and_in_the_log(
    emulator: Azurite, tmp_path: Path
) -> None:
    station, image, key = Station(tmp_path, emulator), images.unpack("nasty", tmp_path), tmp_path / "key.txt"
    sources = images.hashes("nasty")
    plain = next(path for path in sources if re.fullmatch(r"[a-z]+\.[a-z]+", path.rpartition("/")[2]))
    there = BlobName.parse(f"nasty/all of it/{plain}")
    station.plant(there, b"somebody else's")
    key.write_text("-".join(["000000"] * 8))
    station.run(
        *("job", "create", "box", "--drive", "PLAIN-1", "--key-file", str(key), "--allow-unencrypted"),
        *("--to", "nasty/all of it/", "--disposition", "overwrite", "--with-streams", "--no-file-facts"),
        *("--verify", "readback:40%", "--sha256", "--tier", "Cold", "--verbose-log"),
    )
    station.run("replay", str(image), "--serial", "PLAIN-1", code=3)
    found, logs = station.blobs("nasty"), station.blobs("waimportexport")
    (verbose,) = [content for name, (_, content) in logs.items() if name.endswith("_verbose.xml")]
    verified = {name: record.verified for name, record in _records(verbose).items() if record.verified}
    arrived = {
        "/".join(decode(name.removeprefix("nasty/all of it/"))): hashlib.sha256(content).hexdigest()
        for name, (_, content) in found.items()
    }
    expected = {path: digest for path, (digest, _) in sources.items() if path in arrived}
    assert {path: arrived[path] for path in expected} == expected
    assert sum(":" in path for path in expected) > 3
    assert len(expected) > 0.9 * len(sources)
    assert found[str(there)][1] != b"somebody else's"
    for name, (shown, content) in found.items():
        assert shown.attributes.tier is AccessTier.COLD
        assert shown.attributes.metadata["sha256"] == hashlib.sha256(content).hexdigest()
        assert shown.attributes.metadata.keys() <= {"ingestid", "mtime", "sha256"}
        assert verified[name].verdict is Verdict.MATCH
    depths = Counter(one.depth for one in verified.values())
    assert depths.keys() == {Depth.TRANSIT, Depth.READBACK}


def test_blobs_go_to_the_archive_and_are_not_promised_to_be_read_back_from_there(
    emulator: Azurite, tmp_path: Path
) -> None:
    station, image, key = Station(tmp_path, emulator), tmp_path / "disk.img", tmp_path / "key.txt"
    demo_disk(image, key_out=key)
    job = ("job", "create", "box", "--drive", FACTS["serial"], "--key-file", str(key), "--to", "vault/")
    station.run(*job, "--verify", "readback", "--tier", "Archive", code=2)
    station.run(*job, "--verify", "transit", "--tier", "Archive")
    station.run("replay", str(image), "--serial", FACTS["serial"])
    drive = station.drive()
    assert drive["copyStatus"] == "Completed"
    assert drive["tally"]["done"] == drive["tally"]["discovered"]
    name, shown = station.ask(_first)
    assert shown.attributes.tier is AccessTier.ARCHIVE
    assert name.path.startswith("session-1/") or "/" not in name.path


async def _first(store: AzureBlobStore) -> tuple[BlobName, BlobProperties]:
    name = await anext(aiter(store.names(ContainerName.parse("vault"))))
    return name, await store.properties(name)
