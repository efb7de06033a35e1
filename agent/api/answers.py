"""What the provider answers: jobs, locations, operations, in the shape and order of the recorded service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent.catalog import Event
from agent.config.api import ApiSettings
from agent.formats.jobrequest import job_to_json
from agent.model.job import Drive, Job
from agent.model.locations import Location, find_location
from agent.model.papers import part_to_json, wire_name
from agent.model.roles import Role, sees_content

PROVIDER = "Microsoft.ImportExport"
HIDDEN_OF_DRIVES = (
    "manifestFile",
    "manifestHash",
    "driveHeaderHash",
    "verboseLogUri",
    "errorLogUri",
    "manifestUri",
)
HIDDEN_OF_JOBS = frozenset({"destination", "storageAccountId"})
"""From a technician: what leads to a customer's data."""


class Answers:
    """How jobs look to callers of this station."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings

    def job(
        self, job: Job, role: Role, *, location: str | None = None, drives: bool = True
    ) -> dict[str, Any]:
        """``JobResponse``. ``location``: as it was sent, where the answer echoes it (PUT)."""
        papers = job.papers
        shown = location if location is not None else self._display(papers.location)
        answer: dict[str, Any] = {
            "properties": self._properties(job, role, drives=drives),
            "identity": {"type": "None"},
            "id": self.job_id(job),
            "name": job.name.text,
            "type": f"{PROVIDER}/jobs",
            "location": shown,
        }
        if papers.tags:
            answer["tags"] = dict(papers.tags)
        answer["systemData"] = {
            "createdAt": job.created.isoformat(),
            "lastModifiedAt": job.updated.isoformat(),
        }
        return answer

    def job_id(self, job: Job) -> str:
        """The resource's id."""
        return f"{self.scope_id(job)}/providers/{PROVIDER}/jobs/{job.name}"

    def scope_id(self, job: Job) -> str:
        """Of the resource group that the job stands in; that of the settings when it was filed here."""
        subscription = job.papers.subscription or self._settings.subscription
        group = job.papers.resource_group or self._settings.resource_group
        return f"/subscriptions/{subscription}/resourceGroups/{group}"

    def _display(self, location: str) -> str:
        found = find_location(location, self._settings.locations)
        return location if found is None else found.name

    def _properties(self, job: Job, role: Role, *, drives: bool) -> dict[str, Any]:
        papers = job.papers
        ours = job_to_json(job)["properties"]
        assert isinstance(ours, dict)
        properties: dict[str, Any] = (
            {"storageAccountId": papers.storage_account} if papers.storage_account else {}
        )
        properties["jobType"] = ours.pop("jobType")
        for name in ("return_address", "return_shipping"):
            if (part := getattr(papers, name)) is not None:
                properties[wire_name(name)] = part_to_json(part)
        if (shipping := self._shipping(papers.location, papers.shipping_information)) is not None:
            properties["shippingInformation"] = shipping
        # Those of the catalog come between; papers are told here once, whoever else may come to tell them.
        properties |= ours
        properties["provisioningState"] = "Succeeded"
        properties["encryptionKey"] = dict(papers.encryption_key or {"kekType": "MicrosoftManaged"})
        for name in ("delivery_package", "return_package"):
            if (part := getattr(papers, name)) is not None:
                properties[wire_name(name)] = part_to_json(part)
        if not drives:
            properties.pop("driveList", None)
        return properties if sees_content(role) else _without_content(properties)

    def _shipping(self, location: str, sent: Mapping[str, str] | None) -> dict[str, str] | None:
        """The address of the location; where none is configured, what the client sent."""
        found = find_location(location, self._settings.locations)
        if found is None:
            return None if sent is None else dict(sent)
        return {
            "recipientName": found.recipient_name,
            **_address(found),
            "additionalInformation": found.additional_shipping_information,
        }


def listed(value: Sequence[Mapping[str, Any]], next_link: str | None = None) -> dict[str, Any]:
    """A page."""
    page: dict[str, Any] = {"value": list(value)}
    return page if next_link is None else page | {"nextLink": next_link}


def location_to_json(location: Location) -> dict[str, Any]:
    """``Location``; it names itself as open, as the service's answers do."""
    own = f"/providers/{PROVIDER}/locations/{location.key}"
    return {
        "properties": {
            "recipientName": location.recipient_name,
            **_address(location),
            "additionalShippingInformation": location.additional_shipping_information,
            "supportedCarriers": list(location.supported_carriers),
            "alternateLocations": [own],
        },
        "id": own,
        "name": location.name,
        "type": f"{PROVIDER}/locations",
    }


def event_to_json(event: Event, role: Role) -> dict[str, Any]:
    """One line of the history; a detail may hold names of files, and so is no technician's."""
    told = {
        "id": event.id,
        "at": event.at.isoformat(),
        "what": event.what,
        "job": event.job,
        "drive": event.serial,
        "was": event.was,
        "now": event.now,
        "who": event.who,
        "origin": event.origin,
        "detail": event.detail if sees_content(role) else None,
    }
    return {name: value for name, value in told.items() if value not in (None, "")}


def progress_to_json(job: Job, drive: Drive) -> dict[str, Any]:
    """How a drive that is worked goes on."""
    going = drive.going
    told = {
        "job": job.name.text,
        "drive": drive.serial.shown,
        "state": drive.state.value,
        "jobPercentComplete": job.percent_complete,
        "percentComplete": drive.percent_complete,
        "bytesSucceeded": drive.tally.done.bytes,
        "copyStatus": drive.copy_status,
        "limitedBy": going.limited_by,
        "bytesPerSecond": going.bytes_per_s,
        "secondsLeft": going.seconds_left,
    }
    return {name: value for name, value in told.items() if value is not None}


_OPERATIONS = (
    ("locations/read", "Locations", "Get or List Locations"),
    ("jobs/write", "Jobs", "Create or Update Job"),
    ("jobs/read", "Jobs", "Get or List Jobs"),
    ("jobs/listBitLockerKeys/action", "Jobs", "List BitLocker Keys"),
    ("jobs/delete", "Jobs", "Delete Job"),
    ("jobs/history/read", "Jobs", "Read what happened to a Job"),
    ("jobs/handle/action", "Jobs", "Receive, miss or ship back Drives of a Job"),
    ("jobs/decide/action", "Jobs", "Cancel, fault, resolve or extend a Job"),
)


def operations_to_json() -> list[dict[str, Any]]:
    """What the provider can do; ``register/action`` is the resource manager's, and not done here."""
    return [
        {
            "name": f"{PROVIDER}/{name}",
            "display": {
                "provider": "Microsoft Import/Export",
                "resource": resource,
                "operation": told,
                "description": told,
            },
        }
        for name, resource, told in _OPERATIONS
    ]


def _address(location: Location) -> dict[str, str]:
    return {
        "streetAddress1": location.street_address1,
        "streetAddress2": location.street_address2,
        "city": location.city,
        "stateOrProvince": location.state_or_province,
        "postalCode": location.postal_code,
        "countryOrRegion": location.country_or_region,
        "phone": location.phone,
    }


def _without_content(properties: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in properties.items() if name not in HIDDEN_OF_JOBS}
    if "driveList" in shown:
        shown["driveList"] = [
            {name: value for name, value in drive.items() if name not in HIDDEN_OF_DRIVES}
            for drive in shown["driveList"]
        ]
    return shown
