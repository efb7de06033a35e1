"""Runs inside an environment with the Azure CLI: the management client of its factory files a job.

Arguments: resource group, and the body of the job as JSON. The CLI's configuration is in AZURE_CONFIG_DIR.
"""

from __future__ import annotations

import json
import sys

from azure.cli.core import get_default_cli
from azure.cli.core.commands.client_factory import get_mgmt_service_client
from azure.mgmt.storageimportexport import StorageImportExport, models


def main() -> None:
    group, body = sys.argv[1], json.loads(sys.argv[2])
    client = get_mgmt_service_client(get_default_cli(), StorageImportExport)
    created = client.jobs.create("by-cli", group, models.PutJobParameters.deserialize(body))
    told = {
        "state": created.properties.state,
        "jobs": [one.name for one in client.jobs.list_by_subscription()],
        "drives": [one.drive_id for one in client.bit_locker_keys.list("by-cli", group)],
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
