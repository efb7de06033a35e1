"""``ingest-agent bench`` with images, a folder and the emulator of the service: nothing is left behind."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from azure.storage.blob import (
    AccountSasPermissions,
    BlobServiceClient,
    ContainerSasPermissions,
    ResourceTypes,
    generate_account_sas,
    generate_container_sas,
)

from agent.blobs.azure_account import API_VERSION
from agent.blobs.crc64 import crc64
from agent.blobs.opening import open_store
from agent.blobs.store import NO_ATTRIBUTES
from agent.config import ImageSettings, Settings, StoreSettings, TransferSettings
from agent.devices.fake import FakeSource
from agent.devices.health import Health
from agent.devices.hindrance import Hindrance, HindranceKind
from agent.devices.image import ImageEntry, ImageSource
from agent.devices.source import Device
from agent.model.blobs import BlobName
from agent.model.identity import ContainerName, JobName, SerialNumber
from agent.model.secrets import Secret
from agent.station.benchmark.account import SMALL_BYTES, measure_account
from agent.station.benchmark.cpu import measure_cpu
from agent.station.benchmark.drives import at_paths, attached, measure_drives
from agent.station.benchmark.figures import AccountFigures, Work
from agent.station.benchmark.scratch import NAME
from agent.station.places import journal_of
from agent.transfer.journal import Journal
from tests.kit import killing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fixtures.azurite import Azurite

MIB = 1 << 20
SMALL = TransferSettings(connections=4, block_bytes=MIB)
WITHIN_S = 60.0


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "drive.img"
    path.write_bytes(os.urandom(MIB) * 8)
    return path


@pytest.fixture
def containers(azurite: Azurite) -> Iterator[BlobServiceClient]:
    """The emulator's own list."""
    with BlobServiceClient(azurite.endpoint, credential=azurite.key, api_version=API_VERSION) as service:
        yield service


def _of_benchmarks(service: BlobServiceClient) -> list[str]:
    return [each.name for each in service.list_containers(name_starts_with=NAME)]


def _settings(tmp_path: Path, store: StoreSettings | None = None, **others: Any) -> Settings:
    store = store or StoreSettings("directory", str(tmp_path / "blobs"))
    return Settings(tmp_path, store, transfer=SMALL, **others)


def _azure(azurite: Azurite, secret: str | None = None) -> StoreSettings:
    return StoreSettings("azure", azurite.endpoint, Secret(secret or azurite.key))


async def _measured(settings: Settings, **options: Any) -> AccountFigures:
    return await measure_account(settings, 0.8, 16 * MIB, asyncio.Event(), **options)


def _content(path: Path) -> bytes:
    return path.read_bytes()


