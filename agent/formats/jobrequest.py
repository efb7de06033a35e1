"""Job requests and answers in the shape of the Import/Export service's REST API.

Source of the fields: ``PutJobParameters`` and ``JobDetails`` of Microsoft.ImportExport, versions
2016-11-01 to 2021-01-01. Of our own stands beside them: ``destination`` (``container/prefix``) for
drives without a manifest, ``disposition``, ``allowUnencrypted``, ``uploadStreams``, ``verify``,
``contentMd5``, ``sha256``, ``accessTier``, ``fileFacts``, and in answers ``tally``, ``verified`` and how a
transfer goes: ``limitedBy``, ``bytesPerSecond``, ``secondsLeft``, ``throttledRequests``, ``cutRequests``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TypeVar

from agent.errors import MalformedInput
from agent.formats.json_fields import Fields, load_object
from agent.model.blobs import AccessTier
from agent.model.codes import Disposition, LogLevel
from agent.model.destination import DEFAULT_DIAGNOSTICS, Destination
from agent.model.going import Going
from agent.model.identity import ContainerName, JobName, SerialNumber
from agent.model.job import MAX_DRIVES, Drive, DriveSpec, Job, JobSpec
from agent.model.keys import Credential, RecoveryPassword, parse_credential
from agent.model.states import DriveState, JobState
from agent.model.tally import Count
from agent.model.treatment import Treatment
from agent.model.verification import Verification

MAX_NTFS_PATH_CHARS = 32_767
MAX_HEADER_HASH_CHARS = 256

NO_KEYS: Mapping[SerialNumber, Credential] = {}

_Code = TypeVar("_Code", Disposition, LogLevel, AccessTier)
_NO_COPY_YET = frozenset({DriveState.SPECIFIED, DriveState.NEVER_RECEIVED, DriveState.RECEIVED})


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job as asked for, and whether its drives are on the way already."""

    spec: JobSpec
    ship: bool


def read_job_request(
    data: bytes,
    name: JobName,
    *,
    destination: Destination | None = None,
    disposition: Disposition | None = None,
    allow_unencrypted: bool = False,
) -> JobRequest:
    """Reads a request body of at most 1 MiB; unknown fields are ignored.

    ``destination`` and ``disposition`` win over the file's; unencrypted drives are allowed when
    either says so. Raises MalformedInput that names the field, and never shows a key.
    """
    return job_request_of(
        load_object(data).child("properties"),
        name,
        destination=destination,
        disposition=disposition,
        allow_unencrypted=allow_unencrypted,
    )


def job_request_of(
    properties: Fields,
    name: JobName,
    *,
    destination: Destination | None = None,
    disposition: Disposition | None = None,
    allow_unencrypted: bool = False,
    keys: Mapping[SerialNumber, Credential] = NO_KEYS,
) -> JobRequest:
    """The same of a request that is read; ``keys`` are known for drives that the request gives none for."""
    _refuse_exports(properties)
    unencrypted = properties.flag("allowUnencrypted") or allow_unencrypted
    place = destination or _destination(properties)
    spec = JobSpec(
        name=name,
        drives=drives_of(properties, unencrypted=unencrypted, placed=place is not None, keys=keys),
        destination=place,
        disposition=disposition or choice_of(properties, "disposition", Disposition.NO_OVERWRITE),
        diagnostics=_container(properties, "diagnosticsPath"),
        log_level=choice_of(properties, "logLevel", LogLevel.ERROR),
        backup_manifest=properties.flag("backupDriveManifest"),
        allow_unencrypted=unencrypted,
        upload_streams=properties.flag("uploadStreams"),
        treatment=_treatment(properties),
    )
    return JobRequest(spec, _asks_to_ship(properties))


