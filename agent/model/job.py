"""A job and its drives, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from agent.errors import MalformedInput
from agent.model.codes import Disposition, LogLevel
from agent.model.destination import DEFAULT_DIAGNOSTICS, Destination
from agent.model.going import NOT_GOING, Going
from agent.model.identity import ContainerName, JobName, SerialNumber
from agent.model.keys import Credential
from agent.model.papers import NO_PAPERS, Address, Package, Papers, ReturnShipping
from agent.model.states import DriveState, JobState
from agent.model.tally import Tally
from agent.model.treatment import AS_USUAL, Treatment
from agent.model.verification import NONE_VERIFIED, Depth, VerifiedCounts

MAX_DRIVES = 10


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
    (``file:stream``) instead of being listed as skipped. ``keeps_keys``: a drive without a credential keeps
    the one that is stored for it.
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
    keeps_keys: bool = False

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
            if drive.credential is None and not (self.allow_unencrypted or self.keeps_keys):
                raise MalformedInput(f"drive {drive.serial} has no BitLocker key")
            if drive.manifest_file is not None and self.upload_streams:
                raise MalformedInput(
                    f"the manifest of drive {drive.serial} says what is uploaded, not the job"
                )
            if drive.manifest_hash is not None and not _is_hash(drive.manifest_hash):
                raise MalformedInput(
                    f"manifestHash of drive {drive.serial} is not 32 (MD5) or 64 (SHA-256) hex digits"
                )


@dataclass(frozen=True, slots=True)
class JobChanges:
    """What an update asks for; None leaves a part as it is.

    ``drives`` replaces all of them; one without a credential keeps the key that is stored for its serial.
    """

    cancel: bool = False
    ship: bool = False
    tags: Mapping[str, str] | None = None
    return_address: Address | None = None
    return_shipping: ReturnShipping | None = None
    delivery_package: Package | None = None
    log_level: LogLevel | None = None
    backup_manifest: bool | None = None
    drives: tuple[DriveSpec, ...] | None = None


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
    papers: Papers = NO_PAPERS
    percent_reached: int = 0
    """The highest percent that the job had."""
    due: datetime | None = None
    """When its clock runs out (``agent.model.waiting``); None while nothing is waited for."""
    fault_note: str | None = None
    """What operators said when they faulted the job itself; None when they did not, or resolved it."""

    @property
    def percent_complete(self) -> int:
        """By bytes over all drives; it never goes back, and is 100 only when all drives are."""
        return max(self.percent_reached, percent_of(self.drives))

    def drive(self, serial: SerialNumber) -> Drive:
        """Raises KeyError when the job does not specify the drive."""
        for drive in self.drives:
            if drive.serial == serial:
                return drive
        raise KeyError(serial.normal)


def percent_of(drives: Sequence[Drive]) -> int:
    """0 to 100 by bytes.

    How much there is on a drive is not known before it is in a bay; until then it counts as much as the
    mean of those that told. 100 only when all are at 100.
    """
    if all(drive.percent_complete >= 100 for drive in drives):
        return 100
    told = [size for drive in drives if (size := drive.tally.discovered.bytes)]
    usual = max(1, sum(told) // len(told)) if told else 1
    sizes = [drive.tally.discovered.bytes or usual for drive in drives]
    through = sum(size * drive.percent_complete for size, drive in zip(sizes, drives, strict=True))
    return min(99, through // sum(sizes))