def _below(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


async def test_images_are_read_past_the_cache_and_stay_as_they_were(image: Path, tmp_path: Path) -> None:
    before, settings = _content(image), _settings(tmp_path)
    twin = tmp_path / "twin.img"
    twin.symlink_to(image)
    chosen = await at_paths([image, twin], settings)
    found = await measure_drives(chosen, 0.5, asyncio.Event())
    assert found.troubles == ()
    for each in found.drives:
        assert each.size_bytes == 8 * MIB
        assert each.first.bytes == 8 * MIB
        assert each.last.bytes == 4 * MIB
        assert 0 < each.scattered.bytes < 6 * MIB
        assert each.bytes_per_s > 0
    assert found.together_bytes_per_s
    assert _content(image) == before


async def test_a_drive_that_the_station_reads_is_left_alone(image: Path, tmp_path: Path) -> None:
    serial = SerialNumber.parse("BUSY 1")
    settings = _settings(tmp_path, images=(ImageSettings(image, serial, "3"),))
    journal = journal_of(tmp_path, JobName.parse("box-7"), serial)
    journal.parent.mkdir(parents=True)
    source = ImageSource([ImageEntry(image, serial, "3")])
    at_work = Journal(journal, {"job": "box-7"})
    candidates, troubles = await attached(source, settings)
    assert (candidates, [each.id for each in troubles]) == ([], ["DriveBusy"])
    assert troubles[0].exit_code == 0
    candidates, troubles = await at_paths([image], settings)
    assert (candidates, [(each.id, each.exit_code) for each in troubles]) == ([], [("DriveBusy", 5)])
    at_work.close()
    candidates, troubles = await attached(source, settings)
    assert ([each.name for each in candidates], troubles) == (["BUSY 1"], [])


class _Attached(FakeSource):
    """Drives with something about them."""

    def __init__(self, *devices: Device) -> None:
        super().__init__()
        self._devices = list(devices)

    async def devices(self) -> list[Device]:
        return self._devices

    async def health(self, device: Device) -> Health | None:
        raise AssertionError("a drive that is left alone is not asked")


async def test_a_disk_of_the_system_and_a_failing_drive_are_left_alone(tmp_path: Path) -> None:
    in_use = Hindrance(HindranceKind.IN_USE, "drive SYS is not touched: sda2 is mounted at /")
    source = _Attached(
        Device("a", SerialNumber.parse("SYS"), "1", 1 << 40, hindrance=in_use),
        Device("b", SerialNumber.parse("OLD"), "2", 1 << 40, is_failing=True),
    )
    candidates, troubles = await attached(source, _settings(tmp_path))
    assert candidates == []
    assert [(each.what, each.id, each.side) for each in troubles] == [
        ("SYS", "DriveInUse", "station"),
        ("OLD", "DriveFailing", "drive"),
    ]
    assert "mounted at /" in troubles[0].line()


def _mounted_node() -> Path | None:
    lines = Path("/proc/mounts").read_text("utf-8").splitlines()
    return next((node for node in (Path(line.split()[0]) for line in lines) if node.is_block_device()), None)


async def test_the_disk_that_this_system_runs_from_is_never_read(tmp_path: Path) -> None:
    mounted = _mounted_node()
    if mounted is None:
        pytest.skip("nothing that is mounted here has a device node")
    found = await measure_drives(await at_paths([mounted], _settings(tmp_path)), 0.2, asyncio.Event())
    assert found.drives == ()
    assert [(each.id, each.side) for each in found.troubles] == [("DeviceUnavailable", "station")]


async def test_processors_are_measured_by_processes_of_their_own() -> None:
    found = await measure_cpu(0.4, kinds=(Work.XTS_128, Work.TLS), cores=2)
    assert found.troubles == ()
    assert set(found.speeds) == {Work.XTS_128, Work.TLS}
    assert all(speed.one_core > 0 and speed.all_cores > 0 for speed in found.speeds.values())


async def test_nothing_is_left_in_an_account(
    azurite: Azurite, containers: BlobServiceClient, tmp_path: Path
) -> None:
    before = _of_benchmarks(containers)
    found = await _measured(_settings(tmp_path, _azure(azurite)))
    assert (found.troubles, found.left) == ((), "")
    assert [each.connections for each in found.rounds] == [4, 8, 16][: len(found.rounds)]
    assert found.best is not None
    assert 0 < found.bytes_put <= 16 * MIB
    assert found.bytes_put >= sum(each.bytes for each in found.rounds) + found.blobs_put * SMALL_BYTES
    assert found.blobs_put > 0
    assert found.blobs_per_s > 0
    assert _of_benchmarks(containers) == before


async def test_a_folder_of_a_container_is_emptied_and_what_else_is_in_it_stays(
    azurite: Azurite, containers: BlobServiceClient, tmp_path: Path
) -> None:
    own = containers.create_container("bench-of-a-customer")
    own.upload_blob("ingest-agent-bench/theirs", b"x")
    # A SAS for the container alone, which may not make another one.
    sas = generate_container_sas(
        azurite.account,
        own.container_name,
        account_key=azurite.key,
        permission=ContainerSasPermissions(read=True, write=True, create=True, delete=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    settings = _settings(tmp_path, _azure(azurite, sas))
    refused = await _measured(settings)
    assert [(each.id, each.side) for each in refused.troubles] == [("StoreRefused", "service")]
    assert "--container" in refused.troubles[0].next_step
    found = await _measured(settings, container=ContainerName.parse(own.container_name))
    assert (found.troubles, found.left) == ((), "")
    assert found.bytes_put
    listed = [each.name for each in own.list_blobs(include=["uncommittedblobs"])]
    assert listed == ["ingest-agent-bench/theirs"]
    own.delete_container()


def _account_sas(azurite: Azurite, **permissions: bool) -> str:
    return generate_account_sas(
        azurite.account,
        azurite.key,
        ResourceTypes(service=True, container=True, object=True),
        AccountSasPermissions(read=True, write=True, create=True, list=True, **permissions),
        datetime.now(UTC) + timedelta(hours=1),
    )


async def test_who_may_not_remove_puts_nothing(
    azurite: Azurite, containers: BlobServiceClient, tmp_path: Path
) -> None:
    before = _of_benchmarks(containers)
    found = await _measured(_settings(tmp_path, _azure(azurite, _account_sas(azurite))))
    assert [(each.id, each.side) for each in found.troubles] == [("ConfigInvalid", "station")]
    assert "delete (d)" in found.troubles[0].detail
    assert (found.bytes_put, found.left) == (0, "")
    assert _of_benchmarks(containers) == before


async def test_what_could_not_be_removed_is_told(
    azurite: Azurite, containers: BlobServiceClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The right is not in the signature's text, as with a stored policy or a role, and is not given.
    monkeypatch.setattr("agent.station.benchmark.account._check", lambda store: None)
    found = await _measured(_settings(tmp_path, _azure(azurite, _account_sas(azurite))))
    (left,) = _of_benchmarks(containers)
    assert left in found.left
    assert {each.id for each in found.troubles} == {"StoreRefused"}
    assert found.bytes_put == 0
    assert sum(each.size for each in containers.get_container_client(left).list_blobs()) == 0
    containers.delete_container(left)


async def test_nothing_is_left_in_a_folder(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    found = await _measured(settings)
    assert (found.troubles, found.left) == ((), "")
    assert found.bytes_put
    assert _below(tmp_path) == set()
    store = open_store("directory", settings.store.address, None)
    theirs = BlobName.parse("photos/a/b")
    await store.ensure_container(theirs.container)
    await store.put_blob(theirs, [memoryview(b"x")], crc64([b"x"]), NO_ATTRIBUTES, replace=False)
    before = _below(tmp_path)
    found = await _measured(settings, container=theirs.container)
    assert (found.troubles, found.left) == ((), "")
    assert {path for path in _below(tmp_path) if path.name != "lock"} == {
        path for path in before if path.name != "lock"
    }


async def test_a_store_that_does_not_answer_is_the_networks(tmp_path: Path) -> None:
    key = base64.b64encode(b"k").decode()
    settings = _settings(tmp_path, StoreSettings("azure", "http://127.0.0.1:9/acct", Secret(key)))
    found = await _measured(settings, give_up_after_s=0.2)
    assert {(each.id, each.side) for each in found.troubles} == {("StoreUnreachable", "network")}
    assert "Connection refused" in found.troubles[0].detail
    assert found.bytes_put == 0


def _command(tmp_path: Path, azurite: Azurite, *arguments: str) -> subprocess.Popen[str]:
    key = tmp_path / "key"
    key.write_text(azurite.key)
    settings = tmp_path / "agent.toml"
    settings.write_text(
        f'state_dir = "{tmp_path}"\n[transfer]\nconnections = 2\nblock_mib = 1\n'
        f'[store]\nkind = "azure"\naddress = "{azurite.endpoint}"\ncredential_file = "{key}"\n'
    )
    return subprocess.Popen(
        killing.command("--config", str(settings), "bench", *arguments),
        env={**os.environ, "PYTHONPATH": str(killing.CHECKOUT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_removes_what_was_put(
    azurite: Azurite, containers: BlobServiceClient, tmp_path: Path, number: signal.Signals
) -> None:
    before = set(_of_benchmarks(containers))
    process = _command(tmp_path, azurite, "--only", "account", "--seconds", "60", "--json")
    deadline = time.monotonic() + WITHIN_S
    while not any(
        True
        for name in set(_of_benchmarks(containers)) - before
        for _ in containers.get_container_client(name).list_blobs(include=["uncommittedblobs"])
    ):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    said, error = process.communicate(timeout=WITHIN_S)
    assert (process.returncode, error) == (128 + number, "")
    assert json.loads(said)["account"]["notRemoved"] == ""
    assert set(_of_benchmarks(containers)) == before


def test_a_technician_reads_a_table(azurite: Azurite, image: Path, tmp_path: Path) -> None:
    process = _command(
        tmp_path, azurite, "--seconds", "3", "--max-mib", "16", str(image), str(tmp_path / "none")
    )
    said, error = process.communicate(timeout=WITHIN_S)
    assert (process.returncode, error) == (5, "")
    assert "none cannot be opened: No such file or directory [station: DeviceUnavailable]" in said
    for told in (
        "first MB/s",
        "decryption AES-XTS-256",
        "requests at once",
        "Drives at once that make sense: ",
    ):
        assert told in said
    assert azurite.key not in said


def test_only_what_is_asked_for_is_measured(azurite: Azurite, tmp_path: Path) -> None:
    process = _command(tmp_path, azurite, "--only", "drive", "--drive", "GONE", "--json")
    said, _ = process.communicate(timeout=WITHIN_S)
    document = json.loads(said)
    assert (document["cpu"], document["account"], document["advice"]["drives"]) == (None, None, None)
    assert [each["id"] for each in document["drives"]["troubles"]] == ["DeviceUnavailable"]
    assert process.returncode == 5
