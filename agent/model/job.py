"""A job and its drives, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from agent.errors import MalformedInput
from agent.model.blobs import BlobName
from agent.model.codes import Disposition, LogLevel
from agent.model.going import NOT_GOING, Going
from agent.model.identity import ContainerName, JobName, SerialNumber
from agent.model.keys import Credential
from agent.model.states import DriveState, JobState
from agent.model.tally import Tally
from agent.model.treatment import AS_USUAL, Treatment
from agent.model.verification import NONE_VERIFIED, Depth, VerifiedCounts

MAX_DRIVES = 10
DEFAULT_DIAGNOSTICS = ContainerName("waimportexport")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a drive without a manifest goes: ``container/prefix`` + the encoded path of each file."""

    container: ContainerName
    prefix: str = ""

    @classmethod
    def parse(cls, text: str) -> Destination:
        """``container`` or ``container/prefix/``; raises MalformedInput."""
        container, _, prefix = text.partition("/")
        parsed = cls(ContainerName.parse(container), prefix)
        if prefix:
            BlobName.of(parsed.container, prefix.rstrip("/") or prefix)
        if parsed.container.text == "$root":
            raise MalformedInput("a whole volume cannot go to $root, whose blobs have no folders")
        return parsed

    def __str__(self) -> str:
        return f"{self.container}/{self.prefix}"


@dataclass(frozen=True, slots=True)
class DriveSpec:
    """A drive as the customer specifies it.

    ``manifest_file`` is the manifest's path on the drive (leading backslash), None to ingest the
    whole volume; ``manifest_hash`` its MD5 (32) or SHA-256 (64) in hex, None when not given.
    """

    serial: SerialNumber
    credential: Credential | None
    manifest_file: str | None = None
    manifest_hash: str | None = None
    header_hash: str = ""


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What a customer asks for. ``destination`` is needed when a drive has no manifest.

    ``upload_streams``: alternate data streams of a whole volume become blobs of their own
    (``file:stream``) instead of being listed as skipped.
    """

    name: JobName
    drives: tuple[DriveSpec, ...]
    destination: Destination | None = None
    disposition: Disposition = Disposition.NO_OVERWRITE
    diagnostics: ContainerName = DEFAULT_DIAGNOSTICS
    log_level: LogLevel = LogLevel.ERROR
    backup_manifest: bool = False
    allow_unencrypted: bool = False
    upload_streams: bool = False
    treatment: Treatment = AS_USUAL

    def __post_init__(self) -> None:
        """Raises MalformedInput when the parts do not fit together."""
        if not 1 <= len(self.drives) <= MAX_DRIVES:
            raise MalformedInput(f"a job has 1 to {MAX_DRIVES} drives, this one has {len(self.drives)}")
        if len({drive.serial for drive in self.drives}) < len(self.drives):
            raise MalformedInput("a drive stands in the job twice")
        for drive in self.drives:
            if drive.manifest_file is None and self.destination is None:
                raise MalformedInput(
                    f"drive {drive.serial} has no manifest, so the job must name a destination for its files"
                )
            if drive.manifest_file is None and self.treatment.depth is Depth.MANIFEST:
                raise MalformedInput(f"drive {drive.serial} has no manifest to verify its files by")
            if drive.credential is None and not self.allow_unencrypted:
                raise MalformedInput(f"drive {drive.serial} has no BitLocker key")
            if drive.manifest_file is not None and self.upload_streams:
                raise MalformedInput(
                    f"the manifest of drive {drive.serial} says what is uploaded, not the job"
                )
            if drive.manifest_hash is not None and not _is_hash(drive.manifest_hash):
                raise MalformedInput(
                    f"manifestHash of drive {drive.serial} is not 32 (MD5) or 64 (SHA-256) hex digits"
                )


def _is_hash(text: str) -> bool:
    return len(text) in (32, 64) and all(ch in "0123456789abcdefABCDEF" for ch in text)


@dataclass(frozen=True, slots=True)
class Drive:
    """A drive as it stands in the catalog. Holds no key. ``percent_complete`` is 0 to 100."""

    serial: SerialNumber
    state: DriveState = DriveState.SPECIFIED
    manifest_file: str | None = None
    manifest_hash: str | None = None
    header_hash: str = ""
    copy_status: str | None = None
    percent_complete: int = 0
    tally: Tally = field(default_factory=Tally)
    error_log_uri: str | None = None
    verbose_log_uri: str | None = None
    manifest_uri: str | None = None
    verified: VerifiedCounts = NONE_VERIFIED
    going: Going = NOT_GOING


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands in the catalog. Holds no key. Times are UTC."""

    name: JobName
    state: JobState
    drives: tuple[Drive, ...]
    destination: Destination | None
    disposition: Disposition
    diagnostics: ContainerName
    log_level: LogLevel
    backup_manifest: bool
    allow_unencrypted: bool
    cancel_requested: bool
    created: datetime
    updated: datetime
    upload_streams: bool = False
    treatment: Treatment = AS_USUAL

    @property
    def percent_complete(self) -> int:
        """The mean of its drives' percents; 100 only when all are at 100.

        Each drive weighs the same. How much there is on one is not known before it is in a bay, and a
        percent by bytes would fall back each time another one tells.
        """
        return sum(drive.percent_complete for drive in self.drives) // len(self.drives)

    def drive(self, serial: SerialNumber) -> Drive:
        """Raises KeyError when the job does not specify the drive."""
        for drive in self.drives:
            if drive.serial == serial:
                return drive
        raise KeyError(serial.normal)
