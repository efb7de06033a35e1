"""With a SAS for one container the logs of a drive go into that container, where the service puts them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from azure.storage.blob import ContainerSasPermissions, generate_container_sas
from azure.storage.blob.aio import ContainerClient

from agent.catalog import open_catalog
from agent.config import Settings, StoreSettings
from agent.devices.fake import FakeSource
from agent.model.identity import JobName, SerialNumber
from agent.model.job import Destination, DriveSpec, JobSpec
from agent.model.secrets import Secret
from agent.station.visit import Visit
from tests.kit import images
from tests.kit.log import KeptLog

if TYPE_CHECKING:
    from fixtures.azurite import Azurite


async def test_logs_of_a_drive_lie_in_the_one_container_that_the_sas_is_for(
    azurite: Azurite, tmp_path: Path
) -> None:
    job, serial = JobName.parse("box"), SerialNumber.parse("S1")
    sas = generate_container_sas(
        azurite.account,
        "one-box",
        account_key=azurite.key,
        permission=ContainerSasPermissions(read=True, write=True, create=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    store = StoreSettings("azure", azurite.endpoint, Secret(sas))
    source = FakeSource()
    source.plug("1", images.unpack("demo", tmp_path), "S1")
    (device,) = await source.devices()
    container = ContainerClient(azurite.endpoint, "one-box", azurite.key, api_version="2024-11-04")
    async with container, open_catalog(tmp_path / "catalog.sqlite", tmp_path / "key") as catalog:
        await container.create_container()
        spec = JobSpec(
            job, (DriveSpec(serial, None),), Destination.parse("one-box/data/"), allow_unencrypted=True
        )
        filed = await catalog.create_job(spec, ship=True, who="test")
        settings = Settings(tmp_path / "state", store)
        await Visit(catalog, source, settings, KeptLog(), device, filed, patient=False).run()
        drive = (await catalog.job(job)).drive(serial)
        names = [name async for name in container.list_blob_names(name_starts_with="waimportexport/")]
    assert drive.percent_complete == 100
    (name,) = names
    assert re.fullmatch(r"waimportexport/waies/box_S1_\d{8}-\d{6}-\d{3}_error\.xml", name)
    assert drive.error_log_uri == f"{azurite.endpoint}/one-box/{name}"
