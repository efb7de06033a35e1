"""The bodies that the description of the API names: what goes in, and what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent.formats.jobpapers import ADDRESS_FIELDS, SHIPPING_FIELDS
from agent.model.codes import LogLevel
from agent.model.states import DriveState, JobState

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """The body of that name, which ``schemas`` has."""
    return {"$ref": f"#/components/schemas/{name}"}


def text(at_most: int = 256) -> Schema:
    """One line: without control characters."""
    return {"type": "string", "maxLength": at_most, "pattern": "^[^\\u0000-\\u001f\\u007f]*$"}


def an_object(properties: Schema, required: Sequence[str] = ()) -> Schema:
    """What is not required may be null: then it is as if it were not there."""
    shown = {name: one if name in required else or_null(one) for name, one in properties.items()}
    schema: Schema = {"type": "object", "properties": shown}
    return schema | {"required": list(required)} if required else schema


def or_null(schema: Schema) -> Schema:
    """That, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def texts(*names: str, required: Sequence[str] = ()) -> Schema:
    """An object of one-line texts; those that are required are not empty."""
    filled = {**text(), "pattern": r"^[^\u0000-\u001f\u007f\s][^\u0000-\u001f\u007f]*$"}
    return an_object({name: filled if name in required else text() for name in names}, required)


def several(schema: Schema, at_most: int | None = None) -> Schema:
    """A list of them."""
    found: Schema = {"type": "array", "items": schema}
    return found if at_most is None else found | {"maxItems": at_most}


def page(name: str) -> Schema:
    """Part of a list of such bodies, and where the next part is."""
    return an_object({"value": several(ref(name)), "nextLink": {"type": "string"}}, ("value",))