def job_to_json(job: Job) -> dict[str, object]:
    """A job as the service answers: no key in it, and nothing of a transfer before there is one."""
    properties: dict[str, object] = {
        "jobType": "Import",
        "diagnosticsPath": job.diagnostics.text,
        "logLevel": job.log_level.value,
        "backupDriveManifest": job.backup_manifest,
        "cancelRequested": job.cancel_requested,
        "state": job.state.value,
        "driveList": [_drive_to_json(drive) for drive in job.drives],
        "disposition": job.disposition.value,
        "allowUnencrypted": job.allow_unencrypted,
        "uploadStreams": job.upload_streams,
        "contentMd5": job.treatment.content_md5,
        "sha256": job.treatment.sha256,
        "fileFacts": job.treatment.file_facts,
        "created": job.created.isoformat(),
        "updated": job.updated.isoformat(),
    }
    if job.treatment.verification is not None:
        properties["verify"] = str(job.treatment.verification)
    if job.treatment.tier is not None:
        properties["accessTier"] = job.treatment.tier.value
    if job.destination is not None:
        properties["destination"] = str(job.destination)
    if any(drive.state not in _NO_COPY_YET for drive in job.drives):
        properties["percentComplete"] = job.percent_complete
    return {"properties": properties, "name": job.name.text, "type": "Microsoft.ImportExport/jobs"}


def _drive_to_json(drive: Drive) -> dict[str, object]:
    shown: dict[str, object] = {
        "driveId": drive.serial.shown,
        "manifestFile": drive.manifest_file or "",
        "manifestHash": drive.manifest_hash or "",
        "driveHeaderHash": drive.header_hash,
        "state": drive.state.value,
    }
    if drive.state in _NO_COPY_YET:
        return shown
    shown["percentComplete"] = drive.percent_complete
    shown["bytesSucceeded"] = drive.tally.done.bytes
    optional = {
        "copyStatus": drive.copy_status,
        "verboseLogUri": drive.verbose_log_uri,
        "errorLogUri": drive.error_log_uri,
        "manifestUri": drive.manifest_uri,
    }
    shown |= {key: value for key, value in optional.items() if value is not None}
    shown |= _going_to_json(drive.going)
    books = drive.tally
    parts = {
        "discovered": books.discovered,
        "done": books.done,
        "failed": books.failed,
        "skipped": books.skipped,
    }
    shown["tally"] = {key: _count(value) for key, value in parts.items()}
    if drive.verified.total:
        shown["verified"] = asdict(drive.verified)
    return shown


def _going_to_json(going: Going) -> dict[str, object]:
    """What is known of it."""
    known = {
        "limitedBy": going.limited_by,
        "bytesPerSecond": going.bytes_per_s,
        "secondsLeft": going.seconds_left,
    }
    shown: dict[str, object] = {key: value for key, value in known.items() if value is not None}
    return shown | {"throttledRequests": going.throttled_requests, "cutRequests": going.cut_requests}


def _count(count: Count) -> dict[str, int]:
    return {"files": count.files, "bytes": count.bytes}


def _refuse_exports(properties: Fields) -> None:
    kind = properties.text("jobType")
    if kind == "Export":
        raise MalformedInput(
            f"{properties.path('jobType')}: this station takes drives in; Export jobs, "
            "which write blobs to drives, are not done here"
        )
    if kind not in ("", "Import"):
        raise MalformedInput(f"{properties.path('jobType')}: {kind[:40]!r} is not Import")


def _asks_to_ship(properties: Fields) -> bool:
    state = properties.text("state")
    if state not in ("", JobState.CREATING.value, JobState.SHIPPING.value):
        raise MalformedInput(
            f"{properties.path('state')}: {state[:40]!r} is not Shipping; a job begins there"
        )
    return state == JobState.SHIPPING.value


def _destination(properties: Fields) -> Destination | None:
    text = properties.text("destination")
    if not text:
        return None
    with properties.at("destination"):
        return Destination.parse(text)


def _container(properties: Fields, key: str) -> ContainerName:
    text = properties.text(key)
    if not text:
        return DEFAULT_DIAGNOSTICS
    with properties.at(key):
        return ContainerName.parse(text)


