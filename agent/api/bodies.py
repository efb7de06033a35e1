"""Bodies of PUT, PATCH and our own verbs, read into values. Everything that is wrong is told at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.api.problems import malformed
from agent.errors import MalformedInput
from agent.formats.jobpapers import (
    Complaints,
    one_line,
    read_encryption_key,
    read_package,
    read_return_address,
    read_return_shipping,
    read_shipping_information,
    read_storage_account,
    read_tags,
)
from agent.formats.jobrequest import JobRequest, choice_of, drives_of, job_request_of
from agent.formats.json_fields import Fields, load_object
from agent.model.codes import LogLevel
from agent.model.identity import JobName, SerialNumber
from agent.model.job import DriveSpec, Job
from agent.model.keys import Credential
from agent.model.locations import Location, find_location
from agent.model.papers import Address, Package, Papers, ReturnShipping
from agent.model.states import JobState

MAX_NOTE_CHARS = 1000
FIXED = (
    "storageAccountId",
    "jobType",
    "diagnosticsPath",
    "shippingInformation",
    "returnPackage",
    "export",
    "encryptionKey",
    "destination",
    "disposition",
)
"""Of ``JobDetails``; ``UpdateJobParameters`` does not have them."""

Keys = Mapping[SerialNumber, Credential]


@dataclass(frozen=True, slots=True)
class Put:
    """A job as asked for."""

    request: JobRequest
    papers: Papers


@dataclass(frozen=True, slots=True)
class Patch:
    """What is to change; None stays as it is."""

    cancel: bool
    ship: bool
    tags: dict[str, str] | None
    return_address: Address | None
    return_shipping: ReturnShipping | None
    delivery_package: Package | None
    log_level: LogLevel | None
    backup_manifest: bool | None
    drives: tuple[DriveSpec, ...] | None


def read_put(
    data: bytes,
    name: JobName,
    locations: Sequence[Location],
    *,
    subscription: str,
    resource_group: str,
    tenant: str,
    keys: Keys,
) -> Put:
    """``PutJobParameters``; ``keys`` are those that the job has already. Raises ArmError."""
    found = Complaints()
    body = _object(data)
    properties = _properties(body, needed=True)
    request = found.of(lambda: job_request_of(properties, name, keys=keys))
    papers = Papers(
        subscription=subscription,
        resource_group=resource_group,
        location=found.of(lambda: _location(body, locations)) or "",
        tags=found.of(lambda: read_tags(body) or {}) or {},
        storage_account=found.of(lambda: read_storage_account(properties)) or "",
        client_tenant=tenant,
        return_address=read_return_address(properties, found),
        return_shipping=read_return_shipping(properties, found),
        delivery_package=read_package(properties, "deliveryPackage", found),
        return_package=None,
        shipping_information=read_shipping_information(properties, found),
        encryption_key=found.of(lambda: read_encryption_key(properties)),
    )
    found.of(lambda: _refuse_cancelled(properties))
    if found.found or request is None:
        raise malformed(found.found)
    return Put(request, papers)


def read_patch(data: bytes, job: Job, keys: Keys) -> Patch:
    """``UpdateJobParameters`` for ``job``, whose keys are ``keys``. Raises ArmError."""
    found = Complaints()
    body = _object(data)
    properties = _properties(body, needed=False)
    for key in FIXED:
        found.of(lambda key=key: _refuse_fixed(properties, key))  # type: ignore[misc]
    patch = Patch(
        cancel=found.of(lambda: _cancels(properties)) or False,
        ship=found.of(lambda: _ships(properties)) or False,
        tags=found.of(lambda: read_tags(body)),
        return_address=read_return_address(properties, found),
        return_shipping=read_return_shipping(properties, found),
        delivery_package=read_package(properties, "deliveryPackage", found),
        log_level=found.of(lambda: _log_level(properties)),
        backup_manifest=found.of(lambda: _backup(properties)),
        drives=found.of(lambda: _drives(properties, job, keys)),
    )
    if found.found:
        raise malformed(found.found)
    return patch


@dataclass(frozen=True, slots=True)
class Verb:
    """The body of one of our own verbs; a field that the verb does not know is not looked at."""

    note: str
    days: int | None
    gives_up: bool
    package: Package | None


def read_verb(data: bytes) -> Verb:
    """An object with ``note`` and what else the verb takes; no body is an empty one. Raises ArmError."""
    found = Complaints()
    body = _object(data or b"{}")
    verb = Verb(
        note=found.of(lambda: one_line(body, "note", MAX_NOTE_CHARS) or "") or "",
        days=found.of(lambda: body.number("days", 365)),
        gives_up=found.of(lambda: body.flag("giveUp")) or False,
        package=read_package(body, "returnPackage", found),
    )
    if found.found:
        raise malformed(found.found)
    return verb


def _object(data: bytes) -> Fields:
    try:
        return load_object(data)
    except MalformedInput as error:
        raise malformed([error]) from None


def _properties(body: Fields, *, needed: bool) -> Fields:
    try:
        if needed:
            return body.child("properties")
        return body.maybe("properties") or Fields({}, "properties")
    except MalformedInput as error:
        raise malformed([error]) from None


def _location(body: Fields, locations: Sequence[Location]) -> str:
    named = one_line(body, "location") or ""
    if not locations:
        return named
    if not named and len(locations) == 1:
        return locations[0].name
    if not named or find_location(named, locations) is None:
        told = "is missing" if not named else f"{named[:60]!r} is not a location of this station"
        raise MalformedInput(f"location: {told}; there is {', '.join(one.name for one in locations)}")
    return named


def _refuse_cancelled(properties: Fields) -> None:
    if properties.flag("cancelRequested"):
        raise MalformedInput(f"{properties.path('cancelRequested')}: a new job is not cancelled")


def _refuse_fixed(properties: Fields, key: str) -> None:
    if properties.gives(key):
        raise MalformedInput(f"{properties.path(key)}: cannot be changed by PATCH")


def _cancels(properties: Fields) -> bool:
    if properties.gives("cancelRequested") and not properties.flag("cancelRequested"):
        raise MalformedInput(f"{properties.path('cancelRequested')}: can only be true")
    return properties.flag("cancelRequested")


def _ships(properties: Fields) -> bool:
    state = properties.text("state")
    if state not in ("", JobState.SHIPPING.value):
        raise MalformedInput(f"{properties.path('state')}: {state[:40]!r} is not Shipping")
    return state == JobState.SHIPPING.value


def _log_level(properties: Fields) -> LogLevel | None:
    return choice_of(properties, "logLevel", LogLevel.ERROR) if properties.text("logLevel") else None


def _backup(properties: Fields) -> bool | None:
    return properties.flag("backupDriveManifest") if properties.gives("backupDriveManifest") else None


def _drives(properties: Fields, job: Job, keys: Keys) -> tuple[DriveSpec, ...] | None:
    if not properties.gives("driveList"):
        return None
    return drives_of(
        properties, unencrypted=job.allow_unencrypted, placed=job.destination is not None, keys=keys
    )