def schemas() -> dict[str, Any]:
    """All of them by name, as ``components/schemas`` of the description."""
    return {
        "ErrorResponse": an_object({"error": _error()}, ("error",)),
        "ReturnAddress": texts(
            *ADDRESS_FIELDS,
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
        "ReturnShipping": texts(
            "carrierName", "carrierAccountNumber", required=("carrierName", "carrierAccountNumber")
        ),
        "ShippingInformation": texts(*SHIPPING_FIELDS),
        "Package": _package(),
        "DriveIn": _drive_in(),
        "Drive": _drive(),
        "PutJobParameters": an_object(
            {"location": text(), "tags": ref("Tags"), "properties": ref("JobIn")}, ("properties",)
        ),
        "UpdateJobParameters": an_object({"tags": ref("Tags"), "properties": ref("JobUpdate")}),
        "ActParameters": an_object(
            {
                "note": text(1000),
                "days": {"type": "integer", "minimum": 1, "maximum": 365},
                "giveUp": {"type": "boolean"},
                "returnPackage": ref("Package"),
            }
        ),
        "Tags": {
            "type": "object",
            "maxProperties": 50,
            "propertyNames": {**text(512), "minLength": 1},
            "additionalProperties": or_null(text()),
        },
        "JobIn": _job_in(),
        "JobUpdate": _job_update(),
        "JobResponse": _job(),
        "ListJobsResponse": page("JobResponse"),
        "Location": _location(),
        "LocationsResponse": page("Location"),
        "Operation": an_object(
            {"name": text(), "display": texts("provider", "resource", "operation", "description")},
            ("name", "display"),
        ),
        "ListOperationsResponse": page("Operation"),
        "DriveBitLockerKey": texts("driveId", "bitLockerKey", required=("driveId", "bitLockerKey")),
        "GetBitLockerKeysResponse": page("DriveBitLockerKey"),
        "Event": an_object(
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
        "ListEventsResponse": page("Event"),
    }


def _error() -> Schema:
    texts: Schema = {name: {"type": "string"} for name in ("code", "target", "message")}
    details = several(an_object(texts, ("code", "message")))
    return an_object({**texts, "details": details}, ("code", "message"))


def _package() -> Schema:
    package = texts("carrierName", "trackingNumber", "shipDate", required=("carrierName", "trackingNumber"))
    package["properties"]["driveCount"] = or_null({"type": "integer", "minimum": 0, "maximum": 10_000})
    return package


def _drive_in() -> Schema:
    key = {"type": "string", "description": "Secret: it goes in, and comes out by listBitLockerKeys alone."}
    return an_object(
        {
            "driveId": {"type": "string", "minLength": 1, "maxLength": 64},
            "bitLockerKey": key,
            "manifestFile": text(32_767),
            "manifestHash": {"type": "string", "pattern": "^([0-9A-Fa-f]{32}|[0-9A-Fa-f]{64})?$"},
            "driveHeaderHash": text(),
        },
        ("driveId",),
    )


def _drive() -> Schema:
    whole = {"type": "integer", "minimum": 0}
    return an_object(
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
    return an_object(
        {
            "jobType": {"enum": ["Import"]},
            "storageAccountId": text(1024),
            "returnAddress": ref("ReturnAddress"),
            "returnShipping": ref("ReturnShipping"),
            "shippingInformation": ref("ShippingInformation"),
            "deliveryPackage": ref("Package"),
            "diagnosticsPath": text(63),
            "logLevel": {"enum": list(LogLevel)},
            "backupDriveManifest": {"type": "boolean"},
            "state": {"enum": ["", "Creating", "Shipping"]},
            "driveList": {**several(ref("DriveIn"), 10), "minItems": 1},
            "encryptionKey": an_object({"kekType": {"enum": ["MicrosoftManaged"]}}),
            "destination": text(1024),
            "disposition": {"enum": ["no-overwrite", "overwrite", "rename"]},
            "allowUnencrypted": {"type": "boolean"},
        },
        ("driveList",),
    )


def _job_update() -> Schema:
    return an_object(
        {
            "cancelRequested": {"const": True},
            "state": {"enum": ["", "Shipping"]},
            "returnAddress": ref("ReturnAddress"),
            "returnShipping": ref("ReturnShipping"),
            "deliveryPackage": ref("Package"),
            "logLevel": {"enum": list(LogLevel)},
            "backupDriveManifest": {"type": "boolean"},
            "driveList": {**several(ref("DriveIn"), 10), "minItems": 1},
        }
    )


def _job() -> Schema:
    properties = an_object(
        {
            "jobType": {"const": "Import"},
            "state": {"enum": list(JobState)},
            "cancelRequested": {"type": "boolean"},
            "percentComplete": {"type": "integer", "minimum": 0, "maximum": 100},
            "driveList": several(ref("Drive"), 10),
            "provisioningState": {"const": "Succeeded"},
            "returnAddress": ref("ReturnAddress"),
            "returnShipping": ref("ReturnShipping"),
            "shippingInformation": ref("ShippingInformation"),
            "deliveryPackage": ref("Package"),
            "returnPackage": ref("Package"),
        },
        ("jobType", "state", "cancelRequested", "provisioningState"),
    )
    return an_object(
        {
            "id": {"type": "string"},
            "name": {"type": "string"},
            "type": {"const": "Microsoft.ImportExport/jobs"},
            "location": {"type": "string"},
            "tags": ref("Tags"),
            "properties": properties,
            "identity": an_object({"type": {"const": "None"}}),
            "systemData": an_object(
                {name: {"type": "string", "format": "date-time"} for name in ("createdAt", "lastModifiedAt")}
            ),
        },
        ("id", "name", "type", "location", "properties"),
    )


def _location() -> Schema:
    properties = texts(*ADDRESS_FIELDS, "additionalShippingInformation")
    properties["properties"] |= {
        name: several({"type": "string"}) for name in ("supportedCarriers", "alternateLocations")
    }
    return an_object(
        {
            "id": {"type": "string"},
            "name": {"type": "string"},
            "type": {"const": "Microsoft.ImportExport/locations"},
            "properties": properties,
        },
        ("id", "name", "type", "properties"),
    )