def _treatment(properties: Fields) -> Treatment:
    asked = properties.text("verify")
    settings = {
        "content_md5": properties.flag("contentMd5"),
        "sha256": properties.flag("sha256"),
        "file_facts": properties.flag("fileFacts", default=True),
    }
    tier = choice_of(properties, "accessTier", AccessTier.HOT) if properties.text("accessTier") else None
    with properties.at("verify"):
        verification = Verification.parse(asked) if asked else None
        return Treatment(verification, tier=tier, **settings)


def choice_of(properties: Fields, key: str, default: _Code) -> _Code:
    """One of the codes of ``default``'s kind, which it is when absent or empty. Raises MalformedInput."""
    text = properties.text(key)
    if not text:
        return default
    try:
        return type(default)(text)
    except ValueError:
        allowed = ", ".join(code.value for code in type(default))
        raise MalformedInput(f"{properties.path(key)}: {text[:40]!r} is none of {allowed}") from None


def drives_of(
    properties: Fields, *, unencrypted: bool, placed: bool, keys: Mapping[SerialNumber, Credential] = NO_KEYS
) -> tuple[DriveSpec, ...]:
    """``driveList``. Raises MalformedInput that names the field."""
    listed = properties.children("driveList", MAX_DRIVES)
    if not listed:
        raise MalformedInput(f"{properties.path('driveList')}: is missing or empty")
    drives: list[DriveSpec] = []
    for fields in listed:
        drive = _drive(fields, unencrypted=unencrypted, keys=keys)
        if drive.manifest_file is None and not placed:
            raise MalformedInput(
                f"{fields.path('manifestFile')}: is missing, and {properties.path('destination')} "
                "does not say where the drive's files go"
            )
        for place, other in enumerate(drives):
            if other.serial == drive.serial:
                raise MalformedInput(f"{fields.path('driveId')}: stands in driveList[{place}] already")
        drives.append(drive)
    return tuple(drives)


def _drive(fields: Fields, *, unencrypted: bool, keys: Mapping[SerialNumber, Credential]) -> DriveSpec:
    text = fields.text("driveId")
    with fields.at("driveId"):
        serial = SerialNumber.parse(text)
    key = _key(fields) or keys.get(serial)
    if key is None and not unencrypted:
        raise MalformedInput(
            f"{fields.path('bitLockerKey')}: is missing, and unencrypted drives are not allowed"
        )
    return DriveSpec(
        serial=serial,
        credential=key,
        manifest_file=_plain_text(fields, "manifestFile", MAX_NTFS_PATH_CHARS),
        manifest_hash=_manifest_hash(fields),
        header_hash=_plain_text(fields, "driveHeaderHash", MAX_HEADER_HASH_CHARS) or "",
    )


def _key(fields: Fields) -> Credential | None:
    text = fields.text("bitLockerKey")
    if not text:
        return None
    with fields.at("bitLockerKey"):
        # Eight groups are meant as the recovery password even when a letter slipped in.
        if len(re.split(r"[\s-]+", text.strip())) == 8:
            return RecoveryPassword.parse(text)
        return parse_credential(text.encode())


def _plain_text(fields: Fields, key: str, at_most: int) -> str | None:
    text = fields.text(key)
    if len(text) > at_most:
        raise MalformedInput(f"{fields.path(key)}: has {len(text)} characters, at most {at_most} are allowed")
    if any(ch < " " or ch == "\x7f" for ch in text):
        raise MalformedInput(f"{fields.path(key)}: holds a control character")
    return text or None


def _manifest_hash(fields: Fields) -> str | None:
    text = fields.text("manifestHash")
    if text and not re.fullmatch(r"[0-9A-Fa-f]{32}|[0-9A-Fa-f]{64}", text):
        raise MalformedInput(f"{fields.path('manifestHash')}: is not 32 (MD5) or 64 (SHA-256) hex digits")
    return text or None
