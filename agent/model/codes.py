"""Status codes of the drive log, spelled as on the wire (formats of 2014-11-01).

Source: Microsoft's page "Azure Import/Export service log file format".
"""

from __future__ import annotations

from enum import StrEnum


class Disposition(StrEnum):
    """What to do when the blob already exists."""

    NO_OVERWRITE = "no-overwrite"
    OVERWRITE = "overwrite"
    RENAME = "rename"


class BlobType(StrEnum):
    """Kinds of blob that an import can make."""

    BLOCK = "BlockBlob"
    PAGE = "PageBlob"


class LogLevel(StrEnum):
    """Which logs a job asks for."""

    ERROR = "Error"
    VERBOSE = "Verbose"


class DriveStatus(StrEnum):
    """``DriveLog/Status``."""

    COMPLETED = "Completed"
    COMPLETED_WITH_WARNINGS = "CompletedWithWarnings"
    COMPLETED_WITH_ERRORS = "CompletedWithErrors"
    DISK_NOT_FOUND = "DiskNotFound"
    VOLUME_NOT_NTFS = "VolumeNotNtfs"
    DISK_OPERATION_FAILED = "DiskOperationFailed"
    BITLOCKER_VOLUME_NOT_FOUND = "BitLockerVolumeNotFound"
    BITLOCKER_NOT_ACTIVATED = "BitLockerNotActivated"
    BITLOCKER_PROTECTOR_NOT_FOUND = "BitLockerProtectorNotFound"
    BITLOCKER_KEY_INVALID = "BitLockerKeyInvalid"
    BITLOCKER_UNLOCK_VOLUME_FAILED = "BitLockerUnlockVolumeFailed"
    BITLOCKER_FAILED = "BitLockerFailed"
    MANIFEST_NAME_INVALID = "ManifestNameInvalid"
    MANIFEST_NAME_TOO_LONG = "ManifestNameTooLong"
    MANIFEST_NOT_FOUND = "ManifestNotFound"
    MANIFEST_ACCESS_DENIED = "ManifestAccessDenied"
    MANIFEST_CORRUPTED = "ManifestCorrupted"
    MANIFEST_FORMAT_INVALID = "ManifestFormatInvalid"
    MANIFEST_DRIVE_ID_MISMATCH = "ManifestDriveIdMismatch"
    READ_MANIFEST_FAILED = "ReadManifestFailed"
    BLOB_LIST_FORMAT_INVALID = "BlobListFormatInvalid"
    BLOB_REQUEST_FORBIDDEN = "BlobRequestForbidden"
    INTERNAL_ERROR = "InternalError"


class BlobStatus(StrEnum):
    """``Blob/@Status``."""

    COMPLETED = "Completed"
    COMPLETED_WITH_ERRORS = "CompletedWithErrors"
    FILE_NAME_INVALID = "FileNameInvalid"
    FILE_NAME_TOO_LONG = "FileNameTooLong"
    FILE_NOT_FOUND = "FileNotFound"
    FILE_ACCESS_DENIED = "FileAccessDenied"
    BLOB_REQUEST_FAILED = "BlobRequestFailed"
    BLOB_REQUEST_FORBIDDEN = "BlobRequestForbidden"
    RENAME_FAILED = "RenameFailed"
    BLOB_UNEXPECTED_CHANGE = "BlobUnexpectedChange"
    LEASE_PRESENT = "LeasePresent"
    IO_FAILED = "IOFailed"
    FAILED = "Failed"


class DispositionStatus(StrEnum):
    """``ImportDisposition/@Status``."""

    CREATED = "Created"
    RENAMED = "Renamed"
    SKIPPED = "Skipped"
    OVERWRITTEN = "Overwritten"
    CANCELLED = "Cancelled"


class ChunkStatus(StrEnum):
    """``Block/@Status`` and ``PageRange/@Status``."""

    COMPLETED = "Completed"
    COMMITTED = "Committed"
    UNCOMMITTED = "Uncommitted"
    CORRUPTED = "Corrupted"
    FILE_UNEXPECTED_END = "FileUnexpectedEnd"
    BLOB_UNEXPECTED_END = "BlobUnexpectedEnd"
    BLOB_REQUEST_FAILED = "BlobRequestFailed"
    IO_FAILED = "IOFailed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


class SideFileStatus(StrEnum):
    """``Metadata/@Status`` and ``Properties/@Status``."""

    COMPLETED = "Completed"
    FILE_NAME_INVALID = "FileNameInvalid"
    FILE_NAME_TOO_LONG = "FileNameTooLong"
    FILE_NOT_FOUND = "FileNotFound"
    FILE_ACCESS_DENIED = "FileAccessDenied"
    CORRUPTED = "Corrupted"
    XML_READ_FAILED = "XmlReadFailed"
    XML_WRITE_FAILED = "XmlWriteFailed"
    BLOB_REQUEST_FAILED = "BlobRequestFailed"
    IO_FAILED = "IOFailed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
