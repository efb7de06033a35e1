"""Where the logs of a drive go.

Source: Microsoft's pages on diagnostics and on backing up drive manifests; the shape of the stamp is
that of the job API's published examples. Its time zone is not stated anywhere: we write UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from agent.model.blobs import BlobName
from agent.model.identity import ContainerName, JobName, SerialNumber
from agent.model.naming import encode_segment

DEFAULT_DIAGNOSTICS_PATH = "waimportexport"
FOLDER = "waies"


class ReportKind(StrEnum):
    """The files that a drive leaves in the customer's account."""

    ERROR = "error"
    VERBOSE = "verbose"
    MANIFEST = "manifest"


@dataclass(frozen=True, slots=True)
class LogPlace:
    """A container, and a prefix in it that is empty or ends with a slash."""

    container: ContainerName
    prefix: str = ""

    def blob(self, path: str) -> BlobName:
        """Where a report of this path goes; raises MalformedInput when the service would refuse it."""
        return BlobName.of(self.container, self.prefix + path)


def log_blob_name(job: JobName, serial: SerialNumber, stamp: datetime, kind: ReportKind) -> str:
    """``waies/<job>_<drive>_<yyyyMMdd-HHmmss-fff>_<kind>.xml``.

    ``stamp`` is when that one file was written, so the files of a drive differ in it. Raises
    ValueError for a stamp without a time zone.
    """
    if stamp.tzinfo is None:
        raise ValueError("the stamp of a log has no time zone")
    utc = stamp.astimezone(UTC)
    when = f"{utc:%Y%m%d-%H%M%S}-{utc.microsecond // 1000:03d}"
    return f"{FOLDER}/{job}_{encode_segment(serial.normal)}_{when}_{kind}.xml"


def log_place(diagnostics_path: str, sas_container: ContainerName | None = None) -> LogPlace:
    """Where the reports of a job go.

    With an account credential ``diagnostics_path`` names a container, and what follows a first slash
    is a prefix in it. With a SAS nothing outside ``sas_container`` can be written, so the whole path
    becomes a prefix there (the page's prose; its example puts one more folder before it). An empty
    path means the default. Raises MalformedInput when the container's name is not allowed.
    """
    path = diagnostics_path.strip("/") or DEFAULT_DIAGNOSTICS_PATH
    if sas_container is not None:
        return LogPlace(sas_container, f"{path}/")
    container, _, prefix = path.partition("/")
    return LogPlace(ContainerName.parse(container), f"{prefix}/" if prefix else "")
