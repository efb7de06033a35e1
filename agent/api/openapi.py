"""The description of the API (OpenAPI 3.1): every path, parameter and body, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from agent import __version__
from agent.model.codes import LogLevel
from agent.model.states import DriveState, JobState

VERSIONS = ("2016-11-01", "2020-08-01", "2021-01-01")
_PROVIDER = "/providers/Microsoft.ImportExport"
_SUBSCRIPTION = "/subscriptions/{subscriptionId}"
_GROUP = _SUBSCRIPTION + "/resourceGroups/{resourceGroupName}"
_JOB = _GROUP + _PROVIDER + "/jobs/{jobName}"

Schema = dict[str, Any]


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
            "schemas": _schemas(),
            "parameters": _parameters(),
            "responses": {
                "Refused": {
                    "description": "Why not.",
                    "content": {"application/json": {"schema": _ref("ErrorResponse")}},
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
            "content": {"application/json": {"schema": _ref(body)}},
        }
    return operation


def _ok(schema: str, statuses: Sequence[int] = (200,)) -> Schema:
    answer = {"description": "Done.", "content": {"application/json": {"schema": _ref(schema)}}}
    return {str(status): answer for status in statuses}


def _events() -> Schema:
    return {
        "operationId": "Events",
        "parameters": [
            {"name": "job", "in": "query", "schema": _text(64)},
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


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _text(at_most: int = 256) -> Schema:
    """One line: without control characters."""
    return {"type": "string", "maxLength": at_most, "pattern": "^[^\\u0000-\\u001f\\u007f]*$"}


def _object(properties: Schema, required: Sequence[str] = ()) -> Schema:
    """What is not required may be null: then it is as if it were not there."""
    shown = {name: one if name in required else _or_null(one) for name, one in properties.items()}
    schema: Schema = {"type": "object", "properties": shown}
    return schema | {"required": list(required)} if required else schema


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _texts(*names: str, required: Sequence[str] = ()) -> Schema:
    filled = {**_text(), "pattern": r"^[^\u0000-\u001f\u007f\s][^\u0000-\u001f\u007f]*$"}
    return _object({name: filled if name in required else _text() for name in names}, required)


def _several(schema: Schema, at_most: int | None = None) -> Schema:
    found: Schema = {"type": "array", "items": schema}
    return found if at_most is None else found | {"maxItems": at_most}


def _page(name: str) -> Schema:
    return _object({"value": _several(_ref(name)), "nextLink": {"type": "string"}}, ("value",))


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
        "filter": query("$filter", _text(1000)),
        "skiptoken": query("$skiptoken", {"type": "string"}),
        "clientTenantId": {"name": "x-ms-client-tenant-id", "in": "header", "schema": _text()},
    }


_ADDRESS = (
    "recipientName",
    "streetAddress1",
    "streetAddress2",
    "city",
    "stateOrProvince",
    "postalCode",
    "countryOrRegion",
    "phone",
)


def _schemas() -> dict[str, Any]:
    return {
        "ErrorResponse": _object({"error": _error()}, ("error",)),
        "ReturnAddress": _texts(
            *_ADDRESS,
            "email",
            required=(
                "recipientName",
                "streetAddress1",
                "city",
                "postalCode",
                "countryOrRegion",
                "phone",
                "email",
            ),
        ),
        "ReturnShipping": _texts(
            "carrierName", "carrierAccountNumber", required=("carrierName", "carrierAccountNumber")
        ),
        "ShippingInformation": _texts(*_ADDRESS, "additionalInformation"),
        "Package": _package(),
        "DriveIn": _drive_in(),
        "Drive": _drive(),
        "PutJobParameters": _object(
            {"location": _text(), "tags": _ref("Tags"), "properties": _ref("JobIn")}, ("properties",)
        ),
        "UpdateJobParameters": _object({"tags": _ref("Tags"), "properties": _ref("JobUpdate")}),
        "ActParameters": _object(
            {
                "note": _text(1000),
                "days": {"type": "integer", "minimum": 1, "maximum": 365},
                "giveUp": {"type": "boolean"},
                "returnPackage": _ref("Package"),
            }
        ),
        "Tags": {
            "type": "object",
            "maxProperties": 50,
            "propertyNames": {**_text(512), "minLength": 1},
            "additionalProperties": _or_null(_text()),
        },
        "JobIn": _job_in(),
        "JobUpdate": _job_update(),
        "JobResponse": _job(),
        "ListJobsResponse": _page("JobResponse"),
        "Location": _location(),
        "LocationsResponse": _page("Location"),
        "Operation": _object(
            {"name": _text(), "display": _texts("provider", "resource", "operation", "description")},
            ("name", "display"),
        ),
        "ListOperationsResponse": _page("Operation"),
        "DriveBitLockerKey": _texts("driveId", "bitLockerKey", required=("driveId", "bitLockerKey")),
        "GetBitLockerKeysResponse": _page("DriveBitLockerKey"),
        "Event": _object(
            {
                "id": {"type": "integer"},
                "at": {"type": "string", "format": "date-time"},
                **{
                    name: {"type": "string"}
                    for name in ("what", "job", "drive", "was", "now", "who", "origin", "detail")
                },
            },
            ("id", "at", "what"),
        ),
        "ListEventsResponse": _page("Event"),
    }


def _error() -> Schema:
    texts: Schema = {name: {"type": "string"} for name in ("code", "target", "message")}
    details = _several(_object(texts, ("code", "message")))
    return _object({**texts, "details": details}, ("code", "message"))


def _package() -> Schema:
    package = _texts("carrierName", "trackingNumber", "shipDate", required=("carrierName", "trackingNumber"))
    package["properties"]["driveCount"] = _or_null({"type": "integer", "minimum": 0, "maximum": 10_000})
    return package


def _drive_in() -> Schema:
    key = {"type": "string", "description": "Secret: it goes in, and comes out by listBitLockerKeys alone."}
    return _object(
        {
            "driveId": {"type": "string", "minLength": 1, "maxLength": 64},
            "bitLockerKey": key,
            "manifestFile": _text(32_767),
            "manifestHash": {"type": "string", "pattern": "^([0-9A-Fa-f]{32}|[0-9A-Fa-f]{64})?$"},
            "driveHeaderHash": _text(),
        },
        ("driveId",),
    )


def _drive() -> Schema:
    whole = {"type": "integer", "minimum": 0}
    return _object(
        {
            **{
                name: {"type": "string"}
                for name in (
                    "driveId",
                    "manifestFile",
                    "manifestHash",
                    "driveHeaderHash",
                    "copyStatus",
                    "verboseLogUri",
                    "errorLogUri",
                    "manifestUri",
                )
            },
            "state": {"enum": list(DriveState)},
            "percentComplete": {"type": "integer", "minimum": 0, "maximum": 100},
            "bytesSucceeded": whole,
        },
        ("driveId", "state"),
    )


def _job_in() -> Schema:
    return _object(
        {
            "jobType": {"enum": ["Import"]},
            "storageAccountId": _text(1024),
            "returnAddress": _ref("ReturnAddress"),
            "returnShipping": _ref("ReturnShipping"),
            "shippingInformation": _ref("ShippingInformation"),
            "deliveryPackage": _ref("Package"),
            "diagnosticsPath": _text(63),
            "logLevel": {"enum": list(LogLevel)},
            "backupDriveManifest": {"type": "boolean"},
            "state": {"enum": ["", "Creating", "Shipping"]},
            "driveList": {**_several(_ref("DriveIn"), 10), "minItems": 1},
            "encryptionKey": _object({"kekType": {"enum": ["MicrosoftManaged"]}}),
            "destination": _text(1024),
            "disposition": {"enum": ["no-overwrite", "overwrite", "rename"]},
            "allowUnencrypted": {"type": "boolean"},
        },
        ("driveList",),
    )


def _job_update() -> Schema:
    return _object(
        {
            "cancelRequested": {"const": True},
            "state": {"enum": ["", "Shipping"]},
            "returnAddress": _ref("ReturnAddress"),
            "returnShipping": _ref("ReturnShipping"),
            "deliveryPackage": _ref("Package"),
            "logLevel": {"enum": list(LogLevel)},
            "backupDriveManifest": {"type": "boolean"},
            "driveList": {**_several(_ref("DriveIn"), 10), "minItems": 1},
        }
    )


def _job() -> Schema:
    properties = _object(
        {
            "jobType": {"const": "Import"},
            "state": {"enum": list(JobState)},
            "cancelRequested": {"type": "boolean"},
            "percentComplete": {"type": "integer", "minimum": 0, "maximum": 100},
            "driveList": _several(_ref("Drive"), 10),
            "provisioningState": {"const": "Succeeded"},
            "returnAddress": _ref("ReturnAddress"),
            "returnShipping": _ref("ReturnShipping"),
            "shippingInformation": _ref("ShippingInformation"),
            "deliveryPackage": _ref("Package"),
            "returnPackage": _ref("Package"),
        },
        ("jobType", "state", "cancelRequested", "provisioningState"),
    )
    return _object(
        {
            "id": {"type": "string"},
            "name": {"type": "string"},
            "type": {"const": "Microsoft.ImportExport/jobs"},
            "location": {"type": "string"},
            "tags": _ref("Tags"),
            "properties": properties,
            "identity": _object({"type": {"const": "None"}}),
            "systemData": _object(
                {name: {"type": "string", "format": "date-time"} for name in ("createdAt", "lastModifiedAt")}
            ),
        },
        ("id", "name", "type", "location", "properties"),
    )


def _location() -> Schema:
    properties = _texts(*_ADDRESS, "additionalShippingInformation")
    properties["properties"] |= {
        name: _several({"type": "string"}) for name in ("supportedCarriers", "alternateLocations")
    }
    return _object(
        {
            "id": {"type": "string"},
            "name": {"type": "string"},
            "type": {"const": "Microsoft.ImportExport/locations"},
            "properties": properties,
        },
        ("id", "name", "type", "properties"),
    )
