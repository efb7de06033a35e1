"""The description of the API (OpenAPI 3.1): every path, parameter and body, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from agent import __version__
from agent.api.openapi_schemas import Schema, ref, schemas, text

VERSIONS = ("2016-11-01", "2020-08-01", "2021-01-01")
_PROVIDER = "/providers/Microsoft.ImportExport"
_SUBSCRIPTION = "/subscriptions/{subscriptionId}"
_GROUP = _SUBSCRIPTION + "/resourceGroups/{resourceGroupName}"
_JOB = _GROUP + _PROVIDER + "/jobs/{jobName}"


@cache
def document() -> Mapping[str, Any]:
    """The whole of it; not to be changed."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "drive-ingest-agent job API",
            "version": __version__,
            "description": "The resource provider Microsoft.ImportExport, and live events beside it.",
        },
        "paths": _paths(),
        "components": {
            "schemas": schemas(),
            "parameters": _parameters(),
            "responses": {
                "Refused": {
                    "description": "Why not.",
                    "content": {"application/json": {"schema": ref("ErrorResponse")}},
                }
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _paths() -> dict[str, Any]:
    listed = ("top", "filter", "skiptoken")
    return {
        _PROVIDER + "/locations": {"get": _operation("Locations_List", _ok("LocationsResponse"))},
        _PROVIDER + "/locations/{locationName}": {
            "get": _operation("Locations_Get", _ok("Location"), ("locationName",))
        },
        _PROVIDER + "/operations": {"get": _operation("Operations_List", _ok("ListOperationsResponse"))},
        _SUBSCRIPTION + _PROVIDER + "/jobs": {
            "get": _operation("Jobs_ListBySubscription", _ok("ListJobsResponse"), ("subscriptionId", *listed))
        },
        _GROUP + _PROVIDER + "/jobs": {
            "get": _operation("Jobs_ListByResourceGroup", _ok("ListJobsResponse"), (*_IN_GROUP, *listed))
        },
        _JOB: {
            "get": _operation("Jobs_Get", _ok("JobResponse"), _OF_JOB),
            "put": _operation(
                "Jobs_Create",
                _ok("JobResponse", (200, 201)),
                (*_OF_JOB, "clientTenantId"),
                "PutJobParameters",
            ),
            "patch": _operation("Jobs_Update", _ok("JobResponse"), _OF_JOB, "UpdateJobParameters"),
            "delete": _operation("Jobs_Delete", {"200": {"description": "It is gone."}}, _OF_JOB),
        },
        _JOB + "/listBitLockerKeys": {
            "post": _operation("BitLockerKeys_List", _ok("GetBitLockerKeysResponse"), _OF_JOB)
        },
        _JOB + "/history": {"get": _operation("Jobs_History", _ok("ListEventsResponse"), _OF_JOB)},
        _JOB + "/{verb}": {
            "post": _operation("Jobs_Act", _ok("JobResponse"), (*_OF_JOB, "jobVerb"), "ActParameters", False)
        },
        _JOB + "/drives/{driveId}/{verb}": {
            "post": _operation(
                "Drives_Act", _ok("JobResponse"), (*_OF_JOB, "driveId", "driveVerb"), "ActParameters", False
            )
        },
        "/events": {"get": _events()},
        "/openapi.json": {
            "get": {
                "operationId": "Description",
                "responses": {
                    "200": {
                        "description": "This document.",
                        "content": {"application/json": {"schema": {"type": "object"}}},
                    },
                    "4XX": _refused(),
                },
            }
        },
    }


_IN_GROUP = ("subscriptionId", "resourceGroupName")
_OF_JOB = (*_IN_GROUP, "jobName")


def _operation(
    name: str, answers: Schema, parameters: Sequence[str] = (), body: str | None = None, needed: bool = True
) -> Schema:
    operation: Schema = {
        "operationId": name,
        "parameters": [{"$ref": f"#/components/parameters/{one}"} for one in ("api-version", *parameters)],
        "responses": {**answers, "4XX": _refused(), "503": _refused()},
    }
    if body is not None:
        operation["requestBody"] = {
            "required": needed,
            "content": {"application/json": {"schema": ref(body)}},
        }
    return operation


def _ok(schema: str, statuses: Sequence[int] = (200,)) -> Schema:
    answer = {"description": "Done.", "content": {"application/json": {"schema": ref(schema)}}}
    return {str(status): answer for status in statuses}


def _events() -> Schema:
    return {
        "operationId": "Events",
        "parameters": [
            {"name": "job", "in": "query", "schema": text(64)},
            {
                "name": "Last-Event-ID",
                "in": "header",
                "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
            },
        ],
        "responses": {
            "200": {
                "description": "Server-sent events: moves by their names in the history, and progress.",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            "4XX": _refused(),
            "503": _refused(),
        },
    }


def _refused() -> Schema:
    return {"$ref": "#/components/responses/Refused"}


def _parameters() -> dict[str, Any]:
    def path(name: str, schema: Schema) -> Schema:
        return {"name": name, "in": "path", "required": True, "schema": schema}

    def query(name: str, schema: Schema) -> Schema:
        return {"name": name, "in": "query", "schema": schema}

    return {
        "api-version": query("api-version", {"type": "string", "enum": list(VERSIONS)}) | {"required": True},
        "subscriptionId": path("subscriptionId", {"type": "string", "pattern": "^[A-Za-z0-9-]{1,64}$"}),
        "resourceGroupName": path(
            "resourceGroupName", {"type": "string", "pattern": "^[A-Za-z0-9_().-]{0,89}[A-Za-z0-9_()-]$"}
        ),
        "jobName": path("jobName", {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9-]{1,63}$"}),
        "driveId": path("driveId", {"type": "string", "minLength": 1, "maxLength": 64}),
        "locationName": path("locationName", {"type": "string", "minLength": 1, "maxLength": 90}),
        "jobVerb": path(
            "verb",
            {"enum": ["receive", "shipBack", "cancel", "fault", "resolve", "extendWaiting"]},
        ),
        "driveVerb": path("verb", {"enum": ["receive", "markNeverReceived", "shipBack", "fault", "resolve"]}),
        "top": query("$top", {"type": "integer", "minimum": 1, "maximum": 100}),
        "filter": query("$filter", text(1000)),
        "skiptoken": query("$skiptoken", {"type": "string"}),
        "clientTenantId": {"name": "x-ms-client-tenant-id", "in": "header", "schema": text()},
    }
