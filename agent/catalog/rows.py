"""Rows of the tables to values of the model and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row

from agent.errors import MalformedInput, StateUnusable
from agent.model.codes import Disposition, LogLevel
from agent.model.identity import ContainerName, JobName, SerialNumber
from agent.model.job import Destination, Drive, Job
from agent.model.states import DriveState, JobState
from agent.model.tally import Count, Tally

AnyRow = Row[Any]
COUNTS = ("discovered", "done", "failed", "skipped")


def tally_columns(tally: Tally) -> dict[str, int]:
    """The eight columns of a tally."""
    return {
        f"{name}_{unit}": getattr(getattr(tally, name), unit)
        for name in COUNTS
        for unit in ("files", "bytes")
    }


def tally(row: AnyRow) -> Tally:
    """The tally of a drive's row."""
    found = row._mapping
    return Tally(*(Count(found[f"{name}_files"], found[f"{name}_bytes"]) for name in COUNTS))


def drive(row: AnyRow) -> Drive:
    """Raises StateUnusable when the row holds what no version of the program writes."""
    try:
        return Drive(
            serial=SerialNumber.parse(row.serial_shown),
            state=DriveState(row.state),
            manifest_file=row.manifest_file,
            manifest_hash=row.manifest_hash,
            header_hash=row.header_hash,
            copy_status=row.copy_status,
            percent_complete=row.percent_complete,
            tally=tally(row),
            error_log_uri=row.error_log_uri,
            verbose_log_uri=row.verbose_log_uri,
            manifest_uri=row.manifest_uri,
        )
    except (ValueError, MalformedInput) as error:
        raise StateUnusable(f"row {row.id} of table drive is damaged: {error}") from error


def job(row: AnyRow, drives: Sequence[AnyRow]) -> Job:
    """Raises StateUnusable when a row holds what no version of the program writes."""
    try:
        return Job(
            name=JobName.parse(row.name),
            state=JobState(row.state),
            drives=tuple(drive(one) for one in drives),
            destination=_destination(row),
            disposition=Disposition(row.disposition),
            diagnostics=ContainerName.parse(row.diagnostics),
            log_level=LogLevel(row.log_level),
            backup_manifest=row.backup_manifest,
            allow_unencrypted=row.allow_unencrypted,
            cancel_requested=row.cancel_requested,
            created=row.created,
            updated=row.updated,
            upload_streams=row.upload_streams,
        )
    except (ValueError, MalformedInput) as error:
        raise StateUnusable(f"row {row.id} of table job is damaged: {error}") from error


def _destination(row: AnyRow) -> Destination | None:
    if row.destination_container is None:
        return None
    return Destination(ContainerName.parse(row.destination_container), row.destination_prefix or "")
