"""Where the logs of a drive go.

Source: Microsoft's pages on diagnostics and on backing up drive manifests; the shape of the stamp is
that of the job API's published examples. Its time zone is not stated anywhere: we write UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from agent.model.destination import DEFAULT_DIAGNOSTICS
from agent.model.identity import ContainerName, JobName, SerialNumber
from agent.model.naming import encode_segment

FOLDER = "waies"


class ReportKind(StrEnum):
    """The files that a drive leaves in the customer's account."""

    ERROR = "error"
    VERBOSE = "verbose"
    MANIFEST = "manifest"
    MAPFILE = "mapfile"
    """Ours, not the service's: which sectors could not be read, in GNU ddrescue's form."""

    @property
    def suffix(self) -> str:
        """Of the file name."""
        return "txt" if self is ReportKind.MAPFILE else "xml"


@dataclass(frozen=True, slots=True)
class LogPlace:
    """Where the logs of a job go; ``folder`` is empty, or ends with a slash."""

    container: ContainerName
    folder: str = ""


def log_place(diagnostics: ContainerName, only: ContainerName | None) -> LogPlace:
    """By the job's ``diagnosticsPath``. ``only`` is the one container that the credential is for, if it is.

    That one has a folder ``waimportexport`` then, and in it one of the name that the job gives. (The
    source's text leaves ``waimportexport`` out there, its example does not.) A job that names the container
    itself has its logs at the top of it.
    """
    if only is None or diagnostics == only:
        return LogPlace(diagnostics)
    folder = f"{DEFAULT_DIAGNOSTICS}/"
    return LogPlace(only, folder if diagnostics == DEFAULT_DIAGNOSTICS else f"{folder}{diagnostics}/")


def log_blob_name(job: JobName, serial: SerialNumber, stamp: datetime, kind: ReportKind) -> str:
    """``waies/<job>_<drive>_<yyyyMMdd-HHmmss-fff>_<kind>.xml``; a mapfile ends in ``.txt``.

    ``stamp`` is when that one file was written, so the files of a drive differ in it. Raises
    ValueError for a stamp without a time zone.
    """
    if stamp.tzinfo is None:
        raise ValueError("the stamp of a log has no time zone")
    utc = stamp.astimezone(UTC)
    when = f"{utc:%Y%m%d-%H%M%S}-{utc.microsecond // 1000:03d}"
    return f"{FOLDER}/{job}_{encode_segment(serial.normal)}_{when}_{kind}.{kind.suffix}"
