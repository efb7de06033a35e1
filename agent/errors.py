"""Every error the agent raises on purpose, in one tree.

A class stands for one *decision the caller makes*; it carries the documentation of itself, and the
catalogue in ``docs/errors.md`` is printed from this module.

::

    IngestError
    ├── DriveError                   the drive or what is on it (exit 4)
    │   ├── DiskOperationFailed      the device cannot be read at all, or ends early
    │   │   └── UnreadableSectors    one byte range of the device cannot be read
    │   ├── VolumeNotNtfs            the first data volume holds something else
    │   ├── NtfsDamaged              NTFS structures contradict themselves
    │   ├── BitLockerVolumeNotFound  no volume that BitLocker could protect
    │   ├── BitLockerNotActivated    the volume is not encrypted, and the job expects it to be
    │   ├── BitLockerProtectorNotFound   no protector that the given kind of key could open
    │   ├── BitLockerKeyInvalid      the key is well formed and does not open this volume
    │   ├── BitLockerFailed          encryption in progress, unknown version or cipher, damaged metadata
    │   ├── ManifestNotFound         the job names a manifest that is not on the drive
    │   ├── ManifestCorrupted        the manifest's bytes do not match the job's manifestHash
    │   ├── ManifestFormatInvalid    the manifest does not follow its format
    │   ├── ManifestDriveIdMismatch  the manifest was written for another drive
    │   └── ReadManifestFailed       sectors of the manifest cannot be read
    ├── StationError                 this machine (exit 5)
    │   ├── ConfigInvalid            a setting is missing or malformed
    │   ├── StateUnusable            catalog or journal cannot be opened or written
    │   ├── StationRunning           another station runs with this state directory
    │   ├── CatalogBusy              somebody uses the catalog that is to be replaced or sealed anew
    │   ├── BackupUnfit              what is to be restored is no sound catalog of this station's key
    │   ├── DriveBusy                another process of this station works on the drive
    │   ├── DeviceUnavailable        the device node or image cannot be opened
    │   └── WorkerLost               a worker process ended without saying why
    ├── NetworkError                 the way to the store (exit 6, retried)
    │   └── StoreUnreachable         no answer from the store
    ├── ServiceError                 the store answered, and the answer is no (exit 7)
    │   ├── StoreRefused             the credential is refused
    │   ├── StoreThrottled           the account asks for less (retried)
    │   ├── BlobAlreadyExists        a blob of that name is there and must not be replaced
    │   ├── LeasePresent             somebody holds a lease on the blob
    │   ├── ChecksumMismatch         the bytes changed on the way (retried)
    │   ├── BlobNotFound             no such blob or container
    │   └── BlobRequestFailed        any other refusal of one request
    └── PolicyError                  the books say no (exit 8)
        ├── MalformedInput           a value given by a person does not parse
        ├── JobNotFound              no such job
        ├── JobExists                the name is taken
        ├── SerialNotSpecified       no job specifies this drive (an extra drive)
        ├── SerialConflict           the serial is already specified by another open job
        ├── LogNotFound              no such log, or not yet
        └── MoveRefused              the job or drive is in no state for this

A message never holds a secret: constructors take detail text that the raiser composed of names,
offsets and counts.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from agent.model.codes import DriveStatus
from agent.model.printable import printable


class Side(StrEnum):
    """Whose trouble it is."""

    DRIVE = "drive"
    STATION = "station"
    NETWORK = "network"
    SERVICE = "service"
    POLICY = "policy"


class IngestError(Exception):
    """Root of the tree.

    ``detail`` is one line for the technician; ``next_step`` says what to do about it.
    """

    side: ClassVar[Side]
    exit_code: ClassVar[int] = 1
    retriable: ClassVar[bool] = False
    status: ClassVar[DriveStatus | None] = None
    next_step: ClassVar[str] = ""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    @property
    def id(self) -> str:
        """The stable name under which the error is documented."""
        return type(self).__name__

    def line(self) -> str:
        """One line: what, whose side, what next."""
        said = self.detail.rstrip(".")
        return printable(f"{said} [{self.side}: {self.id}]. {self.next_step}".rstrip())


class DriveError(IngestError):
    """The drive, or what is on it."""

    side = Side.DRIVE
    exit_code = 4
    status = DriveStatus.DISK_OPERATION_FAILED


class DiskOperationFailed(DriveError):
    """The device cannot be read at all, or it ends before its own tables say it does."""

    next_step = (
        "Reseat the drive, or image it with ddrescue and give the image with --mapfile, to a job filed anew."
    )


class UnreadableSectors(DiskOperationFailed):
    """One byte range of the device cannot be read."""

    next_step = "The files that lie there are listed in the error log; ship them again."

    def __init__(self, offset: int, length: int, why: str = "") -> None:
        """``offset`` and ``length`` are bytes on the device."""
        super().__init__(
            f"bytes {offset}..{offset + length} of the device cannot be read" + (f" ({why})" if why else "")
        )
        self.offset = offset
        self.length = length


class VolumeNotNtfs(DriveError):
    """The first data volume holds something other than NTFS."""

    status = DriveStatus.VOLUME_NOT_NTFS
    next_step = "Ask the customer to prepare the drive again with one NTFS volume, and file a new job."


class NtfsDamaged(DriveError):
    """NTFS structures contradict themselves."""

    next_step = "Have the customer run chkdsk on the source and ship the listed files again."


class BitLockerVolumeNotFound(DriveError):
    """No volume on the drive that BitLocker could protect."""

    status = DriveStatus.BITLOCKER_VOLUME_NOT_FOUND
    next_step = "Check that the right drive or image was attached; it holds no data partition."


class BitLockerNotActivated(DriveError):
    """The volume is not encrypted, and the job expects it to be."""

    status = DriveStatus.BITLOCKER_NOT_ACTIVATED
    next_step = "If a plain NTFS drive is expected, file a new job with --allow-unencrypted."


class BitLockerProtectorNotFound(DriveError):
    """The volume has no protector that the given kind of key could open."""

    status = DriveStatus.BITLOCKER_PROTECTOR_NOT_FOUND
    next_step = "Ask the customer for a key that fits; a job needs to be filed anew with it."


class BitLockerKeyInvalid(DriveError):
    """The key is well formed and does not open this volume."""

    status = DriveStatus.BITLOCKER_KEY_INVALID
    next_step = "Check that the key belongs to this drive, or try the right one; a job is filed anew with it."


class BitLockerFailed(DriveError):
    """Encryption still in progress, an unknown version or cipher, or damaged metadata."""

    status = DriveStatus.BITLOCKER_FAILED
    next_step = "Have the customer finish or redo the encryption on Windows 7 or later."


class ManifestNotFound(DriveError):
    """The job names a drive manifest that is not on the drive."""

    status = DriveStatus.MANIFEST_NOT_FOUND
    next_step = "Check the path of the manifest, and file a new job; without one, all files go."


class ManifestCorrupted(DriveError):
    """The manifest's bytes do not match the job's manifestHash."""

    status = DriveStatus.MANIFEST_CORRUPTED
    next_step = "Ask the customer for the hash of the manifest that was shipped, and file a new job with it."


class ManifestFormatInvalid(DriveError):
    """The manifest does not follow its format."""

    status = DriveStatus.MANIFEST_FORMAT_INVALID
    next_step = "Ask the customer to prepare the drive again."


class ManifestDriveIdMismatch(DriveError):
    """The manifest was written for another drive."""

    status = DriveStatus.MANIFEST_DRIVE_ID_MISMATCH
    next_step = "Check whether two drives of the box were swapped."


class ReadManifestFailed(DriveError):
    """Sectors of the manifest cannot be read."""

    status = DriveStatus.READ_MANIFEST_FAILED
    next_step = (
        "Reseat the drive, or image it with ddrescue and give the image with --mapfile, to a job filed anew."
    )


class StationError(IngestError):
    """This machine."""

    side = Side.STATION
    exit_code = 5
    status = DriveStatus.INTERNAL_ERROR


class ConfigInvalid(StationError):
    """A setting is missing or malformed."""

    next_step = "Correct the setting and start again; docs/configuration.md lists them all."


class StateUnusable(StationError):
    """The catalog or a journal cannot be opened or written."""

    next_step = "Check free space and ownership of the state directory."


class StationRunning(StationError):
    """Another station runs with this state directory."""

    next_step = "Leave it running, or stop it first; a second station needs a `state_dir` of its own."


class CatalogBusy(StationError):
    """A process uses the catalog that is to be replaced or sealed anew, or does just that."""

    next_step = (
        "Wait until it is done, or stop the station and all that share the catalog; then run this again."
    )


class BackupUnfit(StationError):
    """What is to be restored is no sound catalog, or is sealed with another key."""

    next_step = "Nothing was changed. Take another backup, or the key that belongs to this one (--key-file)."


class DriveBusy(StationError):
    """Another process of this station works on the drive."""

    retriable = True
    next_step = "Wait until it is done, or stop it; then run this again."


class DeviceUnavailable(StationError):
    """The device node or image cannot be opened."""

    status = DriveStatus.DISK_NOT_FOUND
    next_step = "Check the path and that this user may read it (group disk for device nodes)."


class WorkerLost(StationError):
    """A worker process ended without saying why."""

    retriable = True
    next_step = "The place is kept; after the third time the drive is Faulted: mend it, then `drive resolve`."


class NetworkError(IngestError):
    """The way to the store."""

    side = Side.NETWORK
    exit_code = 6
    retriable = True


class StoreUnreachable(NetworkError):
    """No answer from the store."""

    next_step = "Check endpoint and network (or the folder). A station goes on by itself; run a replay again."


class ServiceError(IngestError):
    """The store answered, and the answer is no."""

    side = Side.SERVICE
    exit_code = 7


class StoreRefused(ServiceError):
    """The credential is refused."""

    status = DriveStatus.BLOB_REQUEST_FORBIDDEN
    next_step = "Renew the store credential of the station (account key or SAS with rwc on the container)."


class StoreThrottled(ServiceError):
    """The account asks for fewer requests."""

    retriable = True
    next_step = "Nothing to do: it is tried again by itself."
    retry_after_s: float | None = None
    """How long the service asked to wait; None when it did not say."""

    def __init__(self, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class BlobAlreadyExists(ServiceError):
    """A blob of that name is there and must not be replaced."""

    next_step = "The blob's disposition decides; see the log."


class LeasePresent(ServiceError):
    """Somebody holds a lease on the blob."""

    next_step = "Ask the customer to release the lease, then ship the file again."


class ChecksumMismatch(ServiceError):
    """The bytes that arrived are not the bytes that were sent."""

    retriable = True
    next_step = "Nothing to do: the block is sent again by itself."


class BlobNotFound(ServiceError):
    """No such blob or container."""

    next_step = "Check the container's name and that nobody deletes blobs while the job runs."


class BlobRequestFailed(ServiceError):
    """Any other refusal of one request."""

    next_step = "See the code in the message and the service's documentation of it."


class PolicyError(IngestError):
    """The books say no."""

    side = Side.POLICY
    exit_code = 8


class MalformedInput(PolicyError):
    """A value that a person gave does not parse."""

    exit_code = 2
    next_step = "Correct it and try again."


class JobNotFound(PolicyError):
    """No job of that name."""

    next_step = "`ingest-agent job list` shows the jobs of this station."


class JobExists(PolicyError):
    """The name is taken."""

    next_step = "Choose another name, or look at the job with `ingest-agent job show`."


class SerialNotSpecified(PolicyError):
    """No job specifies this drive: it is an extra drive."""

    next_step = "Check the serial on the label, then file a job for it with `ingest-agent job create`."


class SerialConflict(PolicyError):
    """The serial is specified by more than one open job, or is attached twice."""

    next_step = "Cancel one of the jobs, or detach one of the drives; a Faulted drive needs `drive resolve`."


class LogNotFound(PolicyError):
    """There is no such log, or not yet."""

    next_step = "`ingest-agent job list` shows the jobs; a log is written when a drive is processed."


class MoveRefused(PolicyError):
    """The job or drive is in no state for this."""

    next_step = "`ingest-agent job show` tells the state, `job history` how it came to it."


def catalogue() -> list[type[IngestError]]:
    """All classes of the tree in the order they are defined, root first."""
    found: list[type[IngestError]] = []

    def visit(cls: type[IngestError]) -> None:
        found.append(cls)
        for child in cls.__subclasses__():
            visit(child)

    visit(IngestError)
    return found


def from_name(name: str, detail: str) -> IngestError:
    """The error that another process told by its id and detail; WorkerLost for an id that is none."""
    known = {cls.__name__: cls for cls in catalogue() if hasattr(cls, "side")}
    cls = known.get(name, WorkerLost)
    error = cls.__new__(cls)
    IngestError.__init__(error, detail)
    return error
