"""Runs inside an environment with one version of azure-mgmt-storageimportexport, and does what it is told.

A line of JSON in (``{"do": "get", "job": "x"}``), a line of JSON out: ``{"value": …}``, or what the SDK
raised as ``{"error": …}``. Arguments: base URL, subscription, resource group, certificate of the authority;
the token is the first line.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from typing import Any

from azure.mgmt.storageimportexport import StorageImportExport, models


def main() -> None:
    base_url, subscription, group, authority = sys.argv[1:]
    client = _client(base_url, subscription, authority, sys.stdin.readline().strip())
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = {"value": _do(client, group, asked)}
        except Exception as error:  # noqa: BLE001 - it is told
            answer = {"error": _told(error)}
        print(json.dumps(answer), flush=True)


def _client(base_url: str, subscription: str, authority: str, token: str) -> Any:
    if version("azure-mgmt-storageimportexport") == "0.1.0":
        from msrest.authentication import BasicTokenAuthentication

        old = StorageImportExport(
            BasicTokenAuthentication({"access_token": token}), subscription, base_url=base_url
        )
        old.config.connection.verify = authority
        return old
    from azure.core.credentials import AccessToken

    class Credential:
        def get_token(self, *scopes: str, **_: Any) -> AccessToken:
            return AccessToken(token, int(time.time()) + 3600)

    return StorageImportExport(
        Credential(), subscription, base_url=base_url, connection_verify=authority, retry_total=0
    )


def _do(client: Any, group: str, asked: dict[str, Any]) -> Any:
    job, options = asked.get("job"), asked.get("options", {})
    match asked["do"]:
        case "create":
            body = models.PutJobParameters.deserialize(asked["body"])
            return client.jobs.create(job, group, body, **options).as_dict()
        case "update":
            body = models.UpdateJobParameters.deserialize(asked["body"])
            return client.jobs.update(job, group, body).as_dict()
        case "get":
            return client.jobs.get(job, group).as_dict()
        case "delete":
            return client.jobs.delete(job, group)
        case "list":
            return [one.as_dict() for one in client.jobs.list_by_subscription(**options)]
        case "list_group":
            return [one.as_dict() for one in client.jobs.list_by_resource_group(group, **options)]
        case "keys":
            return [one.as_dict() for one in client.bit_locker_keys.list(job, group)]
        case "locations":
            return [one.as_dict() for one in client.locations.list()]
        case "location":
            return client.locations.get(asked["name"]).as_dict()
        case "operations":
            return [one.as_dict() for one in client.operations.list()]
    raise ValueError(asked["do"])


def _told(error: Exception) -> dict[str, Any]:
    """What both generations know of a refusal."""
    body = getattr(error, "error", None) or getattr(error, "model", None)
    inner = getattr(body, "error", body)
    details = getattr(inner, "details", None) or []
    response = getattr(error, "response", None)
    return {
        "type": type(error).__name__,
        "status": getattr(response, "status_code", None),
        "code": getattr(inner, "code", None),
        "message": getattr(inner, "message", None) or str(error),
        "details": [{"target": one.target, "message": one.message} for one in details],
    }


if __name__ == "__main__":
    main()
